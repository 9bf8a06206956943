//! A few instructions of user mode, each a program of its own, without anything around them.

use super::registers::by_number;
use crate::tests::{Outcome, check};
use core::arch::naked_asm;
use machine::arch::regs::SavedRegs;

/// Whether a program raised this exception to see that it continues, and makes it continue. None of
/// these does.
pub fn goes_on_after(_vector: u8, _regs: &mut SavedRegs) -> bool {
    false
}

/// Sets what the program finds in its argument register.
pub fn set_argument(regs: &mut SavedRegs, argument: u64) {
    regs.a0 = argument;
}

/// What [`spin`] has counted to.
pub fn counter(regs: &SavedRegs) -> u64 {
    regs.t3
}

/// Counts in t3 until the word at a0 is not zero, then system call 1.
#[unsafe(naked)]
pub extern "C" fn spin() {
    naked_asm!(
        "li t3, 0",
        "2:",
        "addi t3, t3, 1",
        "ld a1, 0(a0)",
        "beqz a1, 2b",
        "li a7, 1",
        "ecall",
    )
}

/// The number of a7.
const A7: usize = 17;
/// The number of sp.
const SP: usize = 2;

const fn known(number: usize) -> u64 {
    0x2000 + 2 * number as u64
}

/// System call 0 twice with a known value in every register but a7 and sp, then system call 1. tp
/// and gp are the program's, too.
#[unsafe(naked)]
pub extern "C" fn call_twice() {
    naked_asm!(
        ".irp n, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
        "li x\\n, 0x2000 + 2 * \\n",
        ".endr",
        "li a7, 0",
        "ecall",
        // All but the result is to be as it was.
        "li a0, 0x2000 + 2 * 10",
        "ecall",
        "li a7, 1",
        "ecall",
    )
}

/// Whether the registers of one of the first two system calls of [`call_twice`] are right.
pub fn check_call_twice(regs: &SavedRegs, sp: u64) -> Outcome {
    for (number, value) in by_number(regs).into_iter().enumerate().skip(1) {
        let wanted = match number {
            SP => sp,
            A7 => 0,
            number => known(number),
        };
        check!(value == wanted, "x{number} is {value:#x}, not {wanted:#x}: {regs:x?}");
    }
    check!(regs.orig_a0 == regs.a0, "{regs:x?}");
    Ok(())
}

/// Reads where a0 points, then system call 1.
#[unsafe(naked)]
pub extern "C" fn read_there() {
    naked_asm!("ld a1, 0(a0)", "li a7, 1", "ecall")
}
