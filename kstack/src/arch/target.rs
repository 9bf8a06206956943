//! What differs from target to target and needs no tree of its own: there on every target, with or
//! without the layers above `stacks`.

#[cfg(feature = "stacks")]
use kstack_core::addr::AddrRange;
use kstack_core::geometry::Geometry;

/// The shape of thread stacks. A target without a tree has those of x86_64.
pub const GEOMETRY: Geometry = if cfg!(feature = "address-sanitizer") {
    // Frames have red zones.
    match USUAL.doubled() {
        Ok(doubled) => doubled,
        Err(_) => panic!("a stack of this geometry is too large"),
    }
} else {
    USUAL
};

const USUAL: Geometry = if cfg!(target_arch = "aarch64") {
    Geometry::ARM64
} else if cfg!(target_arch = "riscv64") {
    Geometry::RISCV64
} else if cfg!(target_arch = "x86") {
    Geometry::I386
} else if cfg!(target_arch = "arm") {
    Geometry::ARM32
} else {
    Geometry::X86_64
};

/// Whether a CPU may fault on a page that was absent, after it has been mapped.
///
/// * x86: nothing, only translations that are there are cached (Intel SDM vol. 3, 4.10.2.3).
/// * RISC-V: keep in its TLB that a page was absent, unless it has Svvptc (Privileged ISA,
///   "Supervisor Memory-Management Fence Instruction").
/// * Arm: walk the tables for an access before it sees what tells it that the page is there now,
///   unless it has FEAT_ETS2 (Arm ARM, D8.2.6.1).
///
/// On a new stack such a fault would be taken for an overflow. Under an operating system that one
/// handles it.
#[cfg(feature = "stacks")]
pub(crate) const ABSENT_IS_REMEMBERED: bool = cfg!(all(
    any(target_arch = "riscv64", target_arch = "aarch64", target_arch = "arm"),
    not(any(unix, windows))
));

/// Has this CPU see pages that were absent and are mapped now.
#[cfg(feature = "stacks")]
#[inline(always)]
pub(crate) fn forget_absence(_body: AddrRange) {
    #[cfg(all(target_arch = "riscv64", not(any(unix, windows))))]
    // SAFETY: (1) drops translations, which the CPU finds again in the page tables.
    unsafe {
        core::arch::asm!("sfence.vma", options(nostack, preserves_flags));
    }
    #[cfg(all(any(target_arch = "aarch64", target_arch = "arm"), not(any(unix, windows))))]
    // SAFETY: (1) barriers change nothing.
    unsafe {
        core::arch::asm!("dsb sy", "isb", options(nostack, preserves_flags));
    }
}
