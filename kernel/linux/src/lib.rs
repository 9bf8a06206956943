//! Processes: programs with memory, files and a life, on top of threads.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `memory`, `remap`, `areas`, `sorted`, `load`, `exec_image`, `fault` | address space; from a file to a program that can start, and what its stack starts with; faults of programs |
//! | `tree`, `names`, `file_bytes`, `files`, `proc_fs` | the file tree, its directories, what is in a file, open files and pipes, /proc |
//! | `syscall`, `calls_*`, `futex`, `user_memory`, `abi` | the Linux system-call interface; what it reads of a program |
//! | `process`, `life` | a process; fork, clone, execve, exit, wait |
//! | `crew`, `table` | a process's threads; all processes and whose children they are |
//! | `signals`, `actions` | signals; their numbers, and what a program said of them |
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
mod actions;
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
mod futex;
mod life;
mod load;
pub mod memory;
mod names;
mod proc_fs;
pub mod process;
mod random;
mod remap;
mod signals;
pub mod sorted;
pub mod syscall;
mod table;
pub mod tree;
mod user_memory;

pub use life::{die_if_killed, run, run_captured};
pub use process::Process;

use alloc::sync::Arc;
use alloc::vec::Vec;

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
