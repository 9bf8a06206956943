//! What the device tree says of the board besides memory, kept for when it is asked for.

use crate::arch::virt::device_tree::Tree;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// CPUs that are kept at most: more than the kernel runs on, so that it can say how many stay off.
const MOST_KNOWN: usize = 512;

static AFFINITIES: [AtomicU32; MOST_KNOWN] = [const { AtomicU32::new(0) }; MOST_KNOWN];
static FOUND: AtomicUsize = AtomicUsize::new(0);

/// Keeps the CPUs that the device tree names.
pub(super) fn remember(tree: &Tree<'_>) {
    for (place, (affinity, _)) in AFFINITIES.iter().zip(tree.cpus()) {
        place.store(affinity, Ordering::Relaxed);
        FOUND.fetch_add(1, Ordering::Relaxed);
    }
}

/// The affinities of the CPUs.
pub(super) fn find_cpus(mut found: impl FnMut(u32)) {
    for affinity in &AFFINITIES[..FOUND.load(Ordering::Relaxed)] {
        found(affinity.load(Ordering::Relaxed));
    }
}
