//! What a program's thread has in the CPU besides its saved registers and its floating point: the
//! base of its thread-local storage, TPIDR_EL0, which programs write themselves.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

/// Keeps the thread-local storage base of a process's thread. At the switch away from it, and by
/// itself before it is copied.
pub fn save_tls(kept: &AtomicU64) {
    let base: u64;
    // SAFETY: (1) reading the register has no effect.
    unsafe { asm!("mrs {}, tpidr_el0", out(reg) base, options(nomem, nostack, preserves_flags)) };
    kept.store(base, Ordering::Relaxed);
}

/// Loads the thread-local storage base of a process's thread. At the switch to it.
pub fn load_tls(kept: &AtomicU64) {
    set_tls(kept.load(Ordering::Relaxed));
}

/// Sets the thread-local storage base of the running program.
pub fn set_tls(base: u64) {
    // SAFETY: (1) the register is the program's; the kernel uses it for nothing.
    unsafe { asm!("msr tpidr_el0, {}", in(reg) base, options(nomem, nostack, preserves_flags)) };
}
