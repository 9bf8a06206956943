//! What a program said of signals.

use crate::abi::signals::{DefaultAction, Signal, SignalSet};
use crate::error::Errno;
use machine::memory::fallible;

/// What a signal does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Action {
    /// The handler's address, or [`DEFAULT`], or [`IGNORE`].
    pub handler: u64,
    /// `SA_…`.
    pub flags: u64,
    /// What the handler returns to, if `SA_RESTORER` is set.
    pub restorer: u64,
    /// What is blocked besides while the handler runs.
    pub mask: SignalSet,
}

/// A handler's address that means "what it does by itself".
pub(crate) const DEFAULT: u64 = 0;
/// A handler's address that means "nothing".
pub(crate) const IGNORE: u64 = 1;

/// Flags of an action.
pub(crate) mod flag {
    pub(crate) const NO_CHILD_STOP: u64 = 1;
    pub(crate) const NO_CHILD_WAIT: u64 = 2;
    pub(crate) const SIGINFO: u64 = 4;
    pub(crate) const EXPOSE_TAG_BITS: u64 = 0x800;
    pub(crate) const RESTORER: u64 = 0x0400_0000;
    pub(crate) const ON_STACK: u64 = 0x0800_0000;
    pub(crate) const RESTART: u64 = 0x1000_0000;
    pub(crate) const NO_DEFER: u64 = 0x4000_0000;
    pub(crate) const RESET_HANDLER: u64 = 0x8000_0000;
}

impl Action {
    /// Whether the signal is dropped.
    pub(crate) fn ignores(&self, signal: Signal) -> bool {
        match self.handler {
            IGNORE => true,
            DEFAULT => {
                matches!(signal.default(), DefaultAction::Ignore | DefaultAction::Continue)
            }
            _ => false,
        }
    }

    /// Whether a handler of the program runs.
    pub(crate) const fn is_caught(&self) -> bool {
        self.handler != DEFAULT && self.handler != IGNORE
    }
}

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

    /// The signals that are ignored, and those that are caught: for /proc.
    pub(crate) fn sets(&self) -> (SignalSet, SignalSet) {
        let (mut ignored, mut caught) = (SignalSet::EMPTY, SignalSet::EMPTY);
        for (action, number) in self.0.iter().zip(1..) {
            if let Some(signal) = Signal::new(number) {
                if action.handler == IGNORE {
                    ignored = ignored.with(signal);
                } else if action.is_caught() {
                    caught = caught.with(signal);
                }
            }
        }
        (ignored, caught)
    }
}
