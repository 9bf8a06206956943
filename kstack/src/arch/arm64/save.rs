//! What entries and overflows share: how all registers are saved and loaded again, and what is
//! masked meanwhile.

use super::GEOMETRY;
use super::regs::SavedRegs;
use core::mem::{offset_of, size_of};

/// Bytes below SP_EL1 in which slots keep x0 and x1, at the lowest, until SavedRegs have room for
/// them, and PSTATE.
pub(super) const SLOT_SCRATCH: usize = 4 * size_of::<u64>();
/// How far below SP_EL1 the slots of exceptions from the kernel keep the interrupted PSTATE.
pub(super) const KEPT_PSTATE: usize = size_of::<u64>();

/// The number of the address bit that is set right below every stack.
pub(super) const OVERFLOW_BIT: u32 = GEOMETRY.body().get().trailing_zeros();

const _: () = assert!(
    GEOMETRY.align().get() == 2 * GEOMETRY.body().get(),
    "the bit test wants stacks aligned to twice their size"
);

/// In DAIF, as `daifset` and `daifclr` count: debug exceptions and SErrors.
pub(super) const DEBUG_AND_SERROR: u32 = 0b1100;
/// Interrupts, in the same count.
pub(super) const INTERRUPTS: u32 = 0b0010;

/// Describes SavedRegs, of 36 words, that begin `$mark` bytes below what is in a register. The
/// interrupted address has a column of its own, that of PC (DWARF for the Arm 64-bit Architecture,
/// 4.1): x30 was in use.
macro_rules! regs_at {
    ($register:literal, $mark:literal) => {
        concat!(
            ".cfi_def_cfa ",
            $register,
            ", 36 * {word} - ",
            $mark,
            "
        .cfi_offset x0, {x} + 0 * {word} - 36 * {word}
        .cfi_offset x1, {x} + 1 * {word} - 36 * {word}
        .cfi_offset x2, {x} + 2 * {word} - 36 * {word}
        .cfi_offset x3, {x} + 3 * {word} - 36 * {word}
        .cfi_offset x4, {x} + 4 * {word} - 36 * {word}
        .cfi_offset x5, {x} + 5 * {word} - 36 * {word}
        .cfi_offset x6, {x} + 6 * {word} - 36 * {word}
        .cfi_offset x7, {x} + 7 * {word} - 36 * {word}
        .cfi_offset x8, {x} + 8 * {word} - 36 * {word}
        .cfi_offset x9, {x} + 9 * {word} - 36 * {word}
        .cfi_offset x10, {x} + 10 * {word} - 36 * {word}
        .cfi_offset x11, {x} + 11 * {word} - 36 * {word}
        .cfi_offset x12, {x} + 12 * {word} - 36 * {word}
        .cfi_offset x13, {x} + 13 * {word} - 36 * {word}
        .cfi_offset x14, {x} + 14 * {word} - 36 * {word}
        .cfi_offset x15, {x} + 15 * {word} - 36 * {word}
        .cfi_offset x16, {x} + 16 * {word} - 36 * {word}
        .cfi_offset x17, {x} + 17 * {word} - 36 * {word}
        .cfi_offset x18, {x} + 18 * {word} - 36 * {word}
        .cfi_offset x19, {x} + 19 * {word} - 36 * {word}
        .cfi_offset x20, {x} + 20 * {word} - 36 * {word}
        .cfi_offset x21, {x} + 21 * {word} - 36 * {word}
        .cfi_offset x22, {x} + 22 * {word} - 36 * {word}
        .cfi_offset x23, {x} + 23 * {word} - 36 * {word}
        .cfi_offset x24, {x} + 24 * {word} - 36 * {word}
        .cfi_offset x25, {x} + 25 * {word} - 36 * {word}
        .cfi_offset x26, {x} + 26 * {word} - 36 * {word}
        .cfi_offset x27, {x} + 27 * {word} - 36 * {word}
        .cfi_offset x28, {x} + 28 * {word} - 36 * {word}
        .cfi_offset x29, {x} + 29 * {word} - 36 * {word}
        .cfi_offset x30, {x} + 30 * {word} - 36 * {word}
        .cfi_offset sp, {x} + 31 * {word} - 36 * {word}
        .cfi_offset 32, {pc} - 36 * {word}
        "
        )
    };
}
const _: () = assert!(size_of::<SavedRegs>() == 36 * size_of::<u64>());

/// Describes code whose SavedRegs are not complete: where it came from is not told.
macro_rules! unsaved {
    () => {
        "
        .cfi_undefined 32
        .cfi_undefined x30
        "
    };
}

/// Saves everything but `esr` at x0; see the slot for what is where. Uses x1 to x3. Afterwards x2
/// is the interrupted x0.
macro_rules! save_at_x0 {
    () => {
        concat!(
            "
        mrs x1, elr_el1
        stp x2, x3, [x0, #{x} + 2 * {word}]
        stp x4, x5, [x0, #{x} + 4 * {word}]
        stp x6, x7, [x0, #{x} + 6 * {word}]
        stp x8, x9, [x0, #{x} + 8 * {word}]
        stp x10, x11, [x0, #{x} + 10 * {word}]
        stp x12, x13, [x0, #{x} + 12 * {word}]
        stp x14, x15, [x0, #{x} + 14 * {word}]
        stp x16, x17, [x0, #{x} + 16 * {word}]
        stp x18, x19, [x0, #{x} + 18 * {word}]
        stp x20, x21, [x0, #{x} + 20 * {word}]
        stp x22, x23, [x0, #{x} + 22 * {word}]
        stp x24, x25, [x0, #{x} + 24 * {word}]
        stp x26, x27, [x0, #{x} + 26 * {word}]
        stp x28, x29, [x0, #{x} + 28 * {word}]
        mrs x3, sp_el0
        stp x30, x3, [x0, #{x} + 30 * {word}]
        mrs x3, spsr_el1
        stp x1, x3, [x0, #{pc}]
        ldp x2, x3, [sp, #-{scratch}]
        stp x2, x3, [x0, #{x}]
        ",
            $crate::arch::arm64::save::regs_at!("x0", "0")
        )
    };
}

/// Loads SavedRegs at SP and goes there. Everything is masked meanwhile.
macro_rules! load_and_return {
    () => {
        concat!(
            $crate::arch::arm64::save::regs_at!("sp", "0"),
            "
        msr daifset, #0xf
        mov x0, sp
        .cfi_def_cfa_register x0
        msr spsel, #1
        ldp x30, x1, [x0, #{x} + 30 * {word}]
        ldp x2, x3, [x0, #{pc}]
        msr sp_el0, x1
        msr elr_el1, x2
        msr spsr_el1, x3
        ldp x2, x3, [x0, #{x} + 2 * {word}]
        ldp x4, x5, [x0, #{x} + 4 * {word}]
        ldp x6, x7, [x0, #{x} + 6 * {word}]
        ldp x8, x9, [x0, #{x} + 8 * {word}]
        ldp x10, x11, [x0, #{x} + 10 * {word}]
        ldp x12, x13, [x0, #{x} + 12 * {word}]
        ldp x14, x15, [x0, #{x} + 14 * {word}]
        ldp x16, x17, [x0, #{x} + 16 * {word}]
        ldp x18, x19, [x0, #{x} + 18 * {word}]
        ldp x20, x21, [x0, #{x} + 20 * {word}]
        ldp x22, x23, [x0, #{x} + 22 * {word}]
        ldp x24, x25, [x0, #{x} + 24 * {word}]
        ldp x26, x27, [x0, #{x} + 26 * {word}]
        ldp x28, x29, [x0, #{x} + 28 * {word}]
        ldp x0, x1, [x0, #{x}]
        .cfi_undefined 32
        .cfi_undefined x30
        eret
        "
        )
    };
}
pub(super) use {load_and_return, regs_at, save_at_x0, unsaved};

const _: () = assert!(
    offset_of!(SavedRegs, sp) == offset_of!(SavedRegs, x) + 31 * size_of::<u64>()
        && offset_of!(SavedRegs, pstate) == offset_of!(SavedRegs, pc) + size_of::<u64>()
        && offset_of!(SavedRegs, esr) == offset_of!(SavedRegs, orig_x0) + size_of::<u64>(),
    "pairs that are stored and loaded together"
);
