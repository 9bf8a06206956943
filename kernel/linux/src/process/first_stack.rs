//! What the first stack of a program still says: its environment and its auxiliary vector. It is
//! the program's memory, so that every word of it may have changed: what cannot be read ends the
//! file.

use crate::abi::WORD;
use crate::error::Errno;
use crate::memory::space::Memory;
use crate::process::Process;
use alloc::vec::Vec;
use machine::memory::fallible;

/// Words of a list that are looked at, and bytes that are given out, at most.
const MAX_WORDS: u64 = 1 << 16;
const MAX_BYTES: u64 = 1 << 18;

const SIZE: u64 = WORD.bytes() as u64;

fn word(memory: &mut Memory, at: u64) -> Result<u64, Errno> {
    let mut bytes = [0; 8];
    memory.read(at, &mut bytes[..SIZE as usize])?;
    Ok(u64::from_le_bytes(bytes))
}

/// Where the list of pointers to the environment begins and where it ends.
fn environment_list(memory: &mut Memory) -> Result<(u64, u64), Errno> {
    let stack = memory.start_stack;
    let arguments = word(memory, stack)?.min(MAX_WORDS);
    let first = stack.saturating_add((arguments + 2) * SIZE);
    let mut at = first;
    while at - first < MAX_WORDS * SIZE && word(memory, at)? != 0 {
        at += SIZE;
    }
    Ok((first, at))
}

fn bytes(memory: &mut Memory, from: u64, length: u64) -> Result<Vec<u8>, Errno> {
    let length = length.min(MAX_BYTES) as usize;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| Errno::ENOMEM)?;
    bytes.resize(length, 0);
    memory.read(from, &mut bytes)?;
    Ok(bytes)
}

/// The strings of the environment, each with its NUL.
pub(crate) fn environment(process: &Process) -> Result<Vec<u8>, Errno> {
    let Some(memory) = process.memory() else { return Ok(Vec::new()) };
    let mut memory = memory.lock();
    let (first, end) = environment_list(&mut memory)?;
    if first == end {
        return Ok(Vec::new());
    }
    // They lie one behind the other; the last one ends with its NUL.
    let (from, last) = (word(&mut memory, first)?, word(&mut memory, end - SIZE)?);
    let mut length = last.checked_sub(from).filter(|&length| length < MAX_BYTES).unwrap_or(0);
    while length < MAX_BYTES {
        let mut byte = [0];
        memory.read(from.saturating_add(length), &mut byte)?;
        length += 1;
        if byte == [0] {
            break;
        }
    }
    bytes(&mut memory, from, length)
}

/// The auxiliary vector with its last, empty pair.
pub(crate) fn auxiliary(process: &Process) -> Result<Vec<u8>, Errno> {
    const MAX_PAIRS: u64 = 64;
    let Some(memory) = process.memory() else { return Ok(Vec::new()) };
    let mut memory = memory.lock();
    let (_, end) = environment_list(&mut memory)?;
    let from = end + SIZE;
    let mut pairs = 0;
    while pairs < MAX_PAIRS && word(&mut memory, from + pairs * 2 * SIZE)? != 0 {
        pairs += 1;
    }
    bytes(&mut memory, from, (pairs + 1) * 2 * SIZE)
}

/// What a program was called with.
pub(crate) fn command_line(process: &Process) -> Result<Vec<u8>, Errno> {
    let line = process.command_line.lock().clone();
    if process.status().is_some() {
        return Ok(Vec::new());
    }
    Ok(fallible::bytes(&line)?)
}
