//! Shared memory by number and key: shmget, shmat, shmdt, shmctl.

use super::{
    INFO, READ, REMOVE, SET, STAT, Structure, WRITE, check, check_owner, command, find_or_make,
    named, now, set,
};
use crate::abi;
use crate::calls::memory::{PROT_EXEC, PROT_READ, PROT_WRITE, access, implied};
use crate::calls::table::calls;
use crate::error::{Errno, SysResult};
use crate::files::spot::Known;
use crate::ipc::table::PRIVATE;
use crate::memory::areas::{Area, PAGE, Source, flag};
use crate::memory::limits::is_too_much;
use crate::memory::object::Object;
use crate::memory::segments::{self, Segment};
use crate::memory::space::{Memory, Wanted};
use crate::process::identity::credentials::capability;
use crate::process::names::ipc::here;
use crate::process::user_memory::{get, put_word};
use crate::process::{current, current_task};
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::Write;
use core::sync::atomic::{AtomicU64, Ordering};
use threads::sched::Mutex;

calls! {
    "shmget" (key, bytes, flags) => shmget(key, bytes, flags);
    "shmat" (number, at, flags) => shmat(number, at, flags);
    "shmdt" (at) => shmdt(at);
    "shmctl" (number, command, to) => shmctl(number, command, to);
}

fn memory() -> Result<Arc<Mutex<Memory>>, Errno> {
    current().memory().ok_or(Errno::ENOMEM)
}

pub(super) fn shmget(key: u64, bytes: u64, flags: u64) -> SysResult {
    const HUGE: u64 = 0o4000;
    let is_right = |number, wanted| {
        segments::with(Some(here()), number, |segment, _| {
            if bytes > segment.bytes {
                return Err(Errno::EINVAL);
            }
            check(&segment.access, wanted)
        })
    };
    find_or_make(key, flags, segments::find, is_right, |access| {
        let is_too_large = bytes > segments::MAX_BYTES.load(Ordering::Relaxed);
        if bytes == 0 || is_too_large || bytes.checked_next_multiple_of(PAGE).is_none() {
            return Err(Errno::EINVAL);
        }
        let (_, pages, _) = segments::totals(here());
        if pages.saturating_add(bytes.div_ceil(PAGE)) > segments::MAX_PAGES.load(Ordering::Relaxed)
        {
            return Err(Errno::ENOSPC);
        }
        if flags & HUGE != 0 || is_too_much(bytes) {
            // There are no huge pages to be had.
            return Err(Errno::ENOMEM);
        }
        segments::make(Segment {
            access,
            bytes,
            is_removed: false,
            is_locked: false,
            times: [0, 0],
            processes: [current().id, 0],
            node: segments::pages(bytes)?,
        })
    })
}

pub(super) fn shmat(number: u64, at: u64, flags: u64) -> SysResult {
    const READ_ONLY: u64 = 0o10000;
    const ROUND: u64 = 0o20000;
    const REMAP: u64 = 0o40000;
    const EXEC: u64 = 0o100000;
    let number = number as i32;
    let wanted = match at {
        0 if flags & REMAP != 0 => return Err(Errno::EINVAL),
        0 => Wanted::Anywhere(0),
        _ if !at.is_multiple_of(PAGE) && flags & ROUND == 0 => return Err(Errno::EINVAL),
        _ if flags & REMAP != 0 => Wanted::Exactly(at & !(PAGE - 1)),
        _ => Wanted::There(at & !(PAGE - 1)),
    };
    let mut protection = match flags & READ_ONLY {
        0 => PROT_READ | PROT_WRITE,
        _ => PROT_READ,
    };
    if flags & EXEC != 0 {
        protection |= PROT_EXEC;
    }
    let bits = READ | if flags & READ_ONLY == 0 { WRITE } else { 0 } | u32::from(flags & EXEC != 0);
    let (node, key, bytes) = segments::with(Some(here()), number, |segment, _| {
        check(&segment.access, bits)?;
        Ok((segment.node.clone(), segment.access.key, segment.bytes))
    })?;
    let mut path = String::new();
    path.try_reserve(32).map_err(|_| Errno::ENOMEM)?;
    // CANNOT FAIL: reserved above.
    let _fits = write!(path, "/SYSV{key:08x} (deleted)");
    let is_writable = flags & READ_ONLY == 0;
    let object = Object::of(node, Known::called(path)?, is_writable)?;
    segments::attach(number, &object)?;
    let never = if is_writable { 0 } else { flag::NEVER_WRITE };
    let protection = implied(protection);
    let like = Area {
        flags: flag::SHARED | never,
        source: Some(Source { object, offset: 0 }),
        ..Area::anonymous(0, 0, true, access(protection))
    };
    let length = bytes.next_multiple_of(PAGE);
    let mapped = memory()?.lock().map(wanted, length, like);
    let lowest = mapped.map_err(|error| match error {
        Errno::EEXIST | Errno::EPERM => Errno::EINVAL,
        error => error,
    })?;
    let _gone_meanwhile = segments::with(Some(here()), number, |segment, _| {
        segment.times[0] = now();
        segment.processes[1] = current().id;
        Ok(())
    });
    Ok(lowest)
}

pub(super) fn shmdt(at: u64) -> SysResult {
    let memory = memory()?;
    let mut number = None;
    {
        let mut memory = memory.lock();
        loop {
            // The first one names the segment; what else is left of the attachment goes with it.
            let found = memory.areas().iter().find_map(|area| {
                let source = area.source.as_ref()?;
                let is_its = area.lowest.checked_sub(source.offset) == Some(at);
                let found = segments::of_node(&source.object.node).filter(|_| is_its)?;
                let is_same = number.is_none_or(|number| number == found);
                is_same.then_some((area.lowest, area.top, found))
            });
            let Some((lowest, top, found)) = found else { break };
            memory.unmap(lowest, top)?;
            number = Some(found);
        }
    }
    let number = number.ok_or(Errno::EINVAL)?;
    // Of whichever namespace it is.
    let _gone = segments::with(None, number, |segment, _| {
        segment.times[1] = now();
        segment.processes[1] = current().id;
        Ok(())
    });
    Ok(0)
}

pub(super) fn shmctl(number: u64, what: u64, to: u64) -> SysResult {
    const LOCK: u64 = 11;
    const UNLOCK: u64 = 12;
    const STAT_AT: u64 = 13;
    const ALL_INFO: u64 = 14;
    const STAT_ANY: u64 = 15;
    let (number, what) = (number as i32, command(what));
    match what {
        REMOVE => segments::with(Some(here()), number, |segment, _| {
            check_owner(&segment.access)?;
            segment.is_removed = true;
            // Nothing finds it any more.
            segment.access.key = PRIVATE;
            Ok(0)
        }),
        SET => {
            let given = get::<24>(to)?;
            segments::with(Some(here()), number, |segment, _| {
                check_owner(&segment.access)?;
                set(&mut segment.access, &given);
                Ok(0)
            })
        }
        STAT | STAT_AT | STAT_ANY => {
            let number = named(what, number, segments::at_place)?;
            let (segment, count) = segments::with(Some(here()), number, |segment, count| {
                if what != STAT_ANY {
                    check(&segment.access, READ)?;
                }
                Ok((segment.clone(), count))
            })?;
            encode(&segment, count as u64).put(to)?;
            Ok(if what == STAT { 0 } else { number as u64 })
        }
        LOCK | UNLOCK => segments::with(Some(here()), number, |segment, _| {
            let mine = current_task().credentials();
            if !mine.can_here(capability::IPC_LOCK) {
                check_owner(&segment.access)?;
            }
            segment.is_locked = what == LOCK;
            Ok(0)
        }),
        INFO => {
            let kept = |limit: &AtomicU64| limit.load(Ordering::Relaxed);
            let (most, pages) = (kept(&segments::MAX_BYTES), kept(&segments::MAX_PAGES));
            let count = kept(&segments::MAX_SEGMENTS);
            put_words(to, &[most, 1, count, count, pages, 0, 0, 0, 0])?;
            Ok(segments::totals(here()).2 as u64)
        }
        ALL_INFO => {
            let (count, pages, highest) = segments::totals(here());
            put_words(to, &[count as u64, pages, pages, 0, 0, 0])?;
            Ok(highest as u64)
        }
        _ => Err(Errno::EINVAL),
    }
}

fn put_words(mut to: u64, words: &[u64]) -> Result<(), Errno> {
    for &word in words {
        put_word(to, word)?;
        to = to.checked_add(abi::WORD.bytes() as u64).ok_or(Errno::EFAULT)?;
    }
    Ok(())
}

/// `struct shmid64_ds`: size, times (two words each on 32 bits), the processes, and how often it is
/// attached (include/uapi/asm-generic/shmbuf.h).
fn encode(segment: &Segment, count: u64) -> Structure {
    const REMOVED: u32 = 0o1000;
    const LOCKED: u32 = 0o2000;
    let removed = if segment.is_removed { REMOVED } else { 0 };
    let locked = if segment.is_locked { LOCKED } else { 0 };
    let mut structure = Structure::of(&segment.access, removed | locked);
    structure.word(segment.bytes);
    for time in [segment.times[0], segment.times[1], segment.access.changed] {
        structure.add(time, 8);
    }
    segment.processes.into_iter().for_each(|process| structure.add(process, 4));
    structure.word(count);
    structure
}
