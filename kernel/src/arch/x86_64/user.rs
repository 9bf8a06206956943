//! What a program's thread has in the CPU besides its saved registers and its floating point: the base of its thread-local
//! storage.

use super::cpu;
use crate::sched::Thread;
use core::sync::atomic::Ordering;

const FS_BASE: u32 = 0xc000_0100;

/// Keeps the thread-local storage base of a process's thread: the thread has it already, since programs cannot set it themselves.
#[inline(always)]
pub fn save_tls(_thread: &Thread) {}

/// Loads the thread-local storage base of a process's thread. At the switch to it.
pub fn load_tls(thread: &Thread) {
    set_tls(thread.user_tls.load(Ordering::Relaxed));
}

/// Sets the thread-local storage base of the running program; `base` must be a user address.
pub fn set_tls(base: u64) {
    // SAFETY: (1) the MSR exists; (2) user addresses are canonical, so the write cannot fault.
    unsafe { cpu::write_msr(FS_BASE, base) };
}
