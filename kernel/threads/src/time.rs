//! Time, by ticks: since boot, and sleeping until later.

use crate::sched::{self, Interrupted, deadlines};
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

/// A tick of the first CPU. Says whether a deadline has passed: then the timer softirq calls [`wake_sleepers`].
pub fn tick() -> bool {
    TICKS.fetch_add(1, Ordering::Relaxed);
    deadlines::is_due(nanoseconds())
}

/// Wakes the threads whose deadline has passed.
pub fn wake_sleepers() {
    deadlines::wake_due(nanoseconds());
}

/// Sleeps for at least this long, or until the thread has a signal or is to die.
pub fn sleep(nanoseconds: u64) -> Result<(), Interrupted> {
    sched::sleep_until(later(nanoseconds))
}

/// The time that is at least so many nanoseconds from now: the clock may stand right before its next tick.
pub fn later(by: u64) -> u64 {
    nanoseconds().saturating_add(by).saturating_add(TICK)
}
