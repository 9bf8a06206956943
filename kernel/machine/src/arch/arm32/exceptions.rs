//! What exceptions mean: the ARMv7-A manual, part B3.13.

use super::regs::SavedRegs;
use kstack::arch::current::cause::{
    DATA_ABORT, DEBUG_EVENT, PREFETCH_ABORT, STATUS, UNDEFINED, WRITE,
};

pub use crate::arch::any::exceptions::UserFault;

/// What an exception in user mode was about. The entry has left the fault status where system calls
/// have their first argument.
pub fn of_user(vector: u8, regs: &SavedRegs) -> UserFault {
    /// In the data fault status register: cache maintenance. The bit that says "write" is set then
    /// too, whatever it needed.
    const MAINTENANCE: u32 = 1 << 13;
    let status = regs.orig_r0 & STATUS;
    match vector {
        UNDEFINED => UserFault::Instruction,
        PREFETCH_ABORT | DATA_ABORT => match status {
            DEBUG_EVENT => UserFault::Trap,
            // Translation, access flag and permission faults, of any level.
            0b00_0100..=0b00_1111 => UserFault::Page {
                write: vector == DATA_ABORT && regs.orig_r0 & (WRITE | MAINTENANCE) == WRITE,
                exec: vector == PREFETCH_ABORT,
            },
            _ => UserFault::Bus,
        },
        _ => UserFault::Protection,
    }
}

/// Whether it is the breakpoint instruction: the entry has told hardware breakpoints apart from it,
/// and abort of other kinds never are.
pub fn is_breakpoint(vector: u8) -> bool {
    vector == PREFETCH_ABORT && last_status() & STATUS == DEBUG_EVENT
}

/// The status of this CPU's last prefetch abort.
fn last_status() -> u32 {
    let status: u32;
    // SAFETY: (1) reading the register has no effect.
    unsafe {
        core::arch::asm!("mrc p15, 0, {}, c5, c0, 1", out(reg) status,
                         options(nomem, nostack, preserves_flags));
    }
    status
}
