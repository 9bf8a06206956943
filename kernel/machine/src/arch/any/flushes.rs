//! How often all CPUs were made to forget their translations.

use core::sync::atomic::{AtomicU64, Ordering};

static FLUSHES: AtomicU64 = AtomicU64::new(0);

/// How often all other CPUs had to flush so far.
pub fn flushes() -> u64 {
    FLUSHES.load(Ordering::SeqCst)
}

/// Counts one more, before it begins. Returns its number: the first is 1.
pub(in crate::arch) fn count() -> u64 {
    FLUSHES.fetch_add(1, Ordering::SeqCst) + 1
}
