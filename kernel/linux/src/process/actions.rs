//! What a program said of signals.

use crate::abi;
use crate::error::Errno;
use alloc::vec::Vec;
use machine::memory::fallible;

/// A `struct sigaction` as it came.
pub(crate) type Action = [u8; abi::SIGACTION_BYTES];

/// What a program said of signals, by number; of most of them, nothing.
#[derive(Debug, Default)]
pub struct Actions(Vec<(u64, Action)>);

impl Actions {
    /// Nothing was said.
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// The same for a child.
    pub(crate) fn try_clone(&self) -> Result<Self, Errno> {
        Ok(Self(fallible::collect(self.0.iter().copied())?))
    }

    pub(crate) fn get(&self, signal: u64) -> Action {
        let said = self.0.iter().find(|(number, _)| *number == signal);
        said.map_or([0; abi::SIGACTION_BYTES], |(_, action)| *action)
    }

    pub(crate) fn set(&mut self, signal: u64, to: Action) -> Result<(), Errno> {
        match self.0.iter_mut().find(|(number, _)| *number == signal) {
            Some((_, action)) => *action = to,
            None => fallible::push(&mut self.0, (signal, to))?,
        }
        Ok(())
    }

    /// What execve leaves: a handler is not there any more, what is ignored stays ignored.
    pub(crate) fn forget_handlers(&mut self) {
        self.0.retain(|(_, action)| handler(action) == IGNORE);
    }
}

/// A handler's address that means "ignore it".
pub(crate) const IGNORE: u64 = 1;

/// The handler's address, the first word.
pub(crate) fn handler(action: &Action) -> u64 {
    let mut word = [0; 8];
    word[..abi::WORD.bytes()].copy_from_slice(&action[..abi::WORD.bytes()]);
    u64::from_le_bytes(word)
}
