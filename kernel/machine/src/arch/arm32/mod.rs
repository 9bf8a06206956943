//! QEMU's `virt` board with 32-bit ARM processors: boot, processors, interrupt controller, timers,
//! page tables.

mod board;
pub mod boot;
pub mod caches;
pub mod cpu;
pub mod cpu_block;
pub mod cpu_tables;
pub mod entries;
pub mod exceptions;
mod flush;
pub mod fpu;
pub mod irqchip;
pub mod layout;
pub mod mappings;
pub mod paging;
pub mod power;
mod psci;
pub mod semihosting;
pub mod serial;
pub mod smp;
pub mod step;
pub mod user;

pub use crate::arch::any::{bases, extras};
pub use crate::arch::virt::{rtc, virtio};
pub use kstack::arch::current::regs;
