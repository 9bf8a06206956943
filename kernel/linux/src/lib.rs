//! Processes: programs with memory, files and a life, on top of threads.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `memory`, `remap`, `areas`, `sorted`, `load`, `exec_image`, `fault` | address space; from a file to a program that can start, and what its stack starts with; faults of programs |
//! | `tree`, `names`, `file_bytes`, `files`, `proc_fs` | the file tree, its directories, what is in a file, open files and pipes, /proc |
//! | `syscall`, `calls_*`, `abi` | the Linux system-call interface |
//! | `life` | fork, clone, execve, exit, wait |
//! | `crew`, `table`, `signals` | a process's threads; all processes and whose children they are; signals |
//!
//! What a program can make the kernel allocate comes from `memory::fallible`: a heap that is used up is that program's error.
//!
//! # What a process holds, and how it comes back
//!
//! Everything is reachable from [`Process`] or pinned in its thread, not only from a stack frame: a thread whose kernel stack
//! overflows in a system call is ended without returning, and its frames' destructors never run.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[macro_use]
extern crate machine;

pub mod abi;
mod areas;
mod calls_files;
mod calls_memory;
mod calls_misc;
mod crew;
pub mod error;
pub mod exec_image;
pub mod fault;
mod file_bytes;
pub mod files;
pub mod fs;
mod life;
mod load;
pub mod memory;
mod names;
mod proc_fs;
mod remap;
mod signals;
pub mod sorted;
pub mod syscall;
mod table;
pub mod tree;

pub use life::{die_if_killed, run, run_captured};

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crew::Crew;
use files::Files;
use machine::mix::mix;
use machine::spin::SpinLock;
use memory::Memory;
use signals::Actions;
use threads::sched::{Mutex, Name, Owned, Owner, OwnerKind, WaitQueue};

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
    is_first: bool,
    /// Its memory; a child of vfork shares its parent's until execve.
    memory: SpinLock<Option<Arc<Mutex<Memory>>>>,
    pub files: SpinLock<Files>,
    pub directory: SpinLock<Arc<String>>,
    name: SpinLock<Name>,
    /// The path of its program.
    pub executable: SpinLock<Arc<String>>,
    pub command_line: SpinLock<Arc<Vec<u8>>>,
    /// Its threads that have not ended, and whether there may be more.
    pub crew: Crew,
    /// Its wait status (Linux), once it has ended. Changes under the table's lock.
    ended: SpinLock<Option<i32>>,
    /// Something a waiting parent or child looks for has changed.
    pub changed: WaitQueue,
    /// Whether a parent sleeps until this child of vfork is done with its memory.
    pub borrows_memory: AtomicBool,
    /// What the program said of signals.
    pub actions: SpinLock<Actions>,
}

impl Process {
    /// The memory, to look at or change.
    pub fn memory(&self) -> Option<Arc<Mutex<Memory>>> {
        self.memory.lock().clone()
    }

    pub fn set_memory(&self, memory: Option<Arc<Mutex<Memory>>>) -> Option<Arc<Mutex<Memory>>> {
        core::mem::replace(&mut *self.memory.lock(), memory)
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

    fn set_status(&self, status: i32) {
        *self.ended.lock() = Some(status);
    }
}

impl Owner for Process {
    fn tables_root(&self) -> u64 {
        self.memory().map_or(0, |memory| memory.lock().tables_root())
    }

    fn end_after_overflow(&self) -> ! {
        life::kill_current(signals::SIGSEGV as i32)
    }
}

/// What the threads know a process by.
static KIND: OwnerKind<Process> = OwnerKind::new();

/// A process as what a thread belongs to.
fn owned(process: Arc<Process>) -> Owned {
    Owned::new(process, &KIND)
}

/// The process of the thread that runs. A reference, not a count: what a system call keeps only in its frame would be lost
/// if its stack overflowed.
#[inline]
pub fn current() -> &'static Process {
    threads::sched::current()
        .owner_of_kind(&KIND)
        .expect("system calls and faults come from processes")
}

/// The same, to keep where others find it.
fn current_arc() -> Arc<Process> {
    let process = threads::sched::current().shared_owner(&KIND);
    process.expect("system calls and faults come from processes")
}

/// Loads a file as execve would, and lets go of it.
pub fn load_for_test(file: &[u8], argv: &[Vec<u8>]) -> Result<(), error::Errno> {
    load::load(file, b"/test", argv, &[]).map(drop)
}

/// The same; where it would have begun.
pub fn entry_for_test(file: &[u8], argv: &[Vec<u8>]) -> Result<u64, error::Errno> {
    load::load(file, b"/test", argv, &[]).map(|loaded| loaded.entry)
}

/// All processes that have not been waited for. For tests: with no memory for the list, the kernel ends.
pub fn all() -> Vec<Arc<Process>> {
    table::all().expect("memory for a list of processes")
}

/// Sixteen bytes nobody can foresee well: time stamps, mixed.
pub fn random_bytes() -> [u8; 16] {
    // A plain count, multiplied afterwards: QEMU 7.2 mixes what was added last into the flags after a 32-bit machine's exchange of 8
    // bytes, and takes an interrupt right behind it for one in virtual 8086 mode, if bit 17 of that is set.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    static COUNT: AtomicU64 = AtomicU64::new(0x2545_f491_4f6c_dd1d);
    let mut bytes = [0; 16];
    for half in bytes.chunks_exact_mut(8) {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let x = mix(count.wrapping_mul(STEP) ^ machine::arch::cpu::cycles());
        half.copy_from_slice(&x.to_le_bytes());
    }
    bytes
}
