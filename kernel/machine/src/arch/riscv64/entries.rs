//! Which stack each kind of entry lands on, as the console prints it and the tests check it.

pub use crate::arch::any::entries::EntryRow;
use crate::arch::any::entries::row;

/// One row for each kind.
pub const TABLE: &[EntryRow] = &[
    row("syscall", "thread", "CpuLocal.thread_top, loaded by the entry code"),
    row("interrupt from user", "thread, and stays", "CpuLocal.thread_top"),
    row("interrupt from kernel", "current, then irq", "no change by the CPU; CpuLocal.irq_top"),
    row("softirq after interrupt", "where the interrupt ran", "no change"),
    row("softirq from thread", "irq", "CpuLocal.irq_top"),
    row("exception from user", "thread", "CpuLocal.thread_top"),
    row("exception from kernel", "current", "no change"),
    row("no room for the registers", "overflow", "test of SP; ArchLocal.overflow_top"),
    row("fault on the overflow stack", "overflow, further down", "no change"),
];
