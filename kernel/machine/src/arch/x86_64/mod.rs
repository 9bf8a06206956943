//! A PC: boot, processors, interrupt controllers, timers, page tables.

pub mod bases;
pub mod boot;
pub mod cpu;
pub mod cpu_block;
pub mod cpu_tables;
pub mod entries;
pub mod layout;
pub mod mappings;
pub mod paging;
pub mod step;
pub mod user;
pub mod walk;
pub(in crate::arch) mod width;

pub use crate::arch::pc::{
    caches, exceptions, extras, fpu, irqchip, power, rtc, serial, smp, virtio,
};
pub use kstack::arch::current::regs;
