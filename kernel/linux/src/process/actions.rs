//! What a program said of signals.

use crate::abi::action::{Action, DEFAULT, IGNORE};
use crate::abi::signals::Signal;
use crate::error::Errno;
use machine::memory::fallible;

/// What a program said of signals, by number.
#[derive(Debug)]
pub struct Actions(alloc::boxed::Box<[Action; Signal::MAX as usize]>);

impl Actions {
    /// Nothing was said.
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Self(fallible::boxed([Action::default(); Signal::MAX as usize])?))
    }

    /// The same for a child.
    pub(crate) fn try_clone(&self) -> Result<Self, Errno> {
        Ok(Self(fallible::boxed(*self.0)?))
    }

    pub(crate) fn get(&self, signal: Signal) -> Action {
        self.0[usize::from(signal.number()) - 1]
    }

    pub(crate) fn set(&mut self, signal: Signal, to: Action) {
        self.0[usize::from(signal.number()) - 1] = to;
    }

    /// What execve leaves: a handler is not there any more, what is ignored stays ignored. With `all`, what is ignored too
    /// (`CLONE_CLEAR_SIGHAND` keeps it).
    pub(crate) fn forget_handlers(&mut self) {
        for action in self.0.iter_mut() {
            let handler = if action.handler == IGNORE { IGNORE } else { DEFAULT };
            *action = Action { handler, ..Action::default() };
        }
    }
}
