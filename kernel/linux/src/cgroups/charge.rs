//! Counting threads: in a group and in all above it, or in none. Under the tree's lock.

use super::tree::{Group, Where, upwards};
use crate::error::Errno;
use core::sync::atomic::Ordering;

/// One more, if no group is at its limit.
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
