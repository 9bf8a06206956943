//! The middle floor of the reference kernel: threads on the library's stacks, and what is told
//! about them.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `stacks`, `cpu_stacks` | the library's pool over this machine's pages; the stacks that belong to a CPU |
//! | `sched` | threads, the run queue, the switch, waiting, sleeping locks |
//! | `entry` | the kernel's side of interrupts and softirqs |
//! | `clock`, `time`, `terminal` | ticks and sleep; what is typed and printed |
//! | `report` | overflows, backtraces, symbols, the list of stacks |
//!
//! It knows no program: a thread may belong to an [`sched::Owner`], and that is all it knows of it.
#![no_std]

extern crate alloc;
#[macro_use]
extern crate machine;

pub mod clock;
pub mod cpu_stacks;
pub mod entry;
pub mod report;
pub mod sched;
pub mod stacks;
pub mod terminal;
pub mod time;
