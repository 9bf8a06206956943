//! QEMU's `virt` machine for arm64, and what is like it: boot, processors, interrupt controllers,
//! timers, page tables.

mod board;
pub mod boot;
mod bytes;
pub mod caches;
pub mod cpu;
pub mod cpu_block;
pub mod cpu_tables;
pub mod entries;
pub mod exceptions;
pub mod extras;
pub mod fpu;
mod gic;
pub mod irqchip;
pub mod layout;
pub mod mappings;
pub mod paging;
pub mod power;
mod psci;
mod semihosting;
pub mod serial;
pub mod smp;
pub mod step;
pub mod user;

pub use crate::arch::any::bases;
pub use crate::arch::virt::{rtc, virtio};
pub use kstack::arch::current::regs;
