//! What the threads of a process share of signals.

use super::actions::Actions;
use super::pending::Pending;
use crate::abi::signals::Signal;

/// Whether the process runs (job control).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Stop {
    #[default]
    Running,
    /// Every thread stops when it comes by; some have not yet.
    Stopping { signal: Signal },
    /// All have.
    Stopped { signal: Signal },
}

/// What the threads of a process share of signals.
#[derive(Debug)]
pub(crate) struct ProcessSignals {
    pub(crate) actions: Actions,
    /// Those for any thread.
    pub(crate) pending: Pending,
    pub(crate) stop: Stop,
    /// A signal that stops was taken and is about to: SIGCONT that comes first takes it back.
    pub(crate) is_stop_taken: bool,
    /// A stop (with its signal) or a continuation that a waiting parent has not been told of.
    pub(crate) change: Option<Change>,
    /// The parent has not been sent a signal about this. Apart from `change`: it may have waited
    /// for that already.
    pub(crate) untold: Option<Change>,
    /// The thread after the one that got the last signal of a timer.
    pub(crate) next_receiver: usize,
}

/// What a parent can wait for besides the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Stopped(Signal),
    Continued,
}

impl ProcessSignals {
    pub(crate) const fn new(actions: Actions) -> Self {
        Self {
            actions,
            pending: Pending::new(),
            stop: Stop::Running,
            is_stop_taken: false,
            change: None,
            untold: None,
            next_receiver: 0,
        }
    }
}
