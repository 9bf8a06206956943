//! The clock: ticks of the first CPU since boot. Below the scheduler, which looks at it when a wait has an end.

use core::sync::atomic::{AtomicU64, Ordering};
use machine::arch::irqchip::HZ;

static TICKS: AtomicU64 = AtomicU64::new(0);

/// Nanoseconds of a tick.
pub const TICK: u64 = 1_000_000_000 / HZ;

/// Ticks of the first CPU since boot.
pub fn ticks() -> u64 {
    TICKS.load(Ordering::Relaxed)
}

/// Nanoseconds since boot, in steps of a tick.
pub fn nanoseconds() -> u64 {
    ticks() * TICK
}

/// A tick of the first CPU.
pub(crate) fn advance() {
    TICKS.fetch_add(1, Ordering::Relaxed);
}
