//! Kernel stacks: what a kernel depends on.
#![no_std]
#![deny(unreachable_pub)]
#![deny(missing_docs)]

pub mod arch;
pub mod hooks;
pub mod irq;
pub mod meter;
pub mod registry;
pub mod unwind;
