//! Which stack each kind of entry lands on, as the console prints it and the tests check it.

pub use crate::arch::any::entries::EntryRow;
use crate::arch::any::entries::row;

/// One row for each kind.
pub const TABLE: &[EntryRow] = &[
    row("syscall", "thread", "CpuLocal.thread_top, loaded by the entry code"),
    row("interrupt from user", "thread, and stays", "TSS rsp0"),
    row("interrupt from kernel", "current, then irq", "no change by the CPU; CpuLocal.irq_top"),
    row("softirq after interrupt", "where the interrupt ran", "no change"),
    row("softirq from thread", "irq", "CpuLocal.irq_top"),
    row("exception from user", "thread", "TSS rsp0"),
    row("exception from kernel", "current", "no change"),
    row("double fault", "double-fault", "TSS ist1"),
    row("NMI from kernel", "nmi, then nmi-body", "TSS ist2; word above its frame"),
    row("NMI from user", "nmi, then thread", "TSS ist2; CpuLocal.thread_top"),
    row("debug from kernel", "debug", "TSS ist3"),
    row("machine check", "machine-check", "TSS ist4"),
];
