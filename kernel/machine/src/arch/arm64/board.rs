//! What the device tree says of the board besides memory, kept for when it is asked for.

use crate::arch::virt::cpus::KnownCpus;
use crate::arch::virt::device_tree::Tree;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The CPUs; more of them than the kernel runs on, so that it can say how many stay off.
pub(super) static CPUS: KnownCpus<512> = KnownCpus::new();

/// Whether calls to the firmware go by `smc`, where the kernel has been entered at EL2. Otherwise
/// by `hvc`.
static FIRMWARE_BY_SMC: AtomicBool = AtomicBool::new(false);

/// Whether the interrupt controller is of version 3. Otherwise it is of version 2.
static GIC_IS_V3: AtomicBool = AtomicBool::new(false);
/// Its distributor; its CPU interface (version 2) or the first redistributor (version 3).
static GIC: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Keeps what a tree says. Ends the kernel if there is no interrupt controller that it knows.
pub(super) fn remember(tree: &Tree<'_>) {
    let kinds: [(bool, &[&str]); 2] =
        [(true, &["arm,gic-v3"]), (false, &["arm,cortex-a15-gic", "arm,gic-400"])];
    let (is_v3, places) = kinds
        .into_iter()
        .find_map(|(is_v3, names)| Some((is_v3, tree.registers::<2>(names)?)))
        .expect("this machine lacks what the kernel needs: an interrupt controller GICv2 or GICv3");
    GIC_IS_V3.store(is_v3, Ordering::Relaxed);
    for (place, at) in GIC.iter().zip(places) {
        place.store(at, Ordering::Relaxed);
    }
    FIRMWARE_BY_SMC.store(tree.text("/psci", "method") == Some("smc"), Ordering::Relaxed);
    CPUS.remember(tree);
    crate::arch::virt::rtc::remember(tree);
    crate::arch::virt::virtio::remember(tree);
}

/// Whether calls to the firmware go by `smc`.
pub(super) fn firmware_by_smc() -> bool {
    FIRMWARE_BY_SMC.load(Ordering::Relaxed)
}

/// Whether the interrupt controller is of version 3.
#[inline(always)]
pub(super) fn gic_is_v3() -> bool {
    GIC_IS_V3.load(Ordering::Relaxed)
}

/// Where the interrupt controller's distributor is, and its CPU interface or first redistributor.
/// Physical.
pub(super) fn gic() -> [u64; 2] {
    GIC.each_ref().map(|place| place.load(Ordering::Relaxed))
}
