//! Time: what the timer's interrupts do, and sleeping until later.

use crate::clock;
use crate::sched::{self, Interrupted, deadlines};

pub use crate::clock::{TICK, has_counter, later, nanoseconds, ticks};

/// This CPU's timer has interrupted: for a tick, or for a deadline before the next.
pub(crate) fn is_tick() -> bool {
    clock::is_tick(deadlines::next())
}

/// Whether a deadline has passed: then the timer softirq calls [`wake_sleepers`].
pub(crate) fn is_due() -> bool {
    nanoseconds() >= deadlines::next()
}

/// Wakes the threads whose deadline has passed.
pub fn wake_sleepers() {
    deadlines::wake_due(nanoseconds());
}

/// Sleeps for at least this long, or until the thread has a signal or is to die.
pub fn sleep(nanoseconds: u64) -> Result<(), Interrupted> {
    sched::sleep_until(later(nanoseconds))
}
