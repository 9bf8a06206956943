//! A few instructions of user mode, each a program of its own, without anything around them.

use crate::tests::{Outcome, check};
use core::arch::naked_asm;
use machine::arch::regs::SavedRegs;

const BREAKPOINT: u8 = 0x3c;
const DATA_ABORT: u8 = 0x24;
/// Where a program that is to go on after a fault loads from.
const LOADED_FROM: u64 = 0x1001;
/// Bytes of an instruction.
const INSTRUCTION: u64 = 4;

/// Whether a program raised this exception to see that it continues, and makes it continue.
pub fn goes_on_after(vector: u8, regs: &mut SavedRegs) -> bool {
    match vector {
        BREAKPOINT => {}
        // The load behind the breakpoint: `ldr x9, [x9]`.
        DATA_ABORT if regs.x[9] == LOADED_FROM => {}
        _ => return false,
    }
    regs.pc += INSTRUCTION;
    true
}

/// Sets what the program finds in its argument register.
pub fn set_argument(regs: &mut SavedRegs, argument: u64) {
    regs.x[0] = argument;
}

/// What [`spin`] has counted to.
pub fn counter(regs: &SavedRegs) -> u64 {
    regs.x[12]
}

/// Counts in x12 until the word at x0 is not zero, then system call 1.
#[unsafe(naked)]
pub extern "C" fn spin() {
    naked_asm!(
        "mov x12, #0",
        "2:",
        "add x12, x12, #1",
        "ldr x1, [x0]",
        "cbz x1, 2b",
        "mov x8, #1",
        "svc #0",
    )
}

/// Sets every register but x8 and SP to a known value, from x0 on.
macro_rules! known_registers {
    () => {
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
        mov x\\n, #0x2000 + 2 * \\n
        .endr"
    };
}

const fn known(number: usize) -> u64 {
    0x2000 + 2 * number as u64
}

/// System call 0 twice with a known value in every register, then system call 1.
#[unsafe(naked)]
pub extern "C" fn call_twice() {
    naked_asm!(
        known_registers!(),
        "mov x8, #0",
        "svc #0",
        // All but the result is to be as it was.
        "mov x0, #0x2000",
        "svc #0",
        "mov x8, #1",
        "svc #0",
    )
}

/// Whether the registers of one of the first two system calls of [`call_twice`] are right.
pub fn check_call_twice(regs: &SavedRegs, sp: u64) -> Outcome {
    let mut wanted = SavedRegs { sp, orig_x0: known(0), ..*regs };
    for (number, place) in wanted.x.iter_mut().enumerate() {
        *place = if number == 8 { 0 } else { known(number) };
    }
    check!(*regs == wanted, "{regs:x?}, not {wanted:x?}");
    Ok(())
}

/// Reads where x0 points, then system call 1.
#[unsafe(naked)]
pub extern "C" fn read_there() {
    naked_asm!("ldr x1, [x0]", "mov x8, #1", "svc #0")
}

/// With known registers: a breakpoint, a load from nowhere, system call 0; then waits while the
/// word at x0 is 0, and ends.
#[unsafe(naked)]
pub(super) extern "C" fn known_program() {
    naked_asm!(
        "mov x8, x0",
        known_registers!(),
        "mov x0, x8",
        "mov x19, x8",
        "mov x8, #0",
        "mov x9, #0x1001",
        "brk #0",
        "ldr x9, [x9]",
        "svc #0",
        "2:",
        "ldr x1, [x19]",
        "cbz x1, 2b",
        "mov x8, #1",
        "svc #0",
    )
}

/// Whether the registers of one of the first three entries of [`known_program`] are right.
pub(super) fn check_known_program(regs: &SavedRegs, argument: u64, sp: u64) -> Outcome {
    let mut wanted = SavedRegs { sp, orig_x0: argument, ..*regs };
    for (number, place) in wanted.x.iter_mut().enumerate() {
        *place = match number {
            0 | 19 => argument,
            8 => 0,
            9 => LOADED_FROM,
            other => known(other),
        };
    }
    check!(*regs == wanted, "{regs:x?}, not {wanted:x?}");
    Ok(())
}
