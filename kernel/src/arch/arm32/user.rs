//! What a program's thread has in the CPU besides its saved registers and its floating point: its thread pointer, TPIDRURO.
//!
//! In the kernel that register is `current`; the way back to user mode loads the program's from the per-CPU block.

use super::cpu;
use crate::cpus;
use crate::sched::Thread;
use core::sync::atomic::Ordering;

/// Keeps the thread pointer of a process's thread: the thread has it already, since programs cannot set it themselves.
#[inline(always)]
pub fn save_tls(_thread: &Thread) {}

/// Puts the thread pointer where the way back finds it. At the switch to a process's thread, interrupts off.
pub fn load_tls(thread: &Thread) {
    let base = thread.user_tls.load(Ordering::Relaxed);
    cpus::this().local.arch.set_user_tls(base as usize);
}

/// Sets the thread pointer of the running program.
pub fn set_tls(base: u64) {
    cpu::without_interrupts(|| cpus::this().local.arch.set_user_tls(base as usize));
}
