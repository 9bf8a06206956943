//! Processes: what one holds, its threads, its children, its birth and its death; and the one that runs.
//!
//! | file | what is in it |
//! | --- | --- |
//! | here | [`Process`], and the calling thread's |
//! | `crew`, `table` | the threads of a process; all processes, and whose children they are |
//! | `task` | what a thread has of its own |
//! | `actions`, `pending`, `send` | what a program said of signals; those on their way; sending |
//! | `user_memory` | strings and numbers in the caller's memory |
//! | `birth`, `fork`, `exit` | a process without a thread; fork, vfork, clone; exit, death by a signal, wait |
//! | `futex` | words of memory that threads sleep on |
//!
//! May import `memory`, `files` and `abi`. What signals do, and how another program starts, is above it.
//!
//! # What a process holds, and how it comes back
//!
//! Everything is reachable from [`Process`] or pinned in its thread, not only from a stack frame: a thread whose kernel stack
//! overflows in a system call is ended without returning, and its frames' destructors never run.

pub(crate) mod actions;
pub(crate) mod birth;
pub(crate) mod crew;
pub(crate) mod exit;
pub(crate) mod fork;
pub(crate) mod futex;
pub(crate) mod pending;
pub(crate) mod send;
pub(crate) mod table;
pub(crate) mod task;
pub(crate) mod user_memory;

use crate::files::open::Files;
use crate::memory::space::Memory;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};
use crew::Crew;
use machine::spin::SpinLock;
use send::ProcessSignals;
pub use task::current_task;
use threads::sched::{Mutex, Name, WaitQueue};

/// A process.
#[derive(Debug)]
pub struct Process {
    /// Its number, which is that of its first thread: processes and threads are counted together.
    pub id: u64,
    /// The process that waits for it; 0: the kernel, which does not.
    pub parent: AtomicU64,
    /// Its process group, and the session that is in.
    pub group: AtomicU64,
    pub session: AtomicU64,
    /// Started by the kernel: a signal to all processes does not mean it.
    pub(crate) is_first: bool,
    /// Its memory; a child of vfork shares its parent's until execve.
    pub(crate) memory: SpinLock<Option<Arc<Mutex<Memory>>>>,
    pub files: SpinLock<Files>,
    pub directory: SpinLock<Arc<String>>,
    /// What the modes of new files lack.
    pub(crate) umask: AtomicU32,
    pub(crate) name: SpinLock<Name>,
    /// The path of its program.
    pub executable: SpinLock<Arc<String>>,
    pub command_line: SpinLock<Arc<Vec<u8>>>,
    /// Its threads that have not ended, and whether there may be more.
    pub crew: Crew,
    /// Its wait status (Linux), once it has ended. Changes under the table's lock.
    pub(crate) ended: SpinLock<Option<i32>>,
    /// Something a waiting parent or child looks for has changed.
    pub changed: WaitQueue,
    /// The signal that its parent gets at its end; 0: none.
    pub(crate) exit_signal: AtomicU8,
    /// Whether a parent sleeps until this child of vfork is done with its memory.
    pub borrows_memory: AtomicBool,
    /// What its threads share of signals.
    pub(crate) signals: SpinLock<ProcessSignals>,
    /// It continues after a stop.
    pub(crate) resumed: WaitQueue,
}

impl Process {
    /// The memory, to look at or change.
    pub fn memory(&self) -> Option<Arc<Mutex<Memory>>> {
        self.memory.lock().clone()
    }

    pub fn set_memory(&self, memory: Option<Arc<Mutex<Memory>>>) -> Option<Arc<Mutex<Memory>>> {
        core::mem::replace(&mut *self.memory.lock(), memory)
    }

    /// Where the kernel's code for going back from handlers lies in its memory; 0: nowhere.
    pub(crate) fn trampoline(&self) -> u64 {
        self.memory().map_or(0, |memory| memory.lock().trampoline)
    }

    /// Its name: the program's.
    pub fn name(&self) -> Name {
        *self.name.lock()
    }

    pub fn set_name(&self, name: &str) {
        *self.name.lock() = Name::new(name);
    }

    /// Its wait status, once it has ended.
    pub fn status(&self) -> Option<i32> {
        *self.ended.lock()
    }

    pub(crate) fn set_status(&self, status: i32) {
        *self.ended.lock() = Some(status);
    }
}

/// The process of the thread that runs. A reference, not a count: what a system call keeps only in its frame would be lost
/// if its stack overflowed.
#[inline]
pub fn current() -> &'static Process {
    &current_task().process
}

/// The same, to keep where others find it.
pub(crate) fn current_arc() -> Arc<Process> {
    current_task().process.clone()
}
