//! Time: what a tick does, and sleeping until later.

use crate::clock;
use crate::sched::{self, Interrupted, deadlines};

pub use crate::clock::{TICK, nanoseconds, ticks};

/// A tick of the first CPU. Says whether a deadline has passed: then the timer softirq calls [`wake_sleepers`].
pub fn tick() -> bool {
    clock::advance();
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
