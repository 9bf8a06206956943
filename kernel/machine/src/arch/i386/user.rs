//! What a program's thread has in the CPU besides its saved registers and its floating point: its thread-local storage, a
//! segment; and the page through which programs use `sysenter`.
//!
//! ```text
//!   0xbfff_f000  push ecx; push edx; push ebp; mov ebp, esp; sysenter
//!   0xbfff_f007  pop ebp; pop edx; pop ecx; ret        where every sysenter goes on
//!   0xc000_0000  the kernel's part
//! ```
//!
//! One segment for each thread, the first of the three that the descriptor table has room for (libraries use no more). It
//! is always there, flat if the program set none, and the other two never: so no selector that a program could load ever becomes
//! one that the kernel cannot load for it again.

use super::{cpu, cpu_tables};
use core::sync::atomic::{AtomicU64, Ordering};
use kstack::arch::current::tables::user_data_descriptor;

/// The page with the code above, in every address space.
pub const SYSENTER_PAGE: u64 = 0xbfff_f000;
/// Where `sysenter` goes on.
pub const SYSENTER_RETURN: u64 = SYSENTER_PAGE + SYSENTER_RETURN_OFFSET as u64;
const SYSENTER_RETURN_OFFSET: usize = 7;
/// What is on the page.
pub(super) const SYSENTER_CODE: [u8; 11] =
    [0x51, 0x52, 0x55, 0x89, 0xe5, 0x0f, 0x34, 0x5d, 0x5a, 0x59, 0xc3];

/// Keeps what the program may have changed of it without a system call: nothing.
#[inline(always)]
pub fn save_tls(_kept: &AtomicU64) {}

/// Loads the thread-local storage of a process's thread. At the switch to it.
pub fn load_tls(kept: &AtomicU64) {
    set_base(kept.load(Ordering::Relaxed));
}

/// Sets the base of the running program's thread-local storage; it counts from the next load of its selector on, which is
/// the way back to user mode.
pub fn set_tls(base: u64) {
    cpu::without_interrupts(|| set_base(base));
}

fn set_base(base: u64) {
    cpu_tables::set_user_segments(&[user_data_descriptor(base as u32), 0, 0]);
}
