//! What exceptions mean: classes of ESR_EL1 (Arm ARM, D24.2), and Linux's signals.

use super::regs::SavedRegs;

pub use crate::arch::any::exceptions::UserFault;

const INSTRUCTION_ABORT: u8 = 0x20;
const DATA_ABORT: u8 = 0x24;
const BREAKPOINT: u8 = 0x3c;
/// In the syndrome of a data abort: it was a write.
const WRITE: u64 = 1 << 6;
/// In the syndrome of an abort: what kind of fault.
const STATUS: u64 = 0x3f;
const ALIGNMENT: u64 = 0x21;

/// What an exception in user mode was about.
pub fn of_user(vector: u8, regs: &SavedRegs) -> UserFault {
    const SIGILL: i32 = 4;
    const SIGTRAP: i32 = 5;
    const SIGBUS: i32 = 7;
    const SIGFPE: i32 = 8;
    const SIGSEGV: i32 = 11;
    match vector {
        DATA_ABORT | INSTRUCTION_ABORT if regs.esr & STATUS == ALIGNMENT => {
            UserFault::Signal(SIGBUS)
        }
        DATA_ABORT => UserFault::Page { write: regs.esr & WRITE != 0, exec: false },
        INSTRUCTION_ABORT => UserFault::Page { write: false, exec: true },
        // pc or SP not aligned.
        0x22 | 0x26 => UserFault::Signal(SIGBUS),
        0x2c => UserFault::Signal(SIGFPE),
        // Breakpoint, single step, watchpoint, `brk`.
        0x30 | 0x32 | 0x34 | BREAKPOINT => UserFault::Signal(SIGTRAP),
        // Unknown instructions, and system registers that are not for programs.
        0x00 | 0x07 | 0x0e | 0x18 | 0x19 => UserFault::Signal(SIGILL),
        _ => UserFault::Signal(SIGSEGV),
    }
}

/// Whether it is the breakpoint instruction.
pub const fn is_breakpoint(vector: u8) -> bool {
    vector == BREAKPOINT
}
