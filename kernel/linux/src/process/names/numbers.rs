//! What numbers of processes, threads, groups and sessions mean that programs say, and what they
//! are told: see [`crate::spaces::pid`].
//!
//! | who | what it keeps |
//! | --- | --- |
//! | `Process::id`, `Thread::number` | the number in the first namespace, by which the kernel finds it |
//! | `Process::local`, `Task::local` | that in its own namespace: getpid and gettid read it |
//! | `Process::numbers` | those of all levels; `None` in the first namespace |
//! | `Process::holds`, `Task::hold` | that these numbers, and those of its group and session, are in use |

use crate::error::Errno;
use crate::process::task::Task;
use crate::process::{Process, task};
use crate::spaces::pid::{self, Hold, Holds, Own};
use core::sync::atomic::Ordering;
use threads::sched;

static FIRST: Own = None;

/// The caller's namespace: that of its process; of the kernel, the first one.
pub(crate) fn here() -> &'static Own {
    task::of_current().map_or(&FIRST, |task| &task.process.space)
}

/// What a number that the caller says is to the kernel. 0, which is no process's: it means nothing.
pub(crate) fn meant(number: u64) -> u64 {
    pid::global(here(), number).unwrap_or(0)
}

/// What the caller is told of a number of the kernel's; 0: it does not see what that means.
pub(crate) fn told(number: u64) -> u64 {
    pid::local(here(), number)
}

impl Process {
    /// Its number in a namespace; 0: it is not seen there.
    pub(crate) fn number_in(&self, space: &Own) -> u64 {
        match &self.numbers {
            None if space.is_none() => self.id,
            None => 0,
            Some(numbers) => numbers.in_space(space),
        }
    }

    /// Its number for the caller; 0: that does not see it.
    pub(crate) fn told(&self) -> u64 {
        self.number_in(here())
    }

    /// Its parent's number in a namespace; 0: it is not seen there.
    pub(crate) fn parent_in(&self, space: &Own) -> u64 {
        pid::local(space, self.parent_number())
    }

    /// Whether it is the first process of a namespace below the first.
    pub(crate) fn is_init(&self) -> bool {
        self.local == 1 && self.space.is_some()
    }

    /// Whether the caller sees it.
    pub(crate) fn is_seen(&self) -> bool {
        self.told() != 0
    }

    /// It is in no table any more: its numbers may be given out again, and its group may have
    /// another process.
    pub(in crate::process) fn forget_numbers(&self) {
        let holds = core::mem::take(&mut *self.holds.lock());
        drop(holds);
        self.membership.leave();
    }

    /// It keeps no numbers in use but its own any more: what its group and session were is known
    /// by their numbers in the first namespace.
    pub(in crate::process) fn leave_groups(&self) -> [Option<Hold>; 2] {
        let mut holds = self.holds.lock();
        [holds.group.take(), holds.session.take()]
    }

    /// What a child has of its maker's holds, besides its own.
    pub(in crate::process) fn holds_for_child(&self, own: Option<Hold>) -> Holds {
        let mine = self.holds.lock();
        Holds { group: mine.group.clone(), session: mine.session.clone(), own }
    }

    /// Puts it into the group that a process leads, or that another one is in.
    pub(crate) fn set_group(&self, number: u64, like: &Self) {
        let hold = {
            let theirs = like.holds.lock();
            if like.id == number { theirs.own.clone() } else { theirs.group.clone() }
        };
        let before = core::mem::replace(&mut self.holds.lock().group, hold);
        self.group.store(number, Ordering::Relaxed);
        drop(before);
    }

    /// Makes it the leader of a session and of a group.
    pub(crate) fn lead_session(&self) {
        let before = {
            let mut holds = self.holds.lock();
            let own = holds.own.clone();
            (
                core::mem::replace(&mut holds.group, own.clone()),
                core::mem::replace(&mut holds.session, own),
            )
        };
        self.session.store(self.id, Ordering::Relaxed);
        self.group.store(self.id, Ordering::Relaxed);
        drop(before);
    }
}

impl Task {
    /// Its number in its own namespace.
    pub(crate) fn number(&self) -> u64 {
        self.local.load(Ordering::Relaxed)
    }

    /// Gives a thread that has not begun its numbers, besides those of its process.
    pub(in crate::process) fn set_numbers(&self, hold: Option<Hold>) {
        let number = hold.as_ref().map(|hold| hold.numbers().own());
        if let Some(number) = number {
            self.local.store(number, Ordering::Relaxed);
        }
        let before = core::mem::replace(&mut *self.hold.lock(), hold);
        drop(before);
    }

    /// It has left its process.
    pub(in crate::process) fn set_numbers_free(&self) {
        self.set_numbers(None);
    }

    /// The calling thread is its process's first one from now on, after execve.
    pub(crate) fn begin_as_first(&self) {
        sched::current().set_number(self.process.id);
        self.local.store(self.process.local, Ordering::Relaxed);
        self.set_numbers(None);
    }

    /// The namespace of the processes that it makes.
    pub(crate) fn space_of_children(&self) -> Own {
        self.children.lock().clone()
    }

    /// Makes it another one.
    pub(crate) fn set_space_of_children(&self, to: Own) {
        let before = core::mem::replace(&mut *self.children.lock(), to);
        drop(before);
    }
}

/// Numbers for what the caller makes: in the namespace of its children, or for a thread in its own.
pub(in crate::process) fn give(
    global: u64,
    space: &Own,
    chosen: &[u64],
    highest: u64,
) -> Result<Option<Hold>, Errno> {
    match space {
        None => Ok(None),
        Some(space) => pid::Numbers::give(global, space, chosen, highest).map(Some),
    }
}
