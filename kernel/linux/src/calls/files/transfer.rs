//! Bytes between programs and files, and where a file stands.

use super::at::{HERE, file, path_at};
use crate::abi;
use crate::abi::signals::{Fields, Info, Signal, code};
use crate::error::{Errno, SysResult};
use crate::files::open::{OpenFile, Target};
use crate::files::tree;
use crate::memory::cut;
use crate::process::current;
use crate::process::send;
use crate::process::user_memory::{WORD_BYTES, get_numbers, put};
use core::sync::atomic::Ordering;
use threads::sched;

/// Bytes moved between program and file at a time: they lie on the kernel stack.
const PIECE: usize = 512;

pub(crate) fn read(number: u64, to: u64, length: u64) -> SysResult {
    read_from(file(number)?, to, length)
}

pub(crate) fn write(number: u64, from: u64, length: u64) -> SysResult {
    write_to(file(number)?, from, length)
}

pub(crate) fn read_from(file: &OpenFile, to: u64, length: u64) -> SysResult {
    transfer(length, |done, piece| {
        let read = file.read(piece)?;
        put(to.checked_add(done).ok_or(Errno::EFAULT)?, &piece[..read])?;
        Ok(read)
    })
}

pub(crate) fn pread(number: u64, to: u64, length: u64, offset: u64) -> SysResult {
    let file = file(number)?;
    // What has no places has no place to read from; and nothing to wait for.
    if matches!(file.target, Target::PipeReader(_) | Target::Console) {
        return Err(Errno::ESPIPE);
    }
    transfer(length, |done, piece| {
        let read = file.read_at(offset.saturating_add(done), piece)?;
        put(to.checked_add(done).ok_or(Errno::EFAULT)?, &piece[..read])?;
        Ok(read)
    })
}

pub(crate) fn write_to(file: &OpenFile, from: u64, length: u64) -> SysResult {
    let result = transfer(length, |done, piece| {
        let at = from.checked_add(done).ok_or(Errno::EFAULT)?;
        let memory = current().memory().ok_or(Errno::EFAULT)?;
        memory.lock().read(at, piece)?;
        drop(memory);
        file.write(piece)
    });
    if result == Err(Errno::EPIPE) {
        let process = current();
        let fields = Fields::Sender { process: process.id as u32, user: 0 };
        let info = Info { signal: Signal::PIPE, code: code::USER, fields };
        send::to_thread(process, &sched::current_arc(), info)?;
    }
    result
}

/// Moves up to `length` bytes in pieces; ends early where a piece falls short. What was moved counts more than an error later on.
fn transfer(
    length: u64,
    mut step: impl FnMut(u64, &mut [u8]) -> Result<usize, Errno>,
) -> SysResult {
    // What Linux moves at once, at most.
    let length = length.min(0x7fff_f000);
    let mut piece = [0; PIECE];
    let mut done = 0;
    while done < length {
        // From a file without an end to one that takes everything, this is long.
        if sched::current().has_attention() {
            return if done == 0 { Err(Errno::ERESTARTSYS) } else { Ok(done) };
        }
        let wanted = (length - done).min(PIECE as u64) as usize;
        match step(done, &mut piece[..wanted]) {
            Ok(moved) => {
                done += moved as u64;
                if moved < wanted {
                    break;
                }
            }
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

pub(crate) fn vectored(
    number: u64,
    vector: u64,
    count: u64,
    one: fn(&OpenFile, u64, u64) -> SysResult,
) -> SysResult {
    let file = file(number)?;
    if count > 1024 {
        return Err(Errno::EINVAL);
    }
    let mut done = 0;
    for i in 0..count {
        let entry = vector.checked_add(2 * WORD_BYTES * i).ok_or(Errno::EFAULT)?;
        let [base, length] = get_numbers(entry, abi::WORD)?;
        match one(file, base, length) {
            Ok(moved) => {
                done += moved;
                if moved < length {
                    break;
                }
            }
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

pub(crate) fn sendfile(to: u64, from: u64, offset: u64, length: u64) -> SysResult {
    if offset != 0 {
        return Err(Errno::EINVAL);
    }
    let (to, from) = (file(to)?, file(from)?);
    transfer(length, |_, piece| {
        let read = from.read(piece)?;
        to.write(&piece[..read])
    })
}

pub(crate) fn seek(number: u64, offset: i64, whence: u64) -> SysResult {
    let file = file(number)?;
    let top = match &file.target {
        Target::Node(node, _) => node.bytes(),
        Target::Text(text) => text.len() as u64,
        Target::Names(_) => 0,
        _ => return Err(Errno::ESPIPE),
    };
    let base = match whence {
        0 => 0,
        1 => file.position.load(Ordering::Relaxed),
        2 => top,
        _ => return Err(Errno::EINVAL),
    };
    let position = base.checked_add_signed(offset).ok_or(Errno::EINVAL)?;
    file.position.store(position, Ordering::Relaxed);
    Ok(position)
}

/// The same for a program whose words are too small for the result: it goes to memory.
pub(crate) fn long_seek(number: u64, offset: u64, to: u64, whence: u64) -> SysResult {
    let position = seek(number, offset as i64, whence)?;
    put(to, &position.to_le_bytes())?;
    Ok(0)
}

/// The same by name.
pub(crate) fn truncate_path(at: u64, length: u64) -> SysResult {
    let path = path_at(HERE, at)?;
    if (length as i64) < 0 {
        return Err(Errno::EINVAL);
    }
    cut::set_length(&*tree::find("/", &path, true)?, length)?;
    Ok(0)
}

pub(crate) fn truncate(number: u64, length: u64) -> SysResult {
    if (length as i64) < 0 {
        return Err(Errno::EINVAL);
    }
    let file = file(number)?;
    let Target::Node(node, _) = &file.target else { return Err(Errno::EINVAL) };
    if !file.can_write() {
        return Err(Errno::EINVAL);
    }
    cut::set_length(node, length)?;
    Ok(0)
}
