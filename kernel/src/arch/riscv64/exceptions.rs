//! What exceptions mean: RISC-V privileged architecture, table of `scause` values, and Linux's signals.

use super::cpu;
use super::regs::SavedRegs;

pub use crate::arch::any::exceptions::UserFault;

const BREAKPOINT: u8 = 3;
const FETCH_PAGE_FAULT: u8 = 12;
const LOAD_PAGE_FAULT: u8 = 13;
const STORE_PAGE_FAULT: u8 = 15;

/// What an exception in user mode was about.
pub fn of_user(vector: u8, _regs: &SavedRegs) -> UserFault {
    const SIGILL: i32 = 4;
    const SIGTRAP: i32 = 5;
    const SIGBUS: i32 = 7;
    const SIGSEGV: i32 = 11;
    match vector {
        FETCH_PAGE_FAULT | LOAD_PAGE_FAULT | STORE_PAGE_FAULT => {
            // A CPU may remember that a page, or a table on the way to it, was absent after another has put it there: forget it,
            // or the program faults for ever.
            cpu::flush_user_half();
            UserFault::Page { write: vector == STORE_PAGE_FAULT, exec: vector == FETCH_PAGE_FAULT }
        }
        2 => UserFault::Signal(SIGILL),
        BREAKPOINT => UserFault::Signal(SIGTRAP),
        0 | 4 | 6 => UserFault::Signal(SIGBUS),
        _ => UserFault::Signal(SIGSEGV),
    }
}

/// Whether it is the breakpoint instruction.
pub const fn is_breakpoint(vector: u8) -> bool {
    vector == BREAKPOINT
}
