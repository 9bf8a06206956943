//! The kernel's side of entries: interrupts and softirqs, and what tests make them run.

pub mod interrupts;
pub mod probes;
pub mod softirq;
