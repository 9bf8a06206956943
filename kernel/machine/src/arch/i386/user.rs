//! What a program's thread has in the CPU besides its saved registers and its floating point: its
//! thread-local storage, a segment; and the page through which programs use `sysenter`.
//!
//! See `sysenter_page` for that.
//!
//! One segment for each thread, the first of the three that the descriptor table has room for
//! (libraries use no more). It is always there, flat if the program set none, and the other two
//! never: so no selector that a program could load ever becomes one that the kernel cannot load for
//! it again.

use super::regs::SavedRegs;
pub use super::sysenter_page::{SYSENTER_PAGE, SYSENTER_RETURN};
use super::{cpu, cpu_tables};
use crate::arch::pc::access;
use core::sync::atomic::{AtomicU64, Ordering};
use kstack::arch::current::tables::user_data_descriptor;

/// Keeps what the program may have changed of it without a system call: nothing.
#[inline(always)]
pub fn save_tls(_kept: &AtomicU64) {}

/// Loads the thread-local storage of a process's thread. At the switch to it.
pub fn load_tls(kept: &AtomicU64) {
    set_base(kept.load(Ordering::Relaxed));
}

/// Sets the base of the running program's thread-local storage; it counts from the next load of its
/// selector on, which the return to user mode does.
pub fn set_tls(base: u64) {
    cpu::without_interrupts(|| set_base(base));
}

fn set_base(base: u64) {
    cpu_tables::set_user_segments(&[user_data_descriptor(base as u32), 0, 0]);
}

/// Where the way to user mode leads: CS, SS, and the instruction.
pub(in crate::arch) fn where_it_goes(regs: &SavedRegs) -> [u64; 3] {
    [regs.cs, regs.ss, regs.eip].map(u64::from)
}

/// Saved data segments that are not there any more become null. Interrupts off.
pub(in crate::arch) fn mend_data_segments(regs: &mut SavedRegs) {
    for selector in [&mut regs.ds, &mut regs.es, &mut regs.fs, &mut regs.gs] {
        if !access::is_data(*selector as u16) {
            *selector = 0;
        }
    }
}

/// Puts an exception's error code where the CPU's would be.
pub(in crate::arch) fn set_error_code(regs: &mut SavedRegs, code: u32) {
    regs.orig_eax = code;
}
