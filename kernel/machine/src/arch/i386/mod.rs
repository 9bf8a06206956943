//! A PC with a 32-bit CPU: boot, page tables, descriptor tables.

pub mod boot;
pub mod cpu;
pub mod cpu_block;
pub mod cpu_tables;
pub mod entries;
pub mod layout;
pub mod mappings;
pub mod paging;
pub mod step;
mod sysenter_page;
pub mod user;
pub mod walk;
pub(in crate::arch) mod width;

pub use crate::arch::any::bases;
pub use crate::arch::pc::{
    caches, exceptions, extras, fpu, irqchip, power, rtc, serial, smp, virtio,
};
pub use kstack::arch::current::regs;
