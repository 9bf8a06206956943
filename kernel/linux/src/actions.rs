//! Signals by number, and what a program said of them.

use super::abi;
use super::error::Errno;
use alloc::vec::Vec;
use machine::memory::fallible;

/// A `struct sigaction` as it came.
pub(super) type Action = [u8; abi::SIGACTION_BYTES];

pub(super) const SIGILL: u64 = 4;
pub(super) const SIGTRAP: u64 = 5;
pub(super) const SIGBUS: u64 = 7;
pub(super) const SIGFPE: u64 = 8;
pub(super) const SIGKILL: u64 = 9;
pub(super) const SIGSEGV: u64 = 11;
pub(super) const SIGPIPE: u64 = 13;
pub(super) const SIGCHLD: u64 = 17;
pub(super) const SIGCONT: u64 = 18;
pub(super) const SIGSTOP: u64 = 19;
pub(super) const SIGURG: u64 = 23;
pub(super) const SIGWINCH: u64 = 28;
/// The highest number.
pub(super) const MOST: u64 = 64;

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

    pub(super) fn get(&self, signal: u64) -> Action {
        let said = self.0.iter().find(|(number, _)| *number == signal);
        said.map_or([0; abi::SIGACTION_BYTES], |(_, action)| *action)
    }

    pub(super) fn set(&mut self, signal: u64, to: Action) -> Result<(), Errno> {
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
pub(super) const IGNORE: u64 = 1;

/// The handler's address, the first word.
pub(super) fn handler(action: &Action) -> u64 {
    let mut word = [0; 8];
    word[..abi::WORD.bytes()].copy_from_slice(&action[..abi::WORD.bytes()]);
    u64::from_le_bytes(word)
}
