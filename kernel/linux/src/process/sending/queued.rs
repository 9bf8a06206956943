//! How many signals are queued for each user, which RLIMIT_SIGPENDING bounds.
//!
//! A signal is charged to the real user of the process that it is for, as on Linux, for as long as
//! it is queued. Users are few: they stand in a list. The lock is a leaf.

use alloc::vec::Vec;
use machine::memory::fallible;
use machine::spin::SpinLock;

static COUNTS: SpinLock<Vec<(u32, u64)>> = SpinLock::new(Vec::new());

/// Whom a signal is charged to, and how many that one may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    user: u32,
    limit: u64,
}

impl Allowance {
    pub(in crate::process) const fn new(user: u32, limit: u64) -> Self {
        Self { user, limit }
    }

    /// How many its user has queued.
    pub(crate) fn used(self) -> u64 {
        COUNTS.lock().iter().find(|&&(user, _)| user == self.user).map_or(0, |&(_, count)| count)
    }
}

/// One queued signal of a user's.
#[derive(Debug)]
pub(in crate::process) struct Charge {
    user: u32,
}

impl Charge {
    /// One more. `None`: the user has as many as it may, or there is no memory to count them. What
    /// comes from the kernel `overrides` the limit: there is one of each at most.
    pub(in crate::process) fn new(of: Allowance, overrides: bool) -> Option<Self> {
        let mut counts = COUNTS.lock();
        let known = counts.iter().position(|&(user, _)| user == of.user);
        let at = match known {
            Some(at) => at,
            None => {
                fallible::push(&mut counts, (of.user, 0)).ok()?;
                counts.len() - 1
            }
        };
        if !overrides && counts[at].1 >= of.limit {
            return None;
        }
        counts[at].1 += 1;
        Some(Self { user: of.user })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut counts = COUNTS.lock();
        if let Some(at) = counts.iter().position(|&(user, _)| user == self.user) {
            counts[at].1 -= 1;
            if counts[at].1 == 0 {
                counts.swap_remove(at);
            }
        }
    }
}
