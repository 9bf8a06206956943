//! How many threads a group and those below it have (Documentation/admin-guide/cgroup-v2, "PID").

use super::tree::{Group, Where};
use crate::error::Errno;
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
    refusals: AtomicU64,
    own_refusals: AtomicU64,
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

    fn set(&self, now: u64) {
        self.now.store(now, Ordering::Relaxed);
        self.peak.fetch_max(now, Ordering::Relaxed);
    }
}

/// A group and all above it but the root, from below.
pub(super) fn upwards(of: &Where) -> impl Iterator<Item = &Group> {
    core::iter::successors(of.as_deref(), |group| group.above.as_deref())
}

/// One more, if no group is at its limit. Under the tree's lock, as are the others.
///
/// # Errors
///
/// `EAGAIN`; it is counted for the group that refuses.
pub(super) fn try_charge(group: &Where) -> Result<(), Errno> {
    let is_full = |one: &&Group| {
        let (now, _) = one.tasks.counts();
        now >= one.tasks.most.load(Ordering::Relaxed)
    };
    if let Some(full) = upwards(group).find(is_full) {
        full.tasks.own_refusals.fetch_add(1, Ordering::Relaxed);
        let all = core::iter::successors(Some(full), |group| group.above.as_deref());
        all.for_each(|one| {
            one.tasks.refusals.fetch_add(1, Ordering::Relaxed);
        });
        return Err(Errno::EAGAIN);
    }
    charge(group, 1);
    Ok(())
}

/// More, whatever the limit: those of a process that is moved (`pids_can_attach`).
pub(super) fn charge(group: &Where, number: u64) {
    upwards(group).for_each(|one| one.tasks.set(one.tasks.counts().0 + number));
}

pub(super) fn uncharge(group: &Where, number: u64) {
    upwards(group).for_each(|one| {
        let (now, _) = one.tasks.counts();
        debug_assert!(now >= number, "{now} threads, {number} fewer");
        one.tasks.set(now.saturating_sub(number));
    });
}
