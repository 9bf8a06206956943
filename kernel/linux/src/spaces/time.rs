//! Time namespaces (time_namespaces(7)): by how much clocks since boot are ahead of the machine's.
//!
//! # Invariant
//!
//! Offsets change only until the first process is in the namespace ([`TimeSpace::freeze`]): no
//! clock that a program has read jumps.

use super::user::Users;
use super::{first, next_number};
use crate::error::Errno;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;

const SECOND: i64 = 1_000_000_000;

/// Clocks that a namespace has of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ahead {
    /// `CLOCK_MONOTONIC`, with its coarse and its raw one.
    Monotonic,
    /// `CLOCK_BOOTTIME`.
    SinceBoot,
}

/// By how much one is ahead: the nanoseconds count forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Offset {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

impl Offset {
    fn whole(self) -> Option<i64> {
        self.seconds.checked_mul(SECOND)?.checked_add(self.nanoseconds.into())
    }
}

#[derive(Debug)]
struct State {
    offsets: [Offset; 2],
    is_frozen: bool,
}

/// A time namespace that is not the first one.
#[derive(Debug)]
pub(crate) struct TimeSpace {
    number: u64,
    /// The user namespace that it belongs to.
    pub(crate) owner: Users,
    state: SpinLock<State>,
}

/// A namespace; `None`: the first one, where no clock is ahead.
pub(crate) type Times = Option<Arc<TimeSpace>>;

/// Whether there has ever been one.
static EXIST: AtomicBool = AtomicBool::new(false);

/// See [`EXIST`].
pub(crate) fn exist() -> bool {
    EXIST.load(Ordering::Relaxed)
}

impl TimeSpace {
    /// One whose clocks begin as another's.
    pub(crate) fn like(of: &Times, owner: Users) -> Result<Arc<Self>, Errno> {
        let offsets = [Ahead::Monotonic, Ahead::SinceBoot].map(|clock| offset(of, clock));
        EXIST.store(true, Ordering::SeqCst);
        let state = SpinLock::new(State { offsets, is_frozen: false });
        Ok(fallible::shared(Self { number: next_number(), owner, state })?)
    }

    /// Sets offsets, all or none; `now`: what the machine's clocks say. `EACCES`: a process is in
    /// it. `ERANGE`: a clock would be before its beginning, or near its end.
    pub(crate) fn set(&self, to: &[(Ahead, Offset)], now: u64) -> Result<(), Errno> {
        /// Half of `KTIME_SEC_MAX`.
        const MOST: i64 = i64::MAX / SECOND / 2 * SECOND;
        for (_, offset) in to {
            let then = offset.whole().and_then(|whole| whole.checked_add_unsigned(now));
            if !then.is_some_and(|then| (0..=MOST).contains(&then)) {
                return Err(Errno::ERANGE);
            }
        }
        let mut state = self.state.lock();
        if state.is_frozen {
            return Err(Errno::EACCES);
        }
        for &(clock, offset) in to {
            state.offsets[clock as usize] = offset;
        }
        Ok(())
    }

    /// A process is in it from now on.
    pub(crate) fn freeze(&self) {
        self.state.lock().is_frozen = true;
    }
}

/// By how much a clock is ahead in a namespace.
pub(crate) fn offset(of: &Times, clock: Ahead) -> Offset {
    of.as_ref().map_or(Offset::default(), |of| of.state.lock().offsets[clock as usize])
}

/// What a clock says in a namespace when the machine's says this.
pub(crate) fn inside(of: &Times, clock: Ahead, time: u64) -> u64 {
    time.saturating_add_signed(offset(of, clock).whole().unwrap_or(0))
}

/// What the machine's clock says when that of a namespace says this: nothing before its beginning
/// (`timens_ktime_to_host`).
pub(crate) fn outside(of: &Times, clock: Ahead, time: u64) -> u64 {
    let ahead = offset(of, clock).whole().unwrap_or(0);
    time.saturating_add_signed(ahead.checked_neg().unwrap_or(i64::MAX))
}

/// The number that a namespace is known by.
pub(crate) fn number(of: &Times) -> u64 {
    of.as_ref().map_or(first::TIME, |own| own.number)
}
