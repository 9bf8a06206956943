//! Processes: programs with memory, files and a life, on top of threads.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `memory`, `areas`, `sorted`, `load`, `fault` | address space; from a file to a program that can start; faults of programs |
//! | `tree`, `file_bytes`, `files`, `proc_fs` | the file tree, what is in a file, open files and pipes, /proc |
//! | `syscall`, `calls_*`, `abi` | the Linux system-call interface |
//! | `life` | fork, clone, execve, exit, wait |
//!
//! # What a process holds, and how it comes back
//!
//! Everything is reachable from [`Process`] or pinned in its thread, not only from a stack frame: a thread whose kernel stack
//! overflows in a system call is ended without returning, and its frames' destructors never run.

pub(crate) mod abi;
mod areas;
mod calls_files;
mod calls_memory;
mod calls_misc;
pub(crate) mod error;
pub mod fault;
mod file_bytes;
pub(crate) mod files;
pub mod fs;
mod life;
mod load;
pub(crate) mod memory;
mod proc_fs;
mod sorted;
pub mod syscall;
pub(crate) mod tree;

pub use life::{die_if_killed, kill_current, run, run_captured};

use crate::sched::{Thread, WaitQueue};
use crate::sync::{Mutex, SpinLock};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use files::Files;
use memory::Memory;

/// A process.
#[derive(Debug)]
pub struct Process {
    pub(crate) id: u64,
    /// The process that waits for it; 0: the kernel, which does not.
    pub(crate) parent: AtomicU64,
    /// Its memory; a child of vfork shares its parent's until execve.
    memory: SpinLock<Option<Arc<Mutex<Memory>>>>,
    pub(crate) files: SpinLock<Files>,
    pub(crate) directory: SpinLock<String>,
    name: SpinLock<String>,
    /// The path of its program.
    pub(crate) executable: SpinLock<String>,
    pub(crate) command_line: SpinLock<Vec<u8>>,
    /// Its threads that have not ended.
    pub(crate) threads: SpinLock<Vec<Weak<Thread>>>,
    /// The signal that kills it, or 0.
    pub(crate) fatal_signal: AtomicI32,
    /// The wait status that the first `exit_group` gave it; negative: there was none.
    pub(crate) group_status: AtomicI32,
    /// Its wait status (Linux), once it has ended.
    pub(crate) ended: SpinLock<Option<i32>>,
    /// Something a waiting parent or child looks for has changed.
    pub(crate) changed: WaitQueue,
    /// Whether a parent sleeps until this child of vfork is done with its memory.
    pub(crate) borrows_memory: AtomicBool,
    /// What programs said of signals: `struct sigaction` as it came, by number.
    pub(crate) actions: SpinLock<BTreeMap<u64, [u8; abi::SIGACTION_BYTES]>>,
}

static TABLE: SpinLock<Vec<Arc<Process>>> = SpinLock::new(Vec::new());
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Process {
    /// The memory, to look at or change.
    pub(crate) fn memory(&self) -> Option<Arc<Mutex<Memory>>> {
        self.memory.lock().clone()
    }

    pub(crate) fn set_memory(
        &self,
        memory: Option<Arc<Mutex<Memory>>>,
    ) -> Option<Arc<Mutex<Memory>>> {
        core::mem::replace(&mut *self.memory.lock(), memory)
    }

    /// The page tables its threads run under; 0 once it has ended.
    pub fn tables_root(&self) -> u64 {
        self.memory().map_or(0, |memory| memory.lock().tables_root())
    }

    /// Its name: the program's.
    pub fn name(&self) -> String {
        self.name.lock().clone()
    }

    pub(crate) fn set_name(&self, name: &str) {
        *self.name.lock() = String::from(name);
    }

    /// Threads that have not ended.
    pub(crate) fn live_threads(&self) -> Vec<Arc<Thread>> {
        self.threads.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

/// The process of the thread that runs. A reference, not a count: what a system call keeps only in its frame would be lost
/// if its stack overflowed.
pub(crate) fn current() -> &'static Arc<Process> {
    let thread = crate::sched::current();
    thread.process.as_ref().expect("system calls and faults come from processes")
}

/// Loads a file as execve would, and lets go of it.
pub fn load_for_test(file: &[u8], argv: &[Vec<u8>]) -> Result<(), error::Errno> {
    load::load(file, b"/test", argv, &[]).map(drop)
}

/// All processes that somebody may still ask for.
pub(crate) fn all() -> Vec<Arc<Process>> {
    TABLE.lock().clone()
}

pub(crate) fn find(id: u64) -> Option<Arc<Process>> {
    TABLE.lock().iter().find(|process| process.id == id).cloned()
}

/// Sixteen bytes nobody can foresee well: time stamps, mixed.
pub(crate) fn random_bytes() -> [u8; 16] {
    // A plain count, multiplied afterwards: QEMU 7.2 mixes what was added last into the flags after a 32-bit machine's exchange of 8
    // bytes, and takes an interrupt right behind it for one in virtual 8086 mode, if bit 17 of that is set.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    static COUNT: AtomicU64 = AtomicU64::new(0x2545_f491_4f6c_dd1d);
    let mut bytes = [0; 16];
    for half in bytes.chunks_exact_mut(8) {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut x = count.wrapping_mul(STEP) ^ crate::arch::cpu::cycles();
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        half.copy_from_slice(&(x ^ x >> 31).to_le_bytes());
    }
    bytes
}
