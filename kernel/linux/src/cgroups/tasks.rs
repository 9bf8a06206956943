//! How many threads a group and those below it have (Documentation/admin-guide/cgroup-v2, "PID").

use core::sync::atomic::{AtomicU64, Ordering};

/// `max`.
pub(crate) const UNLIMITED: u64 = u64::MAX;

/// Those of one group. Changes under the tree's lock.
#[derive(Debug)]
pub(crate) struct Tasks {
    now: AtomicU64,
    pub(crate) most: AtomicU64,
    /// The most that there were.
    peak: AtomicU64,
    /// Births that were refused because of this group's limit or of one's below, and of its own.
    pub(super) refusals: AtomicU64,
    pub(super) own_refusals: AtomicU64,
}

impl Tasks {
    pub(super) const fn new() -> Self {
        Self {
            now: AtomicU64::new(0),
            most: AtomicU64::new(UNLIMITED),
            peak: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
            own_refusals: AtomicU64::new(0),
        }
    }

    /// How many there are, and how many there were at most.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.now.load(Ordering::Relaxed), self.peak.load(Ordering::Relaxed))
    }

    /// Refusals: with those of groups below, and its own.
    pub(crate) fn refusals(&self) -> (u64, u64) {
        (self.refusals.load(Ordering::Relaxed), self.own_refusals.load(Ordering::Relaxed))
    }

    pub(super) fn set(&self, now: u64) {
        self.now.store(now, Ordering::Relaxed);
        self.peak.fetch_max(now, Ordering::Relaxed);
    }
}
