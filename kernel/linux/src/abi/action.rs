//! What a program can say of a signal.

use super::signals::{DefaultAction, Signal, SignalSet};

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
pub const DEFAULT: u64 = 0;
/// A handler's address that means "nothing".
pub const IGNORE: u64 = 1;

/// Flags of an action.
pub mod flag {
    pub const NO_CHILD_STOP: u64 = 1;
    pub const NO_CHILD_WAIT: u64 = 2;
    pub const SIGINFO: u64 = 4;
    pub const EXPOSE_TAG_BITS: u64 = 0x800;
    pub const RESTORER: u64 = 0x0400_0000;
    pub const ON_STACK: u64 = 0x0800_0000;
    pub const RESTART: u64 = 0x1000_0000;
    pub const NO_DEFER: u64 = 0x4000_0000;
    pub const RESET_HANDLER: u64 = 0x8000_0000;
    /// All of them.
    pub const ALL: u64 = NO_CHILD_STOP
        | NO_CHILD_WAIT
        | SIGINFO
        | EXPOSE_TAG_BITS
        | RESTORER
        | ON_STACK
        | RESTART
        | NO_DEFER
        | RESET_HANDLER;
}

impl Action {
    /// Whether the program said nothing of it.
    pub fn is_default(&self) -> bool {
        self.handler == DEFAULT
    }

    /// Whether the signal is dropped.
    pub fn ignores(&self, signal: Signal) -> bool {
        match self.handler {
            IGNORE => true,
            DEFAULT => {
                matches!(signal.default(), DefaultAction::Ignore | DefaultAction::Continue)
            }
            _ => false,
        }
    }

    /// Whether a handler of the program runs.
    pub const fn is_caught(&self) -> bool {
        self.handler != DEFAULT && self.handler != IGNORE
    }
}
