//! Which stack each kind of entry lands on, as the console prints it and the tests check it.

pub use crate::arch::any::entries::EntryRow;
use crate::arch::any::entries::row;

/// One row for each kind.
pub const TABLE: &[EntryRow] = &[
    row("syscall", "thread", "SP_svc, where the way back left it"),
    row("interrupt from user", "thread, and stays", "SP_irq's words; SP_svc"),
    row("interrupt from kernel", "current, then irq", "SP_irq's words; CpuLocal.irq_top"),
    row("softirq after interrupt", "where the interrupt ran", "no change"),
    row("softirq from thread", "irq", "CpuLocal.irq_top"),
    row("exception from user", "thread", "SP_abt's or SP_und's words; SP_svc"),
    row("exception from kernel", "current", "SP_abt's or SP_und's words; no change"),
    row("debug from kernel", "current", "SP_abt's words; no change"),
    row("FIQ from kernel", "current", "SP_fiq's words; no change"),
    row("FIQ from user", "thread", "SP_fiq's words; SP_svc"),
    row("no room on the stack", "overflow", "bit test of SP; CpuLocal.overflow_top"),
    row("overflow twice", "last, then stop", "bit test of SP; CpuLocal.last_top"),
];
