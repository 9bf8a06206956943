//! QEMU's riscv64 machine `virt`, with SBI firmware (OpenSBI) below: boot, harts, interrupt
//! controllers, timers, page tables.

pub mod board;
pub mod boot;
pub mod caches;
pub mod cpu;
pub mod cpu_block;
pub mod cpu_tables;
pub mod entries;
pub mod exceptions;
pub mod fpu;
pub mod irqchip;
pub mod layout;
pub mod mappings;
pub mod paging;
pub mod power;
pub mod sbi;
pub mod serial;
pub mod smp;
pub mod step;
pub mod user;

pub use crate::arch::any::{bases, extras};
pub use crate::arch::virt::{rtc, virtio};
pub use kstack::arch::current::regs;
