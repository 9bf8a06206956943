//! A few instructions of user mode, each a program of its own, without anything around them.

use crate::arch::regs::SavedRegs;
use crate::tests::{Outcome, check};
use core::arch::naked_asm;
use kstack::arch::current::tables::{USER_CODE, USER_DATA};

const BREAKPOINT: u8 = 3;

/// Whether a program raised this exception to see that it goes on, and makes it go on.
pub fn goes_on_after(vector: u8, _regs: &mut SavedRegs) -> bool {
    vector == BREAKPOINT
}

/// Sets what the program finds in its argument register.
pub fn set_argument(regs: &mut SavedRegs, argument: u64) {
    regs.edi = argument as u32;
}

/// What [`spin`] has counted to.
pub fn counter(regs: &SavedRegs) -> u64 {
    regs.esi.into()
}

/// Counts in esi until the word at edi is not zero, then system call 1.
#[unsafe(naked)]
pub extern "C" fn spin() {
    naked_asm!(
        "xor esi, esi",
        "2:",
        "inc esi",
        "cmp dword ptr [edi], 0",
        "je 2b",
        "mov eax, 1",
        "int 0x80",
    )
}

/// System call 0 twice with a known value in every register, then system call 1.
#[unsafe(naked)]
pub extern "C" fn call_twice() {
    naked_asm!(
        "mov ebx, 0x1002",
        "mov ecx, 0x1003",
        "mov edx, 0x1004",
        "mov esi, 0x1005",
        "mov edi, 0x1006",
        "mov ebp, 0x1007",
        "xor eax, eax",
        "int 0x80",
        "xor eax, eax",
        "int 0x80",
        "mov eax, 1",
        "int 0x80",
    )
}

/// Whether the registers of one of the first two system calls of [`call_twice`] are right.
pub fn check_call_twice(regs: &SavedRegs, sp: u64) -> Outcome {
    let known = SavedRegs {
        ebx: 0x1002,
        ecx: 0x1003,
        edx: 0x1004,
        esi: 0x1005,
        edi: 0x1006,
        ebp: 0x1007,
        eax: 0,
        ds: USER_DATA.into(),
        es: USER_DATA.into(),
        fs: 0,
        gs: 0,
        orig_eax: 0,
        eip: regs.eip,
        cs: USER_CODE.into(),
        eflags: regs.eflags,
        esp: sp as u32,
        ss: USER_DATA.into(),
    };
    check!(*regs == known, "{regs:x?}, not {known:x?}");
    Ok(())
}

/// Reads where edi points, then system call 1.
#[unsafe(naked)]
pub extern "C" fn read_there() {
    naked_asm!("mov ebx, [edi]", "mov eax, 1", "int 0x80")
}
