//! A few instructions of user mode, each a program of its own, without anything around them.

use crate::tests::{Outcome, check};
use core::arch::naked_asm;
use machine::arch::regs::{SavedRegs, USER_MODE};

/// Whether a program raised this exception to see that it continues, and makes it continue: none of
/// these does.
pub fn goes_on_after(_vector: u8, _regs: &mut SavedRegs) -> bool {
    false
}

/// Sets what the program finds in its argument register.
pub fn set_argument(regs: &mut SavedRegs, argument: u64) {
    regs.r0 = argument as u32;
}

/// What [`spin`] has counted to.
pub fn counter(regs: &SavedRegs) -> u64 {
    regs.r5.into()
}

/// Counts in r5 until the word at r0 is not zero, then system call 1.
#[unsafe(naked)]
pub extern "C" fn spin() {
    naked_asm!(
        "mov r5, #0",
        "2:",
        "add r5, r5, #1",
        "ldr r1, [r0]",
        "cmp r1, #0",
        "beq 2b",
        "mov r7, #1",
        "svc #0",
    )
}

/// System call 0 twice with a known value in every register, then system call 1.
#[unsafe(naked)]
pub extern "C" fn call_twice() {
    naked_asm!(
        ".irp number, 1, 2, 3, 4, 5, 6, 8, 9",
        "movw r\\number, #0x1000 + \\number",
        ".endr",
        "movw r10, #0x100a",
        "movw r11, #0x100b",
        "movw r12, #0x100c",
        "movw lr, #0x100e",
        "mov r7, #0",
        "movw r0, #0x1000",
        "svc #0",
        "movw r0, #0x1000",
        "svc #0",
        "mov r7, #1",
        "svc #0",
    )
}

/// Whether the registers of one of the first two system calls of [`call_twice`] are right.
pub fn check_call_twice(regs: &SavedRegs, sp: u64) -> Outcome {
    let known = SavedRegs {
        r0: 0x1000,
        r1: 0x1001,
        r2: 0x1002,
        r3: 0x1003,
        r4: 0x1004,
        r5: 0x1005,
        r6: 0x1006,
        r7: 0,
        r8: 0x1008,
        r9: 0x1009,
        r10: 0x100a,
        fp: 0x100b,
        ip: 0x100c,
        sp: sp as u32,
        lr: 0x100e,
        pc: regs.pc,
        cpsr: USER_MODE,
        orig_r0: 0x1000,
    };
    check!(*regs == known, "{regs:x?}, not {known:x?}");
    Ok(())
}

/// Reads where r0 points, then system call 1.
#[unsafe(naked)]
pub extern "C" fn read_there() {
    naked_asm!("ldr r1, [r0]", "mov r7, #1", "svc #0")
}
