//! Which stack each kind of entry lands on, as the console prints it and the tests check it.

pub use crate::arch::any::entries::EntryRow;
use crate::arch::any::entries::row;

/// One row for each kind.
pub const TABLE: &[EntryRow] = &[
    row("syscall", "thread", "int 0x80: TSS esp0"),
    row("sysenter", "entry stack, then thread", "SYSENTER_ESP; TSS esp1"),
    row("interrupt from user", "thread, and stays", "TSS esp0"),
    row("interrupt from kernel", "current, then irq", "no change by the CPU; CpuLocal.irq_top"),
    row("softirq after interrupt", "softirq", "CpuLocal.arch.softirq_top"),
    row("softirq from thread", "softirq", "CpuLocal.arch.softirq_top"),
    row("exception from user", "thread", "TSS esp0"),
    row("exception from kernel", "current", "no change"),
    row("double fault", "double-fault", "task gate: a TSS of its own"),
    row("NMI from kernel", "current, then nmi-body", "no change; CpuLocal.arch.nmi_body_top"),
    row("NMI from user", "thread", "TSS esp0"),
    row("debug from kernel", "current, then debug", "no change; CpuLocal.arch.debug_top"),
    row("machine check", "current, then machine-check", "CpuLocal.arch.machine_check_top"),
];
