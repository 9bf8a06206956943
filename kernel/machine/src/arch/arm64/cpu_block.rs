//! What the block of each CPU has of this architecture.

use kstack::arch::current::tables::CpuTables;

/// What the kernel keeps per CPU for this architecture.
#[derive(Debug)]
pub struct ArchCpu {
    pub(super) tables: CpuTables,
}

impl ArchCpu {
    /// Not set up yet.
    pub const fn new() -> Self {
        Self { tables: CpuTables::new() }
    }
}
