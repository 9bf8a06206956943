//! Signals: what programs said of them, and which processes one is meant for. Handlers are not called yet: a signal with a handler,
//! and one that is ignored, does nothing; any other ends the process.

use super::error::{Errno, SysResult};
use super::syscall::{get, put};
use super::table::{self, Which};
use super::{Process, abi, current};
use alloc::vec::Vec;
use machine::memory::fallible;

/// A `struct sigaction` as it came.
type Action = [u8; abi::SIGACTION_BYTES];

pub(super) const SIGILL: u64 = 4;
pub(super) const SIGTRAP: u64 = 5;
pub(super) const SIGBUS: u64 = 7;
pub(super) const SIGFPE: u64 = 8;
pub(super) const SIGKILL: u64 = 9;
pub(super) const SIGSEGV: u64 = 11;
pub(super) const SIGPIPE: u64 = 13;
const SIGCHLD: u64 = 17;
const SIGCONT: u64 = 18;
const SIGSTOP: u64 = 19;
const SIGURG: u64 = 23;
const SIGWINCH: u64 = 28;
/// The highest number.
const MOST: u64 = 64;

/// What a program said of signals, by number; of most of them, nothing.
#[derive(Debug, Default)]
pub struct Actions(Vec<(u64, Action)>);

impl Actions {
    /// Nothing was said.
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// The same for a child.
    pub(super) fn try_clone(&self) -> Result<Self, Errno> {
        Ok(Self(fallible::collect(self.0.iter().copied())?))
    }

    fn get(&self, signal: u64) -> Action {
        let said = self.0.iter().find(|(number, _)| *number == signal);
        said.map_or([0; abi::SIGACTION_BYTES], |(_, action)| *action)
    }

    fn set(&mut self, signal: u64, to: Action) -> Result<(), Errno> {
        match self.0.iter_mut().find(|(number, _)| *number == signal) {
            Some((_, action)) => *action = to,
            None => fallible::push(&mut self.0, (signal, to))?,
        }
        Ok(())
    }

    /// What execve leaves: a handler is not there any more, what is ignored stays ignored.
    pub(super) fn forget_handlers(&mut self) {
        self.0.retain(|(_, action)| handler(action) == IGNORE);
    }
}

/// A handler's address that means "ignore it".
const IGNORE: u64 = 1;

/// The handler's address, the first word.
fn handler(action: &Action) -> u64 {
    let mut word = [0; 8];
    word[..abi::WORD.bytes()].copy_from_slice(&action[..abi::WORD.bytes()]);
    u64::from_le_bytes(word)
}

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
