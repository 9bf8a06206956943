//! What a program said of signals.

use crate::abi::action::{Action, DEFAULT, IGNORE};
use crate::abi::signals::{Signal, SignalSet};
use crate::error::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::memory::fallible;
use machine::spin::SpinLock;

/// What a program said of signals, by number. Processes share it that were made with
/// `CLONE_SIGHAND`; its lock is the last one that is taken.
///
/// A list, and no array: it is filled where it lies. On a kernel stack of 8 KiB there is no room
/// for copies of 2 KiB.
#[derive(Debug)]
pub struct Actions(Arc<SpinLock<Vec<Action>>>);

/// As many as there are signals.
const COUNT: usize = Signal::MAX as usize;

impl Actions {
    /// Nothing was said.
    pub(crate) fn new() -> Result<Self, Errno> {
        let all = fallible::collect(core::iter::repeat_n(Action::default(), COUNT))?;
        Ok(Self(fallible::shared(SpinLock::new(all))?))
    }

    /// The same for a child.
    pub(crate) fn try_clone(&self) -> Result<Self, Errno> {
        let copy = Self::new()?;
        copy.0.lock().copy_from_slice(&self.0.lock());
        Ok(copy)
    }

    /// The very same, for a child that is to see what is said later.
    pub(crate) fn share(&self) -> Self {
        Self(self.0.clone())
    }

    /// Whether others have them too.
    pub(crate) fn are_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Where they lie: what processes that share them have in common.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Under the lock of a process's signals.
    pub(crate) fn get(&self, signal: Signal) -> Action {
        self.0.lock_uninterrupted()[usize::from(signal.number()) - 1]
    }

    pub(crate) fn set(&mut self, signal: Signal, to: Action) {
        self.0.lock()[usize::from(signal.number()) - 1] = to;
    }

    /// What execve leaves: a handler is not there any more, what is ignored stays ignored. With
    /// `all`, what is ignored too (`CLONE_CLEAR_SIGHAND` keeps it).
    pub(crate) fn forget_handlers(&mut self) {
        for action in self.0.lock().iter_mut() {
            let handler = if action.handler == IGNORE { IGNORE } else { DEFAULT };
            *action = Action { handler, ..Action::default() };
        }
    }

    /// The signals that are ignored, and those that are caught: for /proc.
    pub(crate) fn sets(&self) -> (SignalSet, SignalSet) {
        let (mut ignored, mut caught) = (SignalSet::EMPTY, SignalSet::EMPTY);
        for (action, number) in self.0.lock().iter().zip(1..) {
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
