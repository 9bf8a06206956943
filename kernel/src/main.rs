//! The reference kernel: it uses `kstack` as any kernel would, boots on emulated machines, runs
//! unmodified Linux programs, and proves there what the library promises.
//!
//! It is the top of four floors, a crate each; each knows those below it, and no other.
//!
//! | floor | what is in it |
//! | --- | --- |
//! | `kernel` | the order in which everything comes up, the console, what it proves and what it costs |
//! | `linux` | programs: memory, files, system calls |
//! | `threads` | stacks, the scheduler, softirqs, reports |
//! | `machine` | boards, page tables, frames, heap, locks |
//!
//! | room here | what is in it |
//! | --- | --- |
//! | `start` | the order in which everything comes up |
//! | `hooks` | the kernel's answers to the library |
//! | `console`, `mode` | what the kernel does once it is up |
//! | `provoke`, `across_pages` | overflows on purpose; a buffer on a stack that a device is given |
//! | `tests`, `bench` | what it proves, and what it costs |
#![no_std]
#![no_main]

extern crate alloc;
#[macro_use]
extern crate machine;

mod across_pages;
mod bench;
mod console;
mod hooks;
mod mode;
mod provoke;
mod start;
mod tests;
