//! Calls about signals: what a program says of them, and which processes one is meant for.

use crate::abi;
use crate::abi::signals::{MAX_SIGNAL, SIGKILL, SIGSTOP};
use crate::error::{Errno, SysResult};
use crate::process::current;
use crate::process::table::{self, Which};
use crate::process::user_memory::{get, put, write_zeros};
use crate::signals::send::send;
use threads::sched::WaitQueue;

pub(crate) fn sigaction(signal: u64, new: u64, old: u64) -> SysResult {
    if signal == 0 || signal > MAX_SIGNAL || new != 0 && (signal == SIGKILL || signal == SIGSTOP) {
        return Err(Errno::EINVAL);
    }
    let process = current();
    let action = if new != 0 { Some(get::<{ abi::SIGACTION_BYTES }>(new)?) } else { None };
    let before = {
        let mut actions = process.actions.lock();
        let before = actions.get(signal);
        if let Some(action) = action {
            actions.set(signal, action)?;
        }
        before
    };
    if old != 0 {
        put(old, &before)?;
    }
    Ok(0)
}

pub(crate) fn kill(which: i64, signal: u64) -> SysResult {
    if signal > MAX_SIGNAL {
        return Err(Errno::EINVAL);
    }
    let me = current();
    let which = Which::of(which, me);
    let met = table::for_each(which, |process| {
        // "All" is all but the caller and what stands for Linux's first process.
        if which != Which::Any || process.id != me.id && !process.is_first {
            send(process, signal);
        }
    });
    if met == 0 { Err(Errno::ESRCH) } else { Ok(0) }
}

/// A signal to a thread, of the process with the number `process` if that is given. Only a living thread has its number.
pub(crate) fn tkill(process: Option<i32>, thread: i32, signal: u64) -> SysResult {
    if signal > MAX_SIGNAL || thread <= 0 || process.is_some_and(|process| process <= 0) {
        return Err(Errno::EINVAL);
    }
    let which = process.map_or(Which::Any, |process| Which::Number(process as u64));
    let mut found = false;
    table::for_each(which, |process| {
        if !found && process.crew.has(thread as u64) {
            found = true;
            send(process, signal);
        }
    });
    if found { Ok(0) } else { Err(Errno::ESRCH) }
}

/// Signals are never delivered to a handler, so which ones are blocked changes nothing.
pub(crate) fn sigprocmask(old: u64, bytes: u64) -> SysResult {
    if old == 0 { Ok(0) } else { write_zeros(old, bytes) }
}

pub(crate) fn pause() -> SysResult {
    static NEVER: WaitQueue = WaitQueue::new();
    // Ends only when the thread is to die.
    NEVER.wait_until(|| false).map_err(|_| Errno::EINTR)?;
    Ok(0)
}
