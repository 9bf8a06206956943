//! What exceptions of programs are to them on both PCs (arch/x86/kernel/traps.c, fpu/core.c).

use super::signals::{Info, Signal, Trap, code};
use machine::arch::fpu::Snapshot;

const DIVIDE: u8 = 0;
const DEBUG: u8 = 1;
const BREAKPOINT: u8 = 3;
const INVALID_OPCODE: u8 = 6;
const SEGMENT_NOT_PRESENT: u8 = 11;
const STACK_FAULT: u8 = 12;
const X87: u8 = 16;
const ALIGNMENT: u8 = 17;
const SIMD: u8 = 19;
const CONTROL_PROTECTION: u8 = 21;
/// The trap flag.
const TRACE: u64 = 1 << 8;

/// What an exception, other than a page fault, is to the program.
pub(super) fn exception(vector: u8, floats: &Snapshot, at: u64, flags: u64) -> Info {
    match vector {
        DIVIDE => Info::fault(Signal::FPE, code::FPE_DIVIDE, at),
        DEBUG if flags & TRACE != 0 => Info::fault(Signal::TRAP, code::TRAP_TRACE, at),
        DEBUG => Info::fault(Signal::TRAP, code::TRAP_BREAKPOINT, at),
        BREAKPOINT => Info::kernel(Signal::TRAP),
        INVALID_OPCODE => Info::fault(Signal::ILL, code::ILLEGAL_OPERAND, at),
        SEGMENT_NOT_PRESENT | STACK_FAULT => Info::kernel(Signal::BUS),
        X87 | SIMD => Info::fault(Signal::FPE, float_code(vector, floats), at),
        ALIGNMENT => Info::fault(Signal::BUS, code::BUS_ALIGNMENT, 0),
        // A return to another address than the shadow stack has, or no word to switch by. Linux
        // tells no address.
        CONTROL_PROTECTION => Info::fault(Signal::SEGV, code::SEGV_CPERR, 0),
        _ => Info::kernel(Signal::SEGV),
    }
}

/// Which exception that is not masked the unit has (Intel SDM vol. 1, 8.1.3 and 10.2.3).
fn float_code(vector: u8, floats: &Snapshot) -> i32 {
    let half = |at: usize| u32::from(u16::from_le_bytes([floats[at], floats[at + 1]]));
    let raised = if vector == X87 {
        half(2) & !half(0)
    } else {
        let status = half(24);
        status & !(status >> 7)
    };
    match raised {
        raised if raised & 0x01 != 0 => code::FPE_FLOAT_INVALID,
        raised if raised & 0x04 != 0 => code::FPE_FLOAT_DIVIDE,
        raised if raised & 0x08 != 0 => code::FPE_FLOAT_OVERFLOW,
        raised if raised & 0x12 != 0 => code::FPE_FLOAT_UNDERFLOW,
        raised if raised & 0x20 != 0 => code::FPE_FLOAT_INEXACT,
        _ => 0,
    }
}

/// What `sigcontext` keeps of an exception. CR2 is that of the last page fault.
pub(super) fn trap(vector: u8, address: u64, error: u64, last: Trap) -> Trap {
    const PAGE_FAULT: u8 = 14;
    let address = if vector == PAGE_FAULT { address } else { last.address };
    Trap { number: vector.into(), error, address }
}
