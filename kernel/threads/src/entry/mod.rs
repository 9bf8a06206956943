//! The kernel's side of entries: interrupts and softirqs, and what tests make them run.

pub mod device;
pub mod interrupts;
pub mod ksoftirqd;
pub mod on_return;
pub mod probes;
pub mod softirq;
pub mod softirq_table;
pub mod tasklet;
