//! Processes: programs with memory, files and a life, on top of threads.
//!
//! From the ground up; a room imports only those above it in this table (`xtask::rules::floors`
//! holds that):
//!
//! | room | what is in it |
//! | --- | --- |
//! | `error`, `sorted`, `limits` | error numbers; a sorted list that can fail whole; what a process may use |
//! | `abi` | numbers, registers and layouts of each architecture; signal numbers; the first stack of a program |
//! | `time` | the wall clock, alarms |
//! | `spaces` | what namespaces hold: numbers, users, clocks |
//! | `cgroups` | control groups: groups of processes with limits |
//! | `ipc` | semaphores and messages by number and key |
//! | `files` | the file tree, open files and pipes |
//! | `memory` | address spaces |
//! | `process` | a process, its threads, its birth and death |
//! | `signals` | what signals do; faults of programs |
//! | `exec` | starting programs |
//! | `proc` | /proc and /sys |
//! | `fs` | files, for the rest of the kernel |
//! | `calls` | the bodies of system calls, by subject |
//! | `dispatch` | the way in, and which call is which |
//!
//! What a program can make the kernel allocate comes from `machine::memory::fallible`: a heap that
//! is used up is that program's error.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[macro_use]
extern crate machine;

pub mod abi;
mod calls;
mod cgroups;
pub mod dispatch;
pub mod error;
mod exec;
mod files;
pub mod fs;
mod ipc;
pub mod limits;
mod memory;
mod proc;
pub mod process;
mod signals;
pub mod sorted;
mod spaces;
mod time;

pub use exec::launch::{run, run_captured, run_on_terminal, run_with_stream};
pub use memory::space::freed_count;
pub use process::Process;
pub use process::futex::sleepers_for_test;
pub use signals::deliver::before_user;
pub use signals::faults::{on_return_fault, on_user_exception, on_user_fault};
pub use time::engine::count as alarms_for_test;
pub use time::start;

use alloc::sync::Arc;
use alloc::vec::Vec;

/// Loads a file as execve would, and lets go of it.
pub fn load_for_test(file: &[u8], argv: &[Vec<u8>]) -> Result<(), error::Errno> {
    load_bytes(file, argv).map(drop)
}

/// The same; where it would have begun.
pub fn entry_for_test(file: &[u8], argv: &[Vec<u8>]) -> Result<u64, error::Errno> {
    load_bytes(file, argv).map(|loaded| loaded.entry)
}

fn load_bytes(bytes: &[u8], argv: &[Vec<u8>]) -> Result<exec::load::Loaded, error::Errno> {
    let terms = exec::load::Terms {
        limits: memory::limits::Limits::new(),
        is_fixed: true,
        identity: [0; 5],
    };
    let top = process::place::Place::top()?;
    exec::load::load((bytes, None), &top, b"/test", argv, &[], &terms)
}

/// All processes that have not been waited for. For tests: with no memory for the list, the kernel
/// ends.
pub fn all() -> Vec<Arc<Process>> {
    process::table::all().expect("memory for a list of processes")
}
