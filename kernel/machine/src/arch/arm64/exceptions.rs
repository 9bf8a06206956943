//! What exceptions mean: classes of ESR_EL1 (Arm ARM, D24.2).

use super::regs::SavedRegs;

pub use crate::arch::any::exceptions::UserFault;

const INSTRUCTION_ABORT: u8 = 0x20;
const DATA_ABORT: u8 = 0x24;
const BREAKPOINT: u8 = 0x3c;
/// In the syndrome of a data abort: it was a write.
const WRITE: u64 = 1 << 6;
/// In the syndrome of a data abort: cache maintenance. [`WRITE`] is set then too, whatever it
/// needed.
const MAINTENANCE: u64 = 1 << 8;
/// In the syndrome of an abort: what kind of fault.
const STATUS: u64 = 0x3f;

/// Whether an abort is about a translation, the access flag or a permission, of any level: what a
/// change of the tables can help. All others (alignment, external aborts, conflicts in the TLB,
/// exclusives on memory that has none ...) come again however often the program is sent back.
const fn is_page_fault(syndrome: u64) -> bool {
    matches!(syndrome & STATUS, 0b00_0100..=0b00_1111 | 0b10_1011)
}

/// What an exception in user mode was about.
pub fn of_user(vector: u8, regs: &SavedRegs) -> UserFault {
    match vector {
        DATA_ABORT | INSTRUCTION_ABORT if !is_page_fault(regs.esr) => UserFault::Bus,
        DATA_ABORT => {
            let write = regs.esr & (WRITE | MAINTENANCE) == WRITE;
            UserFault::Page { write, exec: false }
        }
        INSTRUCTION_ABORT => UserFault::Page { write: false, exec: true },
        // pc or SP not aligned.
        0x22 | 0x26 => UserFault::Bus,
        0x2c => UserFault::Arithmetic,
        // Breakpoint, single step, watchpoint, `brk`.
        0x30 | 0x32 | 0x34 | BREAKPOINT => UserFault::Trap,
        // Unknown instructions, system registers that are not for programs, and what is off:
        // scalable vectors, streaming mode, loads of 64 bytes; branches and returns that may not
        // be.
        0x00 | 0x07 | 0x0a | 0x0d | 0x0e | 0x18 | 0x19 | 0x1c | 0x1d => UserFault::Instruction,
        _ => UserFault::Protection,
    }
}

/// Whether it is the breakpoint instruction.
pub const fn is_breakpoint(vector: u8) -> bool {
    vector == BREAKPOINT
}
