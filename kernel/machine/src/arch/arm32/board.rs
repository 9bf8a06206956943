//! What the device tree says of the board besides memory, kept for when it is asked for.

use crate::arch::virt::cpus::KnownCpus;
use crate::arch::virt::device_tree::Tree;
use core::sync::atomic::{AtomicU32, Ordering};

/// The CPUs; more of them than the controller has interfaces, so that the kernel can say how many
/// stay off.
pub(super) static CPUS: KnownCpus<64> = KnownCpus::new();

/// Where the interrupt controller's distributor and CPU interface are.
static GIC: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];

/// Keeps what a tree says. Ends the kernel if there is no interrupt controller that it knows.
pub(super) fn remember(tree: &Tree<'_>) {
    let places = tree
        .registers::<2>(&["arm,cortex-a15-gic", "arm,gic-400"])
        .expect("this machine has no interrupt controller GICv2, which the kernel needs");
    for (place, at) in GIC.iter().zip(places) {
        place.store(at as u32, Ordering::Relaxed);
    }
    CPUS.remember(tree);
    crate::arch::virt::rtc::remember(tree);
    crate::arch::virt::virtio::remember(tree);
}

/// Where the interrupt controller's distributor and CPU interface are. Physical.
pub(super) fn gic() -> [u64; 2] {
    GIC.each_ref().map(|place| place.load(Ordering::Relaxed).into())
}
