//! Time, by ticks: since boot, and sleeping until later.

use crate::sched::{Interrupted, WaitQueue};
use core::sync::atomic::{AtomicU64, Ordering};
use machine::arch::irqchip::HZ;

static TICKS: AtomicU64 = AtomicU64::new(0);
static NEXT_WAKE: AtomicU64 = AtomicU64::new(u64::MAX);
static SLEEPERS: WaitQueue = WaitQueue::new();

/// Ticks of the first CPU since boot.
pub fn ticks() -> u64 {
    TICKS.load(Ordering::Relaxed)
}

/// Nanoseconds since boot, in steps of a tick.
pub fn nanoseconds() -> u64 {
    ticks() * (1_000_000_000 / HZ)
}

/// A tick of the first CPU. Says whether sleepers are due: then the timer softirq calls [`wake_sleepers`].
pub fn tick() -> bool {
    let now = TICKS.fetch_add(1, Ordering::Relaxed) + 1;
    now >= NEXT_WAKE.load(Ordering::Relaxed)
}

/// Wakes everybody who sleeps; each looks at the time again and says anew when to be woken.
pub fn wake_sleepers() {
    NEXT_WAKE.store(u64::MAX, Ordering::SeqCst);
    SLEEPERS.wake_all();
}

/// Sleeps for at least this long, or until the thread is to die.
pub fn sleep(nanoseconds: u64) -> Result<(), Interrupted> {
    let due = ticks() + nanoseconds.div_ceil(1_000_000_000 / HZ) + 1;
    SLEEPERS.wait_until(|| {
        if ticks() >= due {
            return true;
        }
        NEXT_WAKE.fetch_min(due, Ordering::SeqCst);
        false
    })
}
