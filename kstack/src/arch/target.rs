//! What differs from target to target and needs no tree of its own: there on every target, with or
//! without the layers above `stacks`.

#[cfg(feature = "stacks")]
use kstack_core::addr::AddrRange;
use kstack_core::geometry::Geometry;

/// The shape of thread stacks. A target without a tree has those of x86_64.
pub const GEOMETRY: Geometry = if cfg!(target_arch = "aarch64") {
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

/// Whether a CPU may remember that a page was absent, and fault on it after it has been mapped.
#[cfg(feature = "stacks")]
pub(crate) const ABSENT_IS_REMEMBERED: bool = cfg!(target_arch = "riscv64");

/// Drops whatever this CPU remembers of pages that were absent.
#[cfg(feature = "stacks")]
#[inline(always)]
pub(crate) fn forget_absence(_body: AddrRange) {
    #[cfg(all(target_arch = "riscv64", target_os = "none"))]
    // SAFETY: (1) drops translations, which the CPU finds again in the page tables.
    unsafe {
        core::arch::asm!("sfence.vma", options(nostack, preserves_flags));
    }
}
