//! The time of day: how far it is ahead of the time since boot.
//!
//! It jumps when it is set. What waits for a time of day looks again then: sleepers by
//! [`CHANGED`], alarms because all of them are called.

use super::engine;
use crate::error::Errno;
use core::sync::atomic::{AtomicU64, Ordering};
use threads::sched::WaitQueue;
use threads::time;

/// The time of day at boot, in nanoseconds since 1970.
static AT_BOOT: AtomicU64 = AtomicU64::new(0);
/// How often it was set.
static SET: AtomicU64 = AtomicU64::new(0);

/// Those that wait for a time of day.
pub(crate) static CHANGED: WaitQueue = WaitQueue::new();

/// Nanoseconds since 1970.
pub(crate) fn nanoseconds() -> u64 {
    at_boot().saturating_add(time::nanoseconds())
}

/// The time of day at boot.
pub(crate) fn at_boot() -> u64 {
    AT_BOOT.load(Ordering::Relaxed)
}

/// How often it was set: a number that is another one when the time has jumped.
pub(crate) fn times_set() -> u64 {
    SET.load(Ordering::SeqCst)
}

/// The time since boot at which it will be a time of day, if the clock is not set meanwhile.
pub(crate) fn since_boot(of_day: u64) -> u64 {
    of_day.saturating_sub(at_boot())
}

/// Sets it. `EINVAL`: before boot it cannot have been 1970 (settimeofday(2)).
pub(crate) fn set(now: u64) -> Result<(), Errno> {
    let at_boot = now.checked_sub(time::nanoseconds()).ok_or(Errno::EINVAL)?;
    AT_BOOT.store(at_boot, Ordering::Relaxed);
    has_jumped();
    Ok(())
}

/// What waits for a time of day looks again.
pub(super) fn has_jumped() {
    SET.fetch_add(1, Ordering::SeqCst);
    CHANGED.wake_all();
    engine::call_all();
}

/// Takes it from the machine's clock, where it has one that the kernel knows: else it is 1970.
pub(super) fn set_from_hardware() {
    let seconds = machine::arch::rtc::seconds().unwrap_or(0);
    let at_boot = (seconds * super::SECOND).saturating_sub(time::nanoseconds());
    AT_BOOT.store(at_boot, Ordering::Relaxed);
}
