//! The reference kernel: it uses `kstack` as any kernel would, boots on emulated machines, runs unmodified Linux programs,
//! and proves there what the library promises.
//!
//! | room | what is in it |
//! | --- | --- |
//! | `arch` | the machine: boot, page tables, interrupt controllers, other CPUs |
//! | `start` | the order in which everything comes up |
//! | `memory`, `stacks`, `cpu_stacks` | frames, heap; the library's stacks and the pages behind them |
//! | `sched`, `spin`, `time` | threads, locks, sleep |
//! | `entry`, `hooks` | the kernel's side of every entry |
//! | `report`, `provoke` | what happens at an overflow; walking stacks; overflowing on purpose |
//! | `process` | programs: memory, files, system calls |
//! | `terminal`, `console`, `mode` | what the kernel does once it is up |
//! | `tests`, `bench` | what it proves, and what it costs |
#![no_std]
#![no_main]

extern crate alloc;
#[macro_use]
extern crate machine;

mod bench;
mod console;
mod cpu_stacks;
mod entry;
mod hooks;
mod mode;
mod process;
mod provoke;
mod report;
mod sched;
mod stacks;
mod start;
mod terminal;
mod tests;
mod time;
