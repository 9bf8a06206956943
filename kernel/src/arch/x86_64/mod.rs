//! A PC: boot, processors, interrupt controllers, timers, page tables.

pub mod apic;
pub mod boot;
pub mod cpu;
pub mod fpu;
pub mod paging;
pub mod power;
pub mod serial;
pub mod smp;
pub mod step;
pub mod user;

pub use kstack::arch::current::regs;
