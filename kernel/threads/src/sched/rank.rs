//! What a thread knows of its rank: see [`super::urgency`]; and whether ranks and weights
//! ([`super::share`]) matter.

use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

static IS_IN_USE: AtomicBool = AtomicBool::new(false);

/// From now on, threads are looked at one by one.
pub(super) fn use_ranks() {
    IS_IN_USE.store(true, Ordering::SeqCst);
}

/// How a thread is ranked.
#[derive(Debug)]
pub(super) struct Urgency {
    rank: AtomicU8,
    has_slices: AtomicBool,
}

impl Urgency {
    pub(super) const fn new() -> Self {
        Self { rank: AtomicU8::new(0), has_slices: AtomicBool::new(true) }
    }

    pub(super) fn rank(&self) -> u8 {
        self.rank.load(Ordering::Relaxed)
    }

    pub(super) fn has_slices(&self) -> bool {
        self.has_slices.load(Ordering::Relaxed)
    }

    /// Under the lock of the run queue, or before the thread is in it for the first time.
    pub(super) fn set(&self, rank: u8, has_slices: bool) {
        self.rank.store(rank, Ordering::Relaxed);
        self.has_slices.store(has_slices || rank == 0, Ordering::Relaxed);
        if rank > 0 {
            use_ranks();
        }
    }
}

/// Whether there has ever been a thread of real time, or one of another weight.
#[inline(always)]
pub(super) fn is_in_use() -> bool {
    IS_IN_USE.load(Ordering::Relaxed)
}
