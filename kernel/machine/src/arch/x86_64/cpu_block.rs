//! What the block of each CPU has of this architecture.

use core::sync::atomic::AtomicPtr;
use kstack::arch::current::tables::CpuTables;

/// What the kernel keeps per CPU for this architecture.
#[derive(Debug)]
pub struct ArchCpu {
    /// The loaded descriptor tables.
    pub tables: AtomicPtr<CpuTables>,
}

impl ArchCpu {
    /// Not set up yet.
    pub const fn new() -> Self {
        Self { tables: AtomicPtr::new(core::ptr::null_mut()) }
    }
}
