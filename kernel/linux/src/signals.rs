//! Signals: what programs said of them, and which processes one is meant for. Handlers are not called yet: a signal with a handler,
//! and one that is ignored, does nothing; any other ends the process.

use super::abi;
use super::actions::{Action, MOST, SIGCHLD, SIGCONT, SIGKILL, SIGSTOP, SIGURG, SIGWINCH, handler};
use super::error::{Errno, SysResult};
use super::process::{Process, current};
use super::table::{self, Which};
use super::user_memory::{get, put};

pub(super) fn sigaction(signal: u64, new: u64, old: u64) -> SysResult {
    if signal == 0 || signal > MOST || new != 0 && (signal == SIGKILL || signal == SIGSTOP) {
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

/// Whether a signal ends a process that said this of it.
fn is_fatal(signal: u64, action: &Action) -> bool {
    const IGNORED_BY_DEFAULT: [u64; 4] = [SIGCHLD, SIGCONT, SIGURG, SIGWINCH];
    match handler(action) {
        0 => !IGNORED_BY_DEFAULT.contains(&signal),
        _ => signal == SIGKILL,
    }
}

/// Sends a signal to a process. The number must be one of those there are; 0 asks only whether the process is there.
pub(super) fn send(process: &Process, signal: u64) {
    if signal == 0 {
        return;
    }
    let action = process.actions.lock().get(signal);
    if is_fatal(signal, &action) {
        process.crew.end(signal as i32);
    }
}

pub(super) fn kill(which: i64, signal: u64) -> SysResult {
    if signal > MOST {
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
pub(super) fn tkill(process: Option<i32>, thread: i32, signal: u64) -> SysResult {
    if signal > MOST || thread <= 0 || process.is_some_and(|process| process <= 0) {
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
