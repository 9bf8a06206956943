//! What exceptions mean: Intel SDM vol. 3, table 7-1, and Linux's signals.

use crate::arch::regs::SavedRegs;

pub use crate::arch::any::exceptions::UserFault;

const BREAKPOINT: u8 = 3;
const PAGE_FAULT: u8 = 14;

/// What an exception in user mode was about.
pub fn of_user(vector: u8, regs: &SavedRegs) -> UserFault {
    const SIGILL: i32 = 4;
    const SIGTRAP: i32 = 5;
    const SIGBUS: i32 = 7;
    const SIGFPE: i32 = 8;
    const SIGSEGV: i32 = 11;
    match vector {
        PAGE_FAULT => {
            let error = regs.error_code();
            UserFault::Page { write: error & 2 != 0, exec: error & 16 != 0 }
        }
        0 | 16 | 19 => UserFault::Signal(SIGFPE),
        1 | BREAKPOINT => UserFault::Signal(SIGTRAP),
        6 => UserFault::Signal(SIGILL),
        11 | 12 | 17 => UserFault::Signal(SIGBUS),
        _ => UserFault::Signal(SIGSEGV),
    }
}

/// Whether it is the breakpoint instruction.
pub const fn is_breakpoint(vector: u8) -> bool {
    vector == BREAKPOINT
}
