//! What a program says of ranges of its memory, and asks about them.

use super::range::memory;
#[cfg(target_pointer_width = "64")]
use super::range::range;
use crate::abi::USER_TOP;
use crate::error::{Errno, SysResult};
use crate::memory::areas::{PAGE, flag};
use crate::memory::cut;
use crate::memory::space::{AccessError, Memory};
use crate::process::current;
use crate::process::user_memory::put;
use alloc::vec::Vec;
use machine::memory::fallible;
use threads::sched::Mutex;

/// The range of a call that rounds its length up, and takes one of nothing: `None`. An address that
/// is no page's is wrong.
fn advised(at: u64, length: u64) -> Result<Option<(u64, u64)>, Errno> {
    if !at.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    if length == 0 {
        return Ok(None);
    }
    let length = word_pages(length).ok_or(Errno::EINVAL)?;
    let top = at.checked_add(length).ok_or(Errno::EINVAL)?;
    Ok(Some((at, top)))
}

/// A length in whole pages, if a word has room for it.
fn word_pages(length: u64) -> Option<u64> {
    let whole = length.checked_next_multiple_of(PAGE)?;
    usize::try_from(whole).is_ok().then_some(whole)
}

/// Hints that need no page to come or go, and one that takes pages: what a program may say of
/// another one's memory, too.
const WILLNEED: u64 = 3;
const COLD: u64 = 20;
const PAGEOUT: u64 = 21;

pub(super) fn madvise(at: u64, length: u64, advice: u64) -> SysResult {
    advise(&*memory()?, at, length, advice)
}

/// Whether a program may say this of another one's memory (`process_madvise_behavior_valid`).
pub(super) fn is_for_others(advice: u64) -> bool {
    matches!(advice as u32 as u64, WILLNEED | COLD | PAGEOUT)
}

/// madvise for an address space. What has no use here is refused, but for hints, which may be
/// ignored.
pub(super) fn advise(
    shared_memory: &Mutex<Memory>,
    at: u64,
    length: u64,
    advice: u64,
) -> SysResult {
    const NORMAL: u64 = 0;
    const RANDOM: u64 = 1;
    const SEQUENTIAL: u64 = 2;
    const DONTNEED: u64 = 4;
    const FREE: u64 = 8;
    const REMOVE: u64 = 9;
    const DONTFORK: u64 = 10;
    const DOFORK: u64 = 11;
    const MERGEABLE: u64 = 12;
    const UNMERGEABLE: u64 = 13;
    const HUGEPAGE: u64 = 14;
    const NOHUGEPAGE: u64 = 15;
    const DONTDUMP: u64 = 16;
    const DODUMP: u64 = 17;
    const WIPEONFORK: u64 = 18;
    const KEEPONFORK: u64 = 19;
    const POPULATE_READ: u64 = 22;
    const POPULATE_WRITE: u64 = 23;
    const DONTNEED_LOCKED: u64 = 24;
    let is_known = matches!(
        advice as u32 as u64,
        NORMAL | RANDOM | SEQUENTIAL | WILLNEED | DONTNEED | FREE..=DONTNEED_LOCKED
    );
    let advice = advice as u32 as u64;
    if !is_known {
        return Err(Errno::EINVAL);
    }
    let Some((lowest, top)) = advised(at, length)? else { return Ok(0) };
    if top > USER_TOP {
        return Err(Errno::ENOMEM);
    }
    let mut memory = shared_memory.lock();
    let locked = !memory.all_within(lowest, top, |area| !area.has(flag::LOCKED));
    let all_anonymous =
        memory.all_within(lowest, top, |area| area.source.is_none() && !area.is_shared());
    let is_droppable = !memory.all_within(lowest, top, |area| !area.has(flag::DROPPABLE));
    let order = flag::READ_RANDOMLY | flag::READ_IN_ORDER;
    match advice {
        NORMAL => memory.set_flags(lowest, top, 0, order)?,
        RANDOM => memory.set_flags(lowest, top, flag::READ_RANDOMLY, order)?,
        SEQUENTIAL => memory.set_flags(lowest, top, flag::READ_IN_ORDER, order)?,
        DONTNEED if locked => return Err(Errno::EINVAL),
        DONTNEED => memory.discard(lowest, top, false)?,
        DONTNEED_LOCKED => memory.discard(lowest, top, true)?,
        FREE if !memory.all_within(lowest, top, |area| !area.has_file()) => {
            return Err(Errno::EINVAL);
        }
        FREE => memory.discard(lowest, top, false)?,
        REMOVE => {
            let holes = holes(&memory, lowest, top)?;
            // A file's pages go out of every space: not with one's lock held.
            drop(memory);
            for (node, first, end) in holes {
                cut::punch(&node, first, end)?;
            }
        }
        DONTFORK => memory.set_flags(lowest, top, flag::NOT_INHERITED, 0)?,
        DOFORK => memory.set_flags(lowest, top, 0, flag::NOT_INHERITED)?,
        // Recorded and shown, as where the kernel looks for no pages that are alike, and makes no
        // huge ones.
        MERGEABLE => memory.set_flags(lowest, top, flag::MERGEABLE, 0)?,
        UNMERGEABLE => memory.set_flags(lowest, top, 0, flag::MERGEABLE)?,
        HUGEPAGE => memory.set_flags(lowest, top, flag::HUGE, flag::NOT_HUGE)?,
        NOHUGEPAGE => memory.set_flags(lowest, top, flag::NOT_HUGE, flag::HUGE)?,
        DONTDUMP => memory.set_flags(lowest, top, flag::NOT_DUMPED, 0)?,
        // What may be lost at any time stays out of dumps, and of children.
        DODUMP | KEEPONFORK if is_droppable => return Err(Errno::EINVAL),
        DODUMP => memory.set_flags(lowest, top, 0, flag::NOT_DUMPED)?,
        WIPEONFORK if !all_anonymous => return Err(Errno::EINVAL),
        WIPEONFORK => memory.set_flags(lowest, top, flag::WIPED_ON_FORK, 0)?,
        KEEPONFORK => memory.set_flags(lowest, top, 0, flag::WIPED_ON_FORK)?,
        COLD | PAGEOUT if locked => return Err(Errno::EINVAL),
        PAGEOUT if is_droppable => memory.drop_what_may_be(lowest, top)?,
        POPULATE_READ | POPULATE_WRITE => {
            let write = advice == POPULATE_WRITE;
            if !memory.is_covered(lowest, top) {
                return Err(Errno::ENOMEM);
            }
            if !memory
                .all_within(lowest, top, |a| if write { a.access.write } else { a.is_read_asked() })
            {
                return Err(Errno::EINVAL);
            }
            for page in (lowest..top).step_by(PAGE as usize) {
                if threads::sched::current().killed() {
                    return Err(Errno::EINTR);
                }
                memory.fault(page, write, false).map_err(|bad| match bad {
                    AccessError::NoMemory => Errno::ENOMEM,
                    AccessError::Address | AccessError::Beyond => Errno::EFAULT,
                })?;
            }
        }
        // WILLNEED, COLD, PAGEOUT: there is nowhere that pages would come from or go to.
        _ if !memory.is_covered(lowest, top) => return Err(Errno::ENOMEM),
        _ => {}
    }
    Ok(0)
}

type Hole = (alloc::sync::Arc<crate::files::tree::Node>, u64, u64);

/// The pages of files in a range of shared mappings that can be written.
fn holes(memory: &Memory, lowest: u64, top: u64) -> Result<Vec<Hole>, Errno> {
    if !memory.is_covered(lowest, top) {
        return Err(Errno::ENOMEM);
    }
    let mut holes = Vec::new();
    for area in memory.areas().within(lowest, top) {
        if area.has(flag::LOCKED) {
            return Err(Errno::EINVAL);
        }
        let source = area.source.as_ref().ok_or(Errno::EINVAL)?;
        if !area.is_shared() || !area.access.write {
            return Err(Errno::EACCES);
        }
        let from = area.number_at(area.lowest.max(lowest));
        let to = from + (area.top.min(top) - area.lowest.max(lowest)) / PAGE;
        fallible::push(&mut holes, (source.object.node.clone(), from, to))?;
    }
    Ok(holes)
}

/// A byte for each page: whether it is in memory.
pub(super) fn mincore(at: u64, length: u64, to: u64) -> SysResult {
    if !at.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    if at.checked_add(length).is_none_or(|top| top > USER_TOP) {
        return Err(Errno::ENOMEM);
    }
    let pages = length.div_ceil(PAGE);
    if to.checked_add(pages).is_none_or(|top| top > USER_TOP) {
        return Err(Errno::EFAULT);
    }
    let memory = memory()?;
    let mut piece = [0; 256];
    let mut done = 0;
    while done < pages {
        if threads::sched::current().killed() {
            return Err(Errno::EINTR);
        }
        let count = (pages - done).min(piece.len() as u64) as usize;
        {
            let memory = memory.lock();
            for (byte, page) in piece[..count].iter_mut().zip(done..) {
                let present = memory.is_present(at + page * PAGE).ok_or(Errno::ENOMEM)?;
                *byte = u8::from(present);
            }
        }
        put(to + done, &piece[..count])?;
        done += count as u64;
    }
    Ok(0)
}

/// Every shared page is its file's own, so there is nothing to be written back; what is wrong is
/// said.
pub(super) fn msync(at: u64, length: u64, flags: u64) -> SysResult {
    const ASYNC: u64 = 1;
    const INVALIDATE: u64 = 2;
    const SYNC: u64 = 4;
    if flags & !(ASYNC | INVALIDATE | SYNC) != 0
        || !at.is_multiple_of(PAGE)
        || flags & (ASYNC | SYNC) == ASYNC | SYNC
    {
        return Err(Errno::EINVAL);
    }
    // A length that a word has no room for when it is rounded up becomes none, as on Linux.
    let whole = word_pages(length).unwrap_or(0);
    let top = at.checked_add(whole).ok_or(Errno::ENOMEM)?;
    if top == at {
        return Ok(0);
    }
    let memory = memory()?;
    let memory = memory.lock();
    if flags & INVALIDATE != 0 && !memory.all_within(at, top, |area| !area.has(flag::LOCKED)) {
        return Err(Errno::EBUSY);
    }
    if memory.is_covered(at, top) { Ok(0) } else { Err(Errno::ENOMEM) }
}

/// The pages that a range of bytes touches; `None`: it is empty.
fn touched(at: u64, length: u64) -> Result<Option<(u64, u64)>, Errno> {
    let lowest = at & !(PAGE - 1);
    // As msync has it.
    let whole = length.checked_add(at - lowest).and_then(word_pages).unwrap_or(0);
    let top = lowest.checked_add(whole).filter(|&top| usize::try_from(top).is_ok());
    let top = top.ok_or(Errno::EINVAL)?;
    if top > USER_TOP {
        return Err(Errno::ENOMEM);
    }
    Ok((lowest < top).then_some((lowest, top)))
}

pub(super) fn mlock(at: u64, length: u64, flags: u64) -> SysResult {
    const ON_FAULT: u64 = 1;
    if flags & !ON_FAULT != 0 {
        return Err(Errno::EINVAL);
    }
    current().limit_memory();
    let memory = memory()?;
    let mut memory = memory.lock();
    if !memory.limits.may_lock && memory.limits.locked == 0 {
        return Err(Errno::EPERM);
    }
    let Some((lowest, top)) = touched(at, length)? else { return Ok(0) };
    memory.lock_range(lowest, top, flags & ON_FAULT != 0)?;
    Ok(0)
}

pub(super) fn munlock(at: u64, length: u64) -> SysResult {
    let Some((lowest, top)) = touched(at, length)? else { return Ok(0) };
    memory()?.lock().set_flags(lowest, top, 0, flag::LOCKED | flag::LOCKED_ON_FAULT)?;
    Ok(0)
}

pub(super) fn mlockall(flags: u64) -> SysResult {
    const CURRENT: u64 = 1;
    const FUTURE: u64 = 2;
    const ON_FAULT: u64 = 4;
    if flags == 0 || flags & !(CURRENT | FUTURE | ON_FAULT) != 0 || flags == ON_FAULT {
        return Err(Errno::EINVAL);
    }
    current().limit_memory();
    let memory = memory()?;
    let mut memory = memory.lock();
    if !memory.limits.may_lock && memory.limits.locked == 0 {
        return Err(Errno::EPERM);
    }
    memory.lock_all(flags & CURRENT != 0, flags & FUTURE != 0, flags & ON_FAULT != 0)?;
    Ok(0)
}

pub(super) fn munlockall() -> SysResult {
    memory()?.lock().unlock_all()?;
    Ok(0)
}

/// From now on the range stays as it is.
#[cfg(target_pointer_width = "64")]
pub(super) fn mseal(at: u64, length: u64, flags: u64) -> SysResult {
    if flags != 0 || !at.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    if length == 0 {
        return Ok(0);
    }
    let (lowest, top) = range(at, length).map_err(|_| Errno::EINVAL)?;
    let memory = memory()?;
    let mut memory = memory.lock();
    if !memory.is_covered(lowest, top) {
        return Err(Errno::ENOMEM);
    }
    memory.set_flags(lowest, top, flag::SEALED, 0)?;
    Ok(0)
}
