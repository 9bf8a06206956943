//! The threads of a process, and whether there may be more.
//!
//! ```text
//!             end (exit_group, a signal of death)
//!   Running ────────────────────────────────────▶ Ending(status)    last thread leaves: the process has ended
//!      │  ▲                                            ▲
//!      │  └── the last other thread has left           │ end
//!      └───────▶ Alone(thread) ────────────────────────┘
//!        execve
//! ```
//!
//! # Invariants
//!
//! 1. A thread runs in user mode only if it has joined, and it joins only a crew that is `Running`.
//!    The state and the list are one value under one lock, so each thread is either in the list
//!    that is told to die, or is refused.
//! 2. The status of a process is the first that `end` was given. Only without one is it that of the
//!    last thread.
//! 3. The crew is told to die under its lock: a thread in the list has not been dropped.

use crate::error::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::memory::fallible::{self, NoMemory};
use machine::spin::SpinLock;
use threads::sched::{self, Thread};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Threads come and go.
    Running,
    /// A thread is about to start another program: the others are on their way out.
    Alone(u64),
    /// All are on their way out; the wait status.
    Ending(i32),
}

/// Who is left of a crew that a thread has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// None: the process's wait status, if it has been decided.
    None(Option<i32>),
    /// The one that wanted to be alone ([`Crew::begin_alone`]).
    OneThatWaits,
    /// Others.
    Some,
}

#[derive(Debug)]
struct Members {
    threads: Vec<Arc<Thread>>,
    stage: Stage,
}

/// See the module's head.
#[derive(Debug)]
pub struct Crew(SpinLock<Members>);

impl Crew {
    /// No thread yet.
    pub(crate) const fn new() -> Self {
        Self(SpinLock::new(Members { threads: Vec::new(), stage: Stage::Running }))
    }

    /// Takes a thread in that has not started. `EAGAIN`: the crew is on its way out.
    pub(crate) fn join(&self, thread: &Arc<Thread>) -> Result<(), Errno> {
        let mut members = self.0.lock();
        if members.stage != Stage::Running {
            return Err(Errno::EAGAIN);
        }
        Ok(fallible::push(&mut members.threads, thread.clone())?)
    }

    /// Takes out a thread that ends.
    pub(crate) fn leave(&self, thread: &Thread) -> Left {
        let (left, thread) = {
            let mut members = self.0.lock();
            let at = members.threads.iter().position(|other| core::ptr::eq(&**other, thread));
            let thread = at.map(|at| members.threads.swap_remove(at));
            let left = match (members.threads.len(), members.stage) {
                (0, Stage::Ending(status)) => Left::None(Some(status)),
                (0, _) => Left::None(None),
                (1, Stage::Alone(_)) => Left::OneThatWaits,
                _ => Left::Some,
            };
            (left, thread)
        };
        drop(thread);
        left
    }

    /// Takes everybody out, of a process that never was.
    pub(crate) fn disband(&self) {
        let members = core::mem::take(&mut self.0.lock().threads);
        drop(members);
    }

    /// Tells all to die, with this wait status of the process unless one is there already. The
    /// caller, if it is one of them, dies when it leaves the kernel.
    pub(crate) fn end(&self, status: i32) {
        let mut members = self.0.lock();
        if let Stage::Ending(_) = members.stage {
            return;
        }
        members.stage = Stage::Ending(status);
        members.threads.iter().for_each(Thread::kill);
    }

    /// The wait status that was decided, if the crew is on its way out.
    pub(crate) fn ending(&self) -> Option<i32> {
        match self.0.lock().stage {
            Stage::Ending(status) => Some(status),
            _ => None,
        }
    }

    /// Tells all but the caller to die, for execve; `EAGAIN` if another thread was faster.
    /// [`Crew::is_alone`] says when they have.
    pub(crate) fn begin_alone(&self) -> Result<(), Errno> {
        let me = sched::current();
        let mut members = self.0.lock();
        if members.stage != Stage::Running {
            return Err(Errno::EAGAIN);
        }
        members.stage = Stage::Alone(me.id().get());
        for thread in members.threads.iter().filter(|other| !core::ptr::eq(&***other, me)) {
            thread.kill();
        }
        Ok(())
    }

    /// Whether the caller is the only one left.
    pub(crate) fn is_alone(&self) -> bool {
        self.count() == 1
    }

    /// Threads may come again, after execve.
    pub(crate) fn end_alone(&self) {
        let mut members = self.0.lock();
        if let Stage::Alone(_) = members.stage {
            members.stage = Stage::Running;
        }
    }

    /// Calls `body` with all of them, under the crew's lock.
    pub(crate) fn with<R>(&self, body: impl FnOnce(&[Arc<Thread>]) -> R) -> R {
        body(&self.0.lock().threads)
    }

    /// Has all of them look for something before user mode, after `first` has prepared it under the
    /// crew's lock: it is told how many there are.
    pub(crate) fn notify_all(&self, first: impl FnOnce(usize)) {
        let members = self.0.lock();
        first(members.threads.len());
        members.threads.iter().for_each(Thread::notify);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.lock().threads.len()
    }

    /// The one with this number, as programs know it.
    pub(crate) fn find(&self, number: u64) -> Option<Arc<Thread>> {
        self.0.lock().threads.iter().find(|thread| thread.number() == number).cloned()
    }

    /// All of them.
    pub(crate) fn threads(&self) -> Result<Vec<Arc<Thread>>, NoMemory> {
        fallible::collect(self.0.lock().threads.iter().cloned())
    }
}
