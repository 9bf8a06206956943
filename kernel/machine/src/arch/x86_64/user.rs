//! What a program's thread has in the CPU besides its saved registers and its floating point: the
//! base of FS, which is that of its thread-local storage. See `bases` for the others.

use super::cpu;
use super::regs::SavedRegs;
use core::sync::atomic::{AtomicU64, Ordering};

const FS_BASE: u32 = 0xc000_0100;

/// Keeps the thread-local storage base of a process's thread. The thread has it already, unless the
/// program has loaded a selector: that is the one way that programs have of changing it.
#[inline(always)]
pub fn save_tls(kept: &AtomicU64) {
    /// The highest null selector.
    const NULL: u16 = 3;
    if cpu::fs_selector() > NULL {
        // SAFETY: (1) the MSR exists.
        kept.store(unsafe { cpu::read_msr(FS_BASE) }, Ordering::Relaxed);
    }
}

/// Loads the thread-local storage base of a process's thread. At the switch to it.
pub fn load_tls(kept: &AtomicU64) {
    set_tls(kept.load(Ordering::Relaxed));
}

/// Sets the thread-local storage base of the running program; `base` must be a user address.
pub fn set_tls(base: u64) {
    debug_assert!(base >> 47 == 0, "no address of user mode");
    // SAFETY: (1) the MSR exists; (2) user addresses are canonical, so the write cannot fault:
    // `abi::thread_local`, `arch_prctl` and `PTRACE_SETREGS` let no other through.
    unsafe { cpu::write_msr(FS_BASE, base) };
}

/// Where the way to user mode leads: CS, SS, and the instruction.
pub(in crate::arch) fn where_it_goes(regs: &SavedRegs) -> [u64; 3] {
    [regs.cs, regs.ss, regs.rip]
}

/// Nothing: data segments are not among the saved registers, and are looked at when they are
/// loaded.
pub(in crate::arch) fn mend_data_segments(_regs: &mut SavedRegs) {}

/// Puts an exception's error code where the CPU's would be.
pub(in crate::arch) fn set_error_code(regs: &mut SavedRegs, code: u32) {
    regs.orig_rax = code.into();
}
