//! What the block of each CPU has of this architecture.

use core::sync::atomic::{AtomicU32, AtomicU64};

/// What the kernel keeps per CPU for this architecture.
#[derive(Debug)]
pub struct ArchCpu {
    /// Interrupts from other CPUs that have been sent and not been taken, a bit each; see
    /// `irqchip`.
    pub sent: AtomicU32,
    /// The line of the interrupt controller that is being handled; 0: none.
    pub claimed: AtomicU32,
    /// When the next tick is due.
    pub next_tick: AtomicU64,
}

impl ArchCpu {
    /// Not set up yet.
    pub const fn new() -> Self {
        Self { sent: AtomicU32::new(0), claimed: AtomicU32::new(0), next_tick: AtomicU64::new(0) }
    }
}
