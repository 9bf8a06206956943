//! What programs that keep the clock right have told the kernel of it (adjtimex(2)): atomic time,
//! how wrong the clock may be, whether it is kept right at all. The clock itself is set or not: it
//! runs at the counter's rate, and is not made to run faster or slower.

use super::{SECOND, wall};
use machine::spin::SpinLock;
use threads::time;

/// The largest error there is, in microseconds: from there on the clock is kept right by nothing
/// (`NTP_PHASE_LIMIT`).
pub(crate) const MAX_ERROR: u64 = 16_000_000;
/// How much more the error may be after each second: half a microsecond a millisecond.
const MICROSECONDS_A_SECOND: u64 = 500;

/// `STA_UNSYNC`, `STA_NANO`, and what no program can set.
pub(crate) const UNSYNCHRONISED: u32 = 0x40;
pub(crate) const IN_NANOSECONDS: u32 = 0x2000;
pub(crate) const READ_ONLY: u32 = 0xff00;

/// What was told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) status: u32,
    pub(crate) max_error: u64,
    pub(crate) error: u64,
    pub(crate) constant: u64,
    /// Seconds that atomic time is ahead of the time of day.
    pub(crate) atomic: u64,
    /// When the error was told, since boot.
    pub(crate) at: u64,
}

static TOLD: SpinLock<Told> = SpinLock::new(Told {
    status: UNSYNCHRONISED,
    max_error: MAX_ERROR,
    error: MAX_ERROR,
    constant: 2,
    atomic: 0,
    at: 0,
});

/// What counts now: an error grows until it is told anew.
pub(crate) fn now() -> Told {
    let mut told = *TOLD.lock();
    let seconds = time::nanoseconds().saturating_sub(told.at) / SECOND;
    told.max_error = told.max_error.saturating_add(seconds * MICROSECONDS_A_SECOND);
    if told.max_error >= MAX_ERROR {
        told.max_error = MAX_ERROR;
        told.status |= UNSYNCHRONISED;
    }
    told
}

/// Takes what is told from now on.
pub(crate) fn tell(change: impl FnOnce(&mut Told)) {
    let mut told = now();
    let before = told.atomic;
    told.at = time::nanoseconds();
    change(&mut told);
    *TOLD.lock() = told;
    if told.atomic != before {
        wall::has_jumped();
    }
}

/// Nanoseconds that atomic time is ahead of the time of day.
pub(crate) fn atomic_is_ahead() -> u64 {
    TOLD.lock().atomic * SECOND
}
