//! What the block of each CPU has of this architecture.

use core::cell::UnsafeCell;
use kstack::arch::current::tables::CpuTables;

/// What the kernel keeps per CPU for this architecture.
#[derive(Debug)]
pub struct ArchCpu {
    pub(super) tables: Tables,
}

/// Written by the library before the CPU comes up, and read by that CPU.
#[derive(Debug)]
pub(super) struct Tables(pub(super) UnsafeCell<CpuTables>);

// SAFETY: (1) see above: there is one that touches it at a time.
unsafe impl Sync for Tables {}

impl ArchCpu {
    /// Not set up yet.
    pub const fn new() -> Self {
        Self { tables: Tables(UnsafeCell::new(CpuTables::new())) }
    }
}
