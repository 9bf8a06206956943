//! What exceptions mean: RISC-V privileged architecture, table of `scause` values.

use super::cpu;
use super::regs::SavedRegs;

pub use crate::arch::any::exceptions::UserFault;

const BREAKPOINT: u8 = 3;
const FETCH_PAGE_FAULT: u8 = 12;
const LOAD_PAGE_FAULT: u8 = 13;
const STORE_PAGE_FAULT: u8 = 15;

/// What an exception in user mode was about.
pub fn of_user(vector: u8, _regs: &SavedRegs) -> UserFault {
    match vector {
        FETCH_PAGE_FAULT | LOAD_PAGE_FAULT | STORE_PAGE_FAULT => {
            // A CPU may remember that a page, or a table on the way to it, was absent after another
            // has put it there: forget it, or the program faults without end.
            cpu::flush_user_half();
            UserFault::Page { write: vector == STORE_PAGE_FAULT, exec: vector == FETCH_PAGE_FAULT }
        }
        2 => UserFault::Instruction,
        BREAKPOINT => UserFault::Trap,
        0 | 4 | 6 => UserFault::Bus,
        _ => UserFault::Protection,
    }
}

/// Whether it is the breakpoint instruction.
pub const fn is_breakpoint(vector: u8) -> bool {
    vector == BREAKPOINT
}
