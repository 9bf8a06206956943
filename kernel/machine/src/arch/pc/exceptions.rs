//! What exceptions mean: Intel SDM vol. 3, table 7-1.

use crate::arch::regs::SavedRegs;

pub use crate::arch::any::exceptions::UserFault;

const BREAKPOINT: u8 = 3;
const GENERAL_PROTECTION: u8 = 13;
const PAGE_FAULT: u8 = 14;
/// The error code of `int 0x80` where its gate is not for programs: a gate, and its number (Intel
/// SDM vol. 3, 7.13).
const OLD_CALL: u64 = 0x80 << 3 | 2;

/// What an exception in user mode was about.
pub fn of_user(vector: u8, regs: &SavedRegs) -> UserFault {
    match vector {
        PAGE_FAULT => {
            let error = regs.error_code();
            UserFault::Page { write: error & 2 != 0, exec: error & 16 != 0 }
        }
        0 | 16 | 19 => UserFault::Arithmetic,
        GENERAL_PROTECTION if u64::from(regs.error_code()) == OLD_CALL => UserFault::OldCall,
        1 | BREAKPOINT => UserFault::Trap,
        6 => UserFault::Instruction,
        11 | 12 | 17 => UserFault::Bus,
        _ => UserFault::Protection,
    }
}

/// Whether it is the breakpoint instruction.
pub const fn is_breakpoint(vector: u8) -> bool {
    vector == BREAKPOINT
}
