//! What the block of each CPU has of this architecture.

use core::sync::atomic::{AtomicBool, AtomicPtr};
use kstack::arch::current::tables::CpuTables;

/// What the kernel keeps per CPU for this architecture.
#[derive(Debug)]
pub struct ArchCpu {
    /// The loaded descriptor tables.
    pub tables: AtomicPtr<CpuTables>,
    /// Whether the maps of ports behind them are there.
    pub has_io_maps: AtomicBool,
    /// The program's own segments that are loaded; null: none.
    pub local_segments: AtomicPtr<()>,
}

impl ArchCpu {
    /// Not set up yet.
    pub const fn new() -> Self {
        Self {
            tables: AtomicPtr::new(core::ptr::null_mut()),
            has_io_maps: AtomicBool::new(false),
            local_segments: AtomicPtr::new(core::ptr::null_mut()),
        }
    }
}
