//! What both kinds of PC have: ports, serial lines, interrupt controllers, firmware tables, how
//! other CPUs start.
//!
//! The trees of x86_64 and i386 use it; nothing in it depends on the size of an address.

pub mod access;
pub mod acpi;
pub mod boot_stacks;
pub mod breakpoints;
mod bytes;
pub mod caches;
pub mod control;
pub mod cpu;
pub mod exceptions;
pub mod extras;
pub mod fpu;
pub mod irqchip;
pub mod length;
pub mod page_entry;
pub mod ports;
pub mod power;
pub mod pvh;
mod requirements;
pub mod rtc;
pub mod segments;
pub mod serial;
pub mod shadow;
mod slit;
pub mod smp;
mod srat;
pub mod start_page;
pub mod user_tables;
pub mod virtio;
pub mod xstate;
