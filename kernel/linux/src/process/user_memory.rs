//! The program's memory, from system calls: strings, numbers, lists of strings. A bad pointer is an
//! error, nothing more.

use super::current;
use crate::abi;
use crate::abi::stack_image::{MAX_STRING, WordSize};
use crate::error::{Errno, SysResult};
use crate::files::text;
use alloc::string::String;
use alloc::vec::Vec;
use machine::memory::fallible;

/// Longest path.
pub(crate) const MAX_PATH: usize = 4096;

/// A string of the program, without its NUL.
pub(crate) fn string(at: u64, most: usize) -> Result<Vec<u8>, Errno> {
    let memory = current().memory().ok_or(Errno::EFAULT)?;
    let mut memory = memory.lock();
    let mut bytes = Vec::new();
    let mut piece = [0; 64];
    let mut at = at;
    loop {
        // Up to the end of the page: the next one may not be there.
        let length = piece.len().min((4096 - at % 4096) as usize);
        memory.read(at, &mut piece[..length])?;
        let end = piece[..length].iter().position(|&byte| byte == 0);
        let piece = &piece[..end.unwrap_or(length)];
        bytes.try_reserve(piece.len()).map_err(|_| Errno::ENOMEM)?;
        bytes.extend_from_slice(piece);
        if bytes.len() >= most {
            return Err(Errno::ENAMETOOLONG);
        }
        if end.is_some() {
            return Ok(bytes);
        }
        at += length as u64;
    }
}

/// The first bytes of a string of the program, as many as there is room for with a NUL; without it.
pub(crate) fn string_of<const N: usize>(at: u64) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::new();
    for offset in 0..N as u64 - 1 {
        let [byte] = get::<1>(at.checked_add(offset).ok_or(Errno::EFAULT)?)?;
        if byte == 0 {
            break;
        }
        fallible::push(&mut bytes, byte)?;
    }
    Ok(bytes)
}

/// A path of the program.
pub(crate) fn path(at: u64) -> Result<String, Errno> {
    let path = as_text(string(at, MAX_PATH)?)?;
    if path.is_empty() { Err(Errno::ENOENT) } else { Ok(path) }
}

/// Writes to the program's memory.
pub(crate) fn put(at: u64, bytes: &[u8]) -> Result<(), Errno> {
    let memory = current().memory().ok_or(Errno::EFAULT)?;
    Ok(memory.lock().write(at, bytes)?)
}

/// Bytes of a program's word.
pub(crate) const WORD_BYTES: u64 = abi::WORD.bytes() as u64;

/// Numbers that lie one after the other, of the bytes that `size` says.
pub(crate) fn get_numbers<const N: usize>(at: u64, size: WordSize) -> Result<[u64; N], Errno> {
    let mut numbers = [0; N];
    for (number, i) in numbers.iter_mut().zip(0..) {
        let at = at.checked_add(size.bytes() as u64 * i).ok_or(Errno::EFAULT)?;
        *number = match size {
            WordSize::Four => u32::from_le_bytes(get(at)?).into(),
            WordSize::Eight => u64::from_le_bytes(get(at)?),
        };
    }
    Ok(numbers)
}

/// Writes a word to the program's memory.
pub(crate) fn put_word(at: u64, value: u64) -> Result<(), Errno> {
    put(at, &value.to_le_bytes()[..abi::WORD.bytes()])
}

/// Reads from the program's memory.
pub(crate) fn get<const N: usize>(at: u64) -> Result<[u8; N], Errno> {
    let memory = current().memory().ok_or(Errno::EFAULT)?;
    let mut bytes = [0; N];
    memory.lock().read(at, &mut bytes)?;
    Ok(bytes)
}

pub(crate) fn write_zeros(at: u64, bytes: u64) -> SysResult {
    let zeros = [0; 256];
    put(at, zeros.get(..bytes as usize).ok_or(Errno::EINVAL)?)?;
    Ok(0)
}

fn pointer_at(at: u64, index: u64) -> Result<u64, Errno> {
    let [pointer] =
        get_numbers(at.checked_add(WORD_BYTES * index).ok_or(Errno::EFAULT)?, abi::WORD)?;
    Ok(pointer)
}

/// Strings of execve, one behind the other, each with its NUL.
#[derive(Debug, Default)]
pub(crate) struct Strings(Vec<u8>);

impl Strings {
    /// One after the other.
    pub(crate) fn list(&self) -> Result<Vec<&[u8]>, Errno> {
        let with_ends = self.0.split_inclusive(|&byte| byte == 0);
        Ok(fallible::collect(with_ends.map(|with_end| &with_end[..with_end.len() - 1]))?)
    }

    /// Adds the string at an address, of at most `most` bytes with its NUL. Returns how many it
    /// has.
    fn add(&mut self, mut at: u64, most: usize) -> Result<usize, Errno> {
        let memory = current().memory().ok_or(Errno::EFAULT)?;
        let mut memory = memory.lock();
        let start = self.0.len();
        loop {
            let old = self.0.len();
            // Up to the end of the page: the next one may not be there.
            let piece = (4096 - at % 4096) as usize;
            self.0.try_reserve(piece).map_err(|_| Errno::ENOMEM)?;
            self.0.resize(old + piece, 0);
            memory.read(at, &mut self.0[old..])?;
            let end = self.0[old..].iter().position(|&byte| byte == 0);
            if let Some(end) = end {
                self.0.truncate(old + end + 1);
            }
            let length = self.0.len() - start;
            if length > most {
                return Err(Errno::E2BIG);
            }
            if end.is_some() {
                return Ok(length);
            }
            at += piece as u64;
        }
    }
}

/// The strings of a list that ends with a null pointer. `left`: bytes that they and their pointers
/// may have.
pub(crate) fn strings(at: u64, left: &mut usize) -> Result<Strings, Errno> {
    let mut strings = Strings::default();
    if at == 0 {
        return Ok(strings);
    }
    // As many as there are bytes for.
    for i in 0.. {
        let pointer = pointer_at(at, i)?;
        if pointer == 0 {
            break;
        }
        *left = left.checked_sub(WORD_BYTES as usize).ok_or(Errno::E2BIG)?;
        let most = (*left).min(MAX_STRING);
        *left -= strings.add(pointer, most)?;
    }
    Ok(strings)
}

/// The text that a path argument is kept as.
pub(crate) fn as_text(bytes: Vec<u8>) -> Result<String, Errno> {
    Ok(text::of_bytes(bytes)?)
}

pub(crate) fn timespec(at: u64, size: WordSize) -> Result<u64, Errno> {
    let [seconds, mut nanoseconds] = get_numbers(at, size)?;
    if abi::WORD == WordSize::Four {
        // The other half of a long number is padding there.
        nanoseconds &= u64::from(u32::MAX);
    }
    let is_negative = match size {
        WordSize::Four => (seconds as i32) < 0,
        WordSize::Eight => (seconds as i64) < 0,
    };
    if nanoseconds >= 1_000_000_000 || is_negative {
        return Err(Errno::EINVAL);
    }
    // A hundred years are as good as any number beyond.
    Ok(seconds.min(100 * 366 * 86_400) * 1_000_000_000 + nanoseconds)
}
