//! What a program's thread has in the CPU besides its saved registers and its floating point: two
//! thread registers, as under Linux.
//!
//! | register | in user mode | in the kernel | kept for a thread in |
//! | --- | --- | --- | --- |
//! | TPIDRURO | thread pointer, which the program asks the kernel to set | `current` | lower half of `user_tls`; the per-CPU block while it runs |
//! | TPIDRURW | the program's to write | the program's | upper half of `user_tls`; the register itself while it runs |

use super::cpu;
use crate::cpus;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

/// Keeps what a process's thread may have written without a system call. At the switch away from
/// it, and by itself before it is copied.
#[inline(always)]
pub fn save_tls(kept: &AtomicU64) {
    let written: u32;
    // SAFETY: (1) reading the register has no effect.
    unsafe {
        asm!("mrc p15, 0, {}, c13, c0, 2", out(reg) written, options(nomem, nostack, preserves_flags));
    }
    let base = kept.load(Ordering::Relaxed) as u32;
    kept.store(u64::from(written) << 32 | u64::from(base), Ordering::Relaxed);
}

/// Puts the thread pointer where the return path finds it, and loads the other register. At the
/// switch to a process's thread, interrupts off.
pub fn load_tls(kept: &AtomicU64) {
    let words = kept.load(Ordering::Relaxed);
    cpus::this().local.arch.set_user_tls(words as u32 as usize);
    // SAFETY: (1) the register is the program's; the kernel uses it for nothing.
    unsafe {
        asm!("mcr p15, 0, {}, c13, c0, 2", in(reg) (words >> 32) as u32,
             options(nomem, nostack, preserves_flags));
    }
}

/// Sets the thread pointer of the running program.
pub fn set_tls(base: u64) {
    cpu::without_interrupts(|| cpus::this().local.arch.set_user_tls(base as usize));
}
