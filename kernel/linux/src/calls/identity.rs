//! Calls about process groups and sessions.

use super::table::calls;
use crate::error::{Errno, SysResult};
use crate::process::names::{named, numbers};
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
            named::find_by_any(number).ok_or(Errno::ESRCH)
        }
        _ => Err(Errno::ESRCH),
    }
}

pub(crate) fn getpgid(number: u64) -> SysResult {
    Ok(numbers::told(process(number)?.group.load(Ordering::Relaxed)))
}

pub(crate) fn getsid(number: u64) -> SysResult {
    Ok(numbers::told(process(number)?.session.load(Ordering::Relaxed)))
}

/// Puts the caller, or a child of it, into a group of its session, or into one of its own.
pub(crate) fn setpgid(number: u64, group: u64) -> SysResult {
    let me = current();
    let session = me.session.load(Ordering::Relaxed);
    if (group as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let process = process(number)?;
    if number as i32 != 0 && process.told() != number & 0x7fff_ffff {
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
        group => numbers::meant(group),
    };
    let mut member = (group == process.id).then(|| process.clone());
    table::for_each(table::Which::Group(group), |other| {
        if member.is_none() && other.session.load(Ordering::Relaxed) == session {
            member = Some(other.clone());
        }
    });
    process.set_group(group, &*member.ok_or(Errno::EPERM)?);
    Ok(0)
}

/// A session and a group of its own; not for one that leads a group already.
pub(crate) fn setsid() -> SysResult {
    let me = current();
    if table::for_each(table::Which::Group(me.id), |_| {}) > 0 {
        return Err(Errno::EPERM);
    }
    me.lead_session();
    Ok(me.local)
}
