//! Locks on files: flock, and the commands of fcntl.

use super::at::file_arc;
use crate::abi;
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::files::directory_notices;
use crate::files::locks::{self, Lock, NO_END, Owner};
use crate::files::message_queue::MessageQueue;
use crate::files::open::{OpenFile, flag};
use crate::process::names::numbers;
use crate::process::user_memory::put;
use crate::process::{current, current_task};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// flock: the whole file, for the open file that the descriptor leads to.
pub(crate) fn flock(number: u64, operation: u64) -> SysResult {
    const SHARED: u32 = 1;
    const EXCLUSIVE: u32 = 2;
    const NONBLOCK: u32 = 4;
    const UNLOCK: u32 = 8;
    /// What Windows' shares were to be once: it locks nothing, and is no mistake.
    const MANDATORY: u32 = 32;
    let operation = operation as u32;
    if operation & MANDATORY != 0 {
        return Ok(0);
    }
    let is_exclusive = match operation & !NONBLOCK {
        SHARED => Some(false),
        EXCLUSIVE => Some(true),
        UNLOCK => None,
        _ => return Err(Errno::EINVAL),
    };
    let file = file_arc(number)?;
    let can_be_used = file.can_read() || file.can_write();
    if file.flags() & flag::PATH != 0 || is_exclusive.is_some() && !can_be_used {
        return Err(Errno::EBADF);
    }
    let whole = Lock {
        key: file.lock_key(),
        owner: Owner::File(Arc::as_ptr(&file).addr()),
        is_exclusive: is_exclusive.unwrap_or(false),
        first: 0,
        last: NO_END,
        process: current().id,
    };
    match is_exclusive {
        None => locks::release(&whole)?,
        Some(_) => {
            // What it has of the other kind is given up first, whether it gets the new one or not
            // (flock(2)).
            locks::release(&whole)?;
            locks::set(whole, operation & NONBLOCK == 0)?;
        }
    }
    Ok(0)
}

/// `struct flock`: kind and whence, of two bytes each; start and length; the process. The oldest
/// form has numbers of a word.
#[derive(Debug, Clone, Copy)]
pub(super) enum Layout {
    Word,
    #[cfg(target_pointer_width = "32")]
    Wide,
}

impl Layout {
    /// Bytes of a number, and where the first one lies.
    const fn numbers(self) -> (usize, usize) {
        match self {
            Self::Word => (abi::WORD.bytes(), abi::WORD.bytes()),
            #[cfg(target_pointer_width = "32")]
            Self::Wide => (8, abi::LONG_ALIGNMENT),
        }
    }
}

const MAX_BYTES: usize = 32;

/// What lies in such a structure.
#[derive(Debug, Clone, Copy)]
struct Range {
    kind: u16,
    whence: u16,
    start: i64,
    length: i64,
    process: i32,
}

const READ: u16 = 0;
const WRITE: u16 = 1;
const UNLOCK: u16 = 2;

fn signed(bytes: &[u8]) -> i64 {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    match bytes.len() {
        4 => i64::from(i64::from_le_bytes(wide) as i32),
        _ => i64::from_le_bytes(wide),
    }
}

impl Range {
    fn get(at: u64, layout: Layout) -> Result<Self, Errno> {
        let (size, first) = layout.numbers();
        let length = first + 2 * size + 4;
        let mut bytes = [0; MAX_BYTES];
        super::transfer::take(at, &mut bytes[..length])?;
        let [a, b, c, d, ..] = bytes;
        let number = |at: usize, size: usize| signed(&bytes[at..at + size]);
        Ok(Self {
            kind: u16::from_le_bytes([a, b]),
            whence: u16::from_le_bytes([c, d]),
            start: number(first, size),
            length: number(first + size, size),
            process: number(first + 2 * size, 4) as i32,
        })
    }

    fn put(&self, at: u64, layout: Layout) -> Result<(), Errno> {
        let (size, first) = layout.numbers();
        let length = first + 2 * size + 4;
        let mut bytes: [u8; MAX_BYTES] = [0; MAX_BYTES];
        // What lies between the fields stays as it is.
        super::transfer::take(at, &mut bytes[..length])?;
        bytes[..2].copy_from_slice(&self.kind.to_le_bytes());
        bytes[2..4].copy_from_slice(&self.whence.to_le_bytes());
        for (place, number) in [(first, self.start), (first + size, self.length)] {
            bytes[place..place + size].copy_from_slice(&number.to_le_bytes()[..size]);
        }
        bytes[first + 2 * size..length].copy_from_slice(&self.process.to_le_bytes());
        put(at, &bytes[..length])
    }

    /// The first byte and the last one.
    fn bytes(&self, file: &OpenFile) -> Result<(u64, u64), Errno> {
        let base = match self.whence {
            0 => 0,
            1 => file.position.load(Ordering::Relaxed),
            2 => file.stat().bytes,
            _ => return Err(Errno::EINVAL),
        };
        let start = (base as i64).checked_add(self.start).ok_or(Errno::EOVERFLOW)?;
        if start < 0 {
            return Err(Errno::EINVAL);
        }
        match self.length {
            0 => Ok((start as u64, NO_END)),
            1.. => {
                let last = start.checked_add(self.length - 1).ok_or(Errno::EOVERFLOW)?;
                Ok((start as u64, last as u64))
            }
            // What lies before the start.
            _ => {
                let first = start.checked_add(self.length).filter(|&first| first >= 0);
                Ok((first.ok_or(Errno::EINVAL)? as u64, (start - 1) as u64))
            }
        }
    }
}

/// What is done with a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Ask,
    Set,
    SetAndWait,
}

/// The commands of fcntl for ranges, of the process or of the open file.
pub(super) fn range(
    file: &Arc<OpenFile>,
    at: u64,
    what: What,
    of_file: bool,
    layout: Layout,
) -> SysResult {
    let asked = Range::get(at, layout)?;
    if of_file && asked.process != 0 {
        return Err(Errno::EINVAL);
    }
    let (first, last) = asked.bytes(file)?;
    let is_known = match what {
        What::Ask => matches!(asked.kind, READ | WRITE) || of_file && asked.kind == UNLOCK,
        _ => matches!(asked.kind, READ | WRITE | UNLOCK),
    };
    if !is_known {
        return Err(Errno::EINVAL);
    }
    let owner = match of_file {
        true => Owner::RangeOfFile(Arc::as_ptr(file).addr()),
        false => Owner::Process(current_task().files().lock().id()),
    };
    let is_exclusive = asked.kind == WRITE;
    let key = file.lock_key();
    let wanted = Lock { key, owner, is_exclusive, first, last, process: current().id };
    if what == What::Ask {
        // Asked about an unlock, an open file is told of a lock of its own.
        let found = match asked.kind {
            UNLOCK => locks::own_within(&wanted),
            _ => locks::conflict(&wanted),
        };
        let answer = match found {
            None => Range { kind: UNLOCK, ..asked },
            Some(lock) => Range {
                kind: if lock.is_exclusive { WRITE } else { READ },
                whence: 0,
                start: lock.first as i64,
                length: if lock.last == NO_END { 0 } else { (lock.last - lock.first + 1) as i64 },
                process: match lock.owner {
                    Owner::RangeOfFile(_) => -1,
                    _ => numbers::told(lock.process) as i32,
                },
            },
        };
        // A program with small numbers cannot be told of what lies beyond them.
        let most = match layout.numbers().0 {
            4 => i64::from(i32::MAX),
            _ => i64::MAX,
        };
        if answer.start > most || answer.length > most {
            return Err(Errno::EOVERFLOW);
        }
        answer.put(at, layout)?;
        return Ok(0);
    }
    match asked.kind {
        READ if !file.can_read() => return Err(Errno::EBADF),
        WRITE if !file.can_write() => return Err(Errno::EBADF),
        UNLOCK => locks::release(&wanted)?,
        _ => locks::set(wanted, what == What::SetAndWait)?,
    }
    Ok(0)
}

/// Whether a process shares the file's locks no longer: it closes a descriptor of it. One that is
/// only a place (`O_PATH`) never took part.
pub(super) fn closed(file: &OpenFile) {
    if file.is_path() {
        return;
    }
    if let Some(queue) = file.object().and_then(|object| object.of_kind::<MessageQueue>()) {
        queue.0.forget(current().id);
    }
    if directory_notices::are_there() {
        let table = current_task().files().lock().id();
        directory_notices::forget((file.address(), table));
    }
    if locks::are_there() {
        let table = current_task().files().lock().id();
        locks::descriptor_is_closed(table, file.lock_key());
    }
}

/// The layout of the commands that take the oldest form.
pub(super) const OLDEST: Layout = Layout::Word;

/// That of the commands for open files, and of the ones with numbers of 64 bits.
pub(super) const NEWEST: Layout = match abi::WORD {
    WordSize::Eight => Layout::Word,
    #[cfg(target_pointer_width = "32")]
    WordSize::Four => Layout::Wide,
    #[cfg(target_pointer_width = "64")]
    WordSize::Four => Layout::Word,
};
