//! The reference kernel: it uses `kstack` as any kernel would, boots on emulated machines, runs unmodified Linux programs,
//! and proves there what the library promises.
//!
//! | room | what is in it |
//! | --- | --- |
//! | `arch` | the machine: boot, page tables, interrupt controllers, other CPUs |
//! | `start` | the order in which everything comes up |
//! | `memory`, `stacks`, `cpu_stacks` | frames, heap; the library's stacks and the pages behind them |
//! | `sched`, `sync`, `time` | threads, locks, sleep |
//! | `interrupts`, `softirq`, `hooks` | the kernel's side of every entry |
//! | `overflow`, `backtrace`, `provoke` | what happens at an overflow; walking stacks; overflowing on purpose |
//! | `process` | programs: memory, files, system calls |
//! | `console`, `mode` | what the kernel does once it is up |
//! | `tests`, `bench` | what it proves, and what it costs |
#![no_std]
#![no_main]

extern crate alloc;

#[macro_use]
mod log;
mod arch;
mod backtrace;
mod bench;
mod boot_info;
mod console;
mod cpu_stacks;
mod cpus;
mod halt;
mod hooks;
mod initramfs;
mod interrupts;
mod memory;
mod mode;
mod options;
mod overflow;
mod process;
mod provoke;
mod sched;
mod softirq;
mod stacks;
mod start;
mod symbols;
mod sync;
mod tests;
mod time;

/// Where the boot code enters Rust, with the physical address of what the boot loader left.
extern "C" fn kernel_main(start_info: u64) -> ! {
    start::first(start_info)
}
