//! Copying and filling memory, for the compiler's calls: pairs of registers, 64 bytes a round.
//!
//! What comes with the compiler copies a word a round, about five instructions for 8 bytes. Here it
//! is one and a quarter. The instructions for it (FEAT_MOPS) are not used: a thread may go to
//! another CPU between the three of them (Arm ARM, CPYFP, CPYFM, CPYFE). Addresses need not be
//! aligned: memory is of the normal kind, and SCTLR_EL1.A is clear (`paging`).

use core::arch::naked_asm;

/// `memcpy`: 64 bytes a round, then by the bits of what is left.
///
/// # Safety
///
/// 1. So many bytes can be read at `from` and written at `to`, and the two are apart.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    naked_asm!(
        "stp x29, x30, [sp, #-16]!",
        "mov x29, sp",
        "mov x3, x0",
        "subs x2, x2, #64",
        "b.lo 2f",
        "1:",
        "ldp x4, x5, [x1], #16",
        "ldp x6, x7, [x1], #16",
        "ldp x8, x9, [x1], #16",
        "ldp x10, x11, [x1], #16",
        "stp x4, x5, [x3], #16",
        "stp x6, x7, [x3], #16",
        "stp x8, x9, [x3], #16",
        "stp x10, x11, [x3], #16",
        "subs x2, x2, #64",
        "b.hs 1b",
        // 64 too few: the low six bits are what is left.
        "2:",
        "tbz x2, #5, 3f",
        "ldp x4, x5, [x1], #16",
        "ldp x6, x7, [x1], #16",
        "stp x4, x5, [x3], #16",
        "stp x6, x7, [x3], #16",
        "3:",
        "tbz x2, #4, 4f",
        "ldp x4, x5, [x1], #16",
        "stp x4, x5, [x3], #16",
        "4:",
        "tbz x2, #3, 5f",
        "ldr x4, [x1], #8",
        "str x4, [x3], #8",
        "5:",
        "tst x2, #7",
        "b.eq 8f",
        "tbz x2, #2, 6f",
        "ldr w4, [x1], #4",
        "str w4, [x3], #4",
        "6:",
        "tbz x2, #1, 7f",
        "ldrh w4, [x1], #2",
        "strh w4, [x3], #2",
        "7:",
        "tbz x2, #0, 8f",
        "ldrb w4, [x1]",
        "strb w4, [x3]",
        "8:",
        "ldp x29, x30, [sp], #16",
        "ret",
    )
}

/// `memset`, in the same way.
///
/// # Safety
///
/// 1. So many bytes can be written at `to`.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, bytes: usize) -> *mut u8 {
    naked_asm!(
        "stp x29, x30, [sp, #-16]!",
        "mov x29, sp",
        "and x1, x1, #0xff",
        "mov x4, #0x0101010101010101",
        "mul x1, x1, x4",
        "mov x3, x0",
        "subs x2, x2, #64",
        "b.lo 2f",
        "1:",
        "stp x1, x1, [x3], #16",
        "stp x1, x1, [x3], #16",
        "stp x1, x1, [x3], #16",
        "stp x1, x1, [x3], #16",
        "subs x2, x2, #64",
        "b.hs 1b",
        "2:",
        "tbz x2, #5, 3f",
        "stp x1, x1, [x3], #16",
        "stp x1, x1, [x3], #16",
        "3:",
        "tbz x2, #4, 4f",
        "stp x1, x1, [x3], #16",
        "4:",
        "tbz x2, #3, 5f",
        "str x1, [x3], #8",
        "5:",
        "tst x2, #7",
        "b.eq 8f",
        "tbz x2, #2, 6f",
        "str w1, [x3], #4",
        "6:",
        "tbz x2, #1, 7f",
        "strh w1, [x3], #2",
        "7:",
        "tbz x2, #0, 8f",
        "strb w1, [x3]",
        "8:",
        "ldp x29, x30, [sp], #16",
        "ret",
    )
}
