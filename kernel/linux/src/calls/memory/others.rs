//! Another process's memory: process_vm_readv and process_vm_writev, process_madvise,
//! process_mrelease.

use super::advice::{advise, is_for_others};
use crate::abi;
use crate::error::{Errno, SysResult};
use crate::memory::space::Memory;
use crate::process::identity::credentials::capability;
use crate::process::identity::permissions::{self, Looks};
use crate::process::names::{named, pidfd};
use crate::process::user_memory::{WORD_BYTES, get_numbers};
use crate::process::{current, current_task, table};
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::memory::fallible;
use threads::sched::{self, Mutex};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

/// Pieces of memory, of at most so many bytes in all.
fn pieces((at, count): (u64, u64)) -> Result<Vec<(u64, u64)>, Errno> {
    const MAX_PIECES: u64 = 1024;
    const MAX_BYTES: u64 = 0x7fff_f000;
    if count > MAX_PIECES {
        return Err(Errno::EINVAL);
    }
    let mut pieces = Vec::new();
    let mut left = MAX_BYTES;
    for index in 0..count {
        let at = at.checked_add(index * 2 * WORD_BYTES).ok_or(Errno::EFAULT)?;
        let [from, length] = get_numbers(at, abi::WORD)?;
        if length > (usize::MAX >> 1) as u64 {
            return Err(Errno::EINVAL);
        }
        let length = length.min(left);
        left -= length;
        fallible::push(&mut pieces, (from, length))?;
    }
    Ok(pieces)
}

/// Moves bytes between the caller's pieces and another process's; ends early where one of them is
/// not there.
pub(super) fn process_vm(
    process: u64,
    own: (u64, u64),
    other: (u64, u64),
    flags: u64,
    direction: Direction,
) -> SysResult {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let (own, other) = (pieces(own)?, pieces(other)?);
    if own.iter().all(|piece| piece.1 == 0) {
        return Ok(0);
    }
    let process = named::find(u64::from(process as u32)).ok_or(Errno::ESRCH)?;
    if !permissions::may_look_into(&process, Looks::AsReal) {
        return Err(Errno::EPERM);
    }
    let theirs = process.memory().ok_or(Errno::ESRCH)?;
    let mine = current().memory().ok_or(Errno::EFAULT)?;
    let (from, to, source, target) = match direction {
        Direction::Read => (other, own, &theirs, &mine),
        Direction::Write => (own, other, &mine, &theirs),
    };
    copy(&from, &to, source, target)
}

fn copy(
    from: &[(u64, u64)],
    to: &[(u64, u64)],
    source: &Mutex<Memory>,
    target: &Mutex<Memory>,
) -> SysResult {
    let mut buffer = [0; 512];
    let mut done = 0;
    let (mut from, mut to) = (from.iter().copied(), to.iter().copied());
    let (mut here, mut there) = ((0, 0), (0, 0));
    loop {
        // Pieces of nothing are passed over.
        while here.1 == 0 {
            let Some(next) = from.next() else { return Ok(done) };
            here = next;
        }
        while there.1 == 0 {
            let Some(next) = to.next() else { return Ok(done) };
            there = next;
        }
        if sched::current().killed() {
            return Err(Errno::EINTR);
        }
        // Up to the end of a page: the next one may not be there.
        let page_left = |at: u64| 4096 - at % 4096;
        let length = here.1.min(there.1).min(page_left(here.0)).min(page_left(there.0));
        let length = length.min(buffer.len() as u64);
        let bytes = &mut buffer[..length as usize];
        // One lock after the other: never both.
        let read = source.lock().read(here.0, bytes);
        let moved = read.and_then(|()| target.lock().write(there.0, bytes));
        if let Err(bad) = moved {
            return if done > 0 { Ok(done) } else { Err(bad.into()) };
        }
        done += length;
        here = (here.0.wrapping_add(length), here.1 - length);
        there = (there.0.wrapping_add(length), there.1 - length);
    }
}

/// What a pidfd's process can do without, or is about to need: the caller says so of pieces, each
/// for itself. The bytes up to the first one that is wrong.
pub(super) fn process_madvise(
    number: u64,
    vector: (u64, u64),
    advice: u64,
    flags: u64,
) -> SysResult {
    if flags as u32 != 0 {
        return Err(Errno::EINVAL);
    }
    let pieces = pieces(vector)?;
    let (process, _) = pidfd::of_descriptor(number)?;
    if !is_for_others(advice) {
        return Err(Errno::EINVAL);
    }
    let memory = process.memory().ok_or(Errno::ESRCH)?;
    if !permissions::may_look_into(&process, Looks::AsFile) {
        return Err(Errno::EACCES);
    }
    // It changes how fast the other one is.
    if !current_task().credentials().can(capability::SYS_NICE) {
        return Err(Errno::EPERM);
    }
    let mut done = 0;
    for (at, length) in pieces {
        if let Err(error) = advise(&memory, at, length, advice) {
            return if done > 0 { Ok(done) } else { Err(error) };
        }
        done += length;
    }
    Ok(done)
}

/// Takes the memory of a process that is dying, before its threads have left: who killed it for its
/// memory has that at once. What others of its kind see, files and shared memory, stays.
pub(super) fn process_mrelease(number: u64, flags: u64) -> SysResult {
    if flags as u32 != 0 {
        return Err(Errno::EINVAL);
    }
    let (process, _) = pidfd::of_descriptor(number)?;
    let memory = process.memory().ok_or(Errno::ESRCH)?;
    // All that are in it: one of vfork, or of clone with its memory, still needs it.
    for other in table::all()? {
        let is_in_it = other.memory().is_some_and(|its| Arc::ptr_eq(&its, &memory));
        if is_in_it && other.crew.ending().is_none() {
            return Err(Errno::EINVAL);
        }
    }
    if process.crew.ending().is_none() {
        return Err(Errno::EINVAL);
    }
    memory.lock().reap()?;
    Ok(0)
}
