//! What exceptions mean: Intel SDM vol. 3, table 7-1.

use crate::arch::regs::SavedRegs;

pub use crate::arch::any::exceptions::UserFault;

const BREAKPOINT: u8 = 3;
const GENERAL_PROTECTION: u8 = 13;
const PAGE_FAULT: u8 = 14;

/// What an exception in user mode was about.
pub fn of_user(vector: u8, regs: &SavedRegs) -> UserFault {
    match vector {
        PAGE_FAULT => {
            let error = regs.error_code();
            UserFault::Page { write: error & 2 != 0, exec: error & 16 != 0 }
        }
        0 | 16 | 19 => UserFault::Arithmetic,
        GENERAL_PROTECTION if is_old_call(regs) => UserFault::OldCall,
        1 | BREAKPOINT => UserFault::Trap,
        6 => UserFault::Instruction,
        11 | 12 | 17 => UserFault::Bus,
        _ => UserFault::Protection,
    }
}

/// Whether a general protection fault is of `int 0x80`, whose gate is not for programs: the error
/// code names the gate (Intel SDM vol. 3, 7.13).
fn is_old_call(regs: &SavedRegs) -> bool {
    regs.error_code() == 0x80 << 3 | 2
}

/// Whether it is the breakpoint instruction.
pub const fn is_breakpoint(vector: u8) -> bool {
    vector == BREAKPOINT
}
