//! Calls about process groups and sessions.

use super::table::calls;
use crate::error::{Errno, SysResult};
use crate::process::{Process, current, current_arc, table};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

calls! {
    "getpgrp" () => getpgid(0);
    "getpgid" (process) => getpgid(process);
    "getsid" (process) => getsid(process);
    "setpgid" (process, group) => setpgid(process, group);
    "setsid" () => setsid();
}

/// The process that a call about groups means, by any of its threads: 0 is the caller.
fn process(number: u64) -> Result<Arc<Process>, Errno> {
    match number as i32 {
        0 => Ok(current_arc()),
        1.. => {
            let number = number & 0x7fff_ffff;
            let by_thread = || table::find_thread(None, number).map(|(process, _)| process);
            table::find(number).or_else(by_thread).ok_or(Errno::ESRCH)
        }
        _ => Err(Errno::ESRCH),
    }
}

pub(crate) fn getpgid(number: u64) -> SysResult {
    Ok(process(number)?.group.load(Ordering::Relaxed))
}

pub(crate) fn getsid(number: u64) -> SysResult {
    Ok(process(number)?.session.load(Ordering::Relaxed))
}

/// Puts the caller, or a child of it, into a group of its session, or into one of its own.
pub(crate) fn setpgid(number: u64, group: u64) -> SysResult {
    let me = current();
    let session = me.session.load(Ordering::Relaxed);
    if (group as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let process = process(number)?;
    if number as i32 != 0 && process.id != number & 0x7fff_ffff {
        // A thread that is not the first of its process.
        return Err(Errno::EINVAL);
    }
    if process.parent.load(Ordering::Relaxed) == me.id {
        if process.session.load(Ordering::Relaxed) != session {
            return Err(Errno::EPERM);
        }
        if process.attributes.has_executed.load(Ordering::Relaxed) {
            return Err(Errno::EACCES);
        }
    } else if process.id != me.id {
        return Err(Errno::ESRCH);
    }
    if process.id == process.session.load(Ordering::Relaxed) {
        return Err(Errno::EPERM);
    }
    let group = match group & 0x7fff_ffff {
        0 => process.id,
        group => group,
    };
    let mut is_there = group == process.id;
    table::for_each(table::Which::Group(group), |other| {
        is_there |= other.session.load(Ordering::Relaxed) == session;
    });
    if !is_there {
        return Err(Errno::EPERM);
    }
    process.group.store(group, Ordering::Relaxed);
    Ok(0)
}

/// A session and a group of its own; not for one that leads a group already.
pub(crate) fn setsid() -> SysResult {
    let me = current();
    if table::for_each(table::Which::Group(me.id), |_| {}) > 0 {
        return Err(Errno::EPERM);
    }
    me.session.store(me.id, Ordering::Relaxed);
    me.group.store(me.id, Ordering::Relaxed);
    Ok(me.id)
}
