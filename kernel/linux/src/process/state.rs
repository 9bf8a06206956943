//! What a process holds.

use super::crew::Crew;
use super::shared_signals::ProcessSignals;
use crate::files::open::Files;
use crate::memory::space::Memory;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use machine::spin::SpinLock;
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
    /// What it asked of the kernel's manners (personality).
    pub(crate) personality: AtomicU32,
}

impl Process {
    /// The memory, to look at or change.
    pub fn memory(&self) -> Option<Arc<Mutex<Memory>>> {
        self.memory.lock().clone()
    }

    pub fn set_memory(&self, memory: Option<Arc<Mutex<Memory>>>) -> Option<Arc<Mutex<Memory>>> {
        core::mem::replace(&mut *self.memory.lock(), memory)
    }

    /// Whether its programs' parts lie where they always do.
    pub(crate) fn has_fixed_layout(&self) -> bool {
        const ADDR_NO_RANDOMIZE: u32 = 0x0004_0000;
        self.personality.load(Ordering::Relaxed) & ADDR_NO_RANDOMIZE != 0
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
