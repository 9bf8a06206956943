//! A few instructions of user mode, each a program of its own, without anything around them.

use crate::tests::{Outcome, check};
use core::arch::naked_asm;
use kstack::arch::current::tables::{USER_CODE, USER_DATA};
use machine::arch::regs::SavedRegs;

const BREAKPOINT: u8 = 3;
const PAGE_FAULT: u8 = 14;
/// Where [`known_program`] loads from, and how long that instruction is.
const LOADED_FROM: u64 = 0x1001;
const LOAD_BYTES: u64 = 3;

/// Whether a program raised this exception to see that it continues, and makes it continue.
pub fn goes_on_after(vector: u8, regs: &mut SavedRegs) -> bool {
    match vector {
        BREAKPOINT => {}
        // The load behind the breakpoint: `mov rax, [rax]`.
        PAGE_FAULT if regs.rax == LOADED_FROM => regs.rip += LOAD_BYTES,
        _ => return false,
    }
    true
}

/// Sets what the program finds in its argument register.
pub fn set_argument(regs: &mut SavedRegs, argument: u64) {
    regs.rdi = argument;
}

/// What [`spin`] has counted to.
pub fn counter(regs: &SavedRegs) -> u64 {
    regs.r12
}

/// Counts in r12 until the word at rdi is not zero, then system call 1.
#[unsafe(naked)]
pub extern "C" fn spin() {
    naked_asm!(
        "xor r12d, r12d",
        "2:",
        "inc r12",
        "cmp qword ptr [rdi], 0",
        "je 2b",
        "mov eax, 1",
        "syscall",
    )
}

/// System call 0 twice with a known value in every register, then system call 1.
#[unsafe(naked)]
pub extern "C" fn call_twice() {
    naked_asm!(
        "mov ebx, 0x1002",
        "mov edx, 0x1004",
        "mov esi, 0x1005",
        "mov edi, 0x1006",
        "mov ebp, 0x1007",
        "mov r8d, 0x1008",
        "mov r9d, 0x1009",
        "mov r10d, 0x100a",
        "mov r12d, 0x100c",
        "mov r13d, 0x100d",
        "mov r14d, 0x100e",
        "mov r15d, 0x100f",
        "xor eax, eax",
        "syscall",
        "mov ecx, eax",
        "mov r11d, ecx",
        "xor eax, eax",
        "syscall",
        "mov eax, 1",
        "syscall",
    )
}

/// Whether the registers of one of the first two system calls of [`call_twice`] are right.
pub fn check_call_twice(regs: &SavedRegs, sp: u64) -> Outcome {
    let known = SavedRegs {
        rbx: 0x1002,
        rdx: 0x1004,
        rsi: 0x1005,
        rdi: 0x1006,
        rbp: 0x1007,
        r8: 0x1008,
        r9: 0x1009,
        r10: 0x100a,
        r12: 0x100c,
        r13: 0x100d,
        r14: 0x100e,
        r15: 0x100f,
        rsp: sp,
        cs: USER_CODE.into(),
        ss: USER_DATA.into(),
        // What `syscall` itself puts there.
        rcx: regs.rip,
        r11: regs.rflags,
        rip: regs.rip,
        rflags: regs.rflags,
        rax: 0,
        orig_rax: 0,
    };
    check!(*regs == known, "{regs:x?}, not {known:x?}");
    Ok(())
}

/// Reads where rdi points, then system call 1.
#[unsafe(naked)]
pub extern "C" fn read_there() {
    naked_asm!("mov rbx, [rdi]", "mov eax, 1", "syscall")
}

/// With known registers: a breakpoint, a load from nowhere, system call 0; then waits while the
/// word at rdi is 0, and ends.
#[unsafe(naked)]
pub(in crate::tests::arch) extern "C" fn known_program() {
    naked_asm!(
        // What an entry does about this flag is swept too.
        "pushfq",
        "or dword ptr [rsp], {alignment_check}",
        "popfq",
        // A word that it may wait for.
        "mov qword ptr [rsp - {word}], 0",
        "mov qword ptr [rsp - {back}], 1",
        "mov ebx, 0x1002",
        "mov edx, 0x1004",
        "mov esi, 0x1005",
        "mov ebp, 0x1007",
        "mov r8d, 0x1008",
        "mov r9d, 0x1009",
        "mov r10d, 0x100a",
        "mov r12d, 0x100c",
        "mov r13d, 0x100d",
        "mov r14d, 0x100e",
        "mov r15d, 0x100f",
        "mov ecx, 0x1003",
        "mov r11d, 0x100b",
        "mov eax, 0x1001",
        "int3",
        "mov rax, [rax]",
        "xor eax, eax",
        "syscall",
        "mov ecx, eax",
        "2:",
        "inc rcx",
        "cmp qword ptr [rdi], 0",
        "je 2b",
        "mov eax, 1",
        "syscall",
        back = const 16,
        alignment_check = const 1 << 18,
        word = const size_of::<usize>(),
    )
}

/// Whether the registers of an entry of [`known_program`] are right: an exception, or one of the
/// system calls after it.
pub(in crate::tests::arch) fn check_known_program(
    regs: &SavedRegs,
    argument: u64,
    sp: u64,
    exception: bool,
) -> Outcome {
    let known = SavedRegs {
        rbx: 0x1002,
        rdx: 0x1004,
        rsi: 0x1005,
        rdi: argument,
        rbp: 0x1007,
        r8: 0x1008,
        r9: 0x1009,
        r10: 0x100a,
        r12: 0x100c,
        r13: 0x100d,
        r14: 0x100e,
        r15: 0x100f,
        rsp: sp,
        ..*regs
    };
    check!(*regs == known, "{regs:x?}");
    let others = (regs.rax, regs.rcx, regs.r11);
    check!(!exception || others == (0x1001, 0x1003, 0x100b), "rax, rcx, r11: {others:x?}");
    Ok(())
}

/// Flags that a program may set and that the kernel must not run with: direction, nested task,
/// alignment check.
pub(in crate::tests::arch) const FLAGS_OF_A_PROGRAM: usize = 1 << 10 | 1 << 14 | 1 << 18;

/// The flags, here.
#[inline(always)]
pub(in crate::tests::arch) fn flags() -> usize {
    let flags: usize;
    // SAFETY: (1) only reads.
    unsafe { core::arch::asm!("pushfq", "pop {}", out(reg) flags, options(preserves_flags)) };
    flags
}

/// Whether a program had set them.
pub(in crate::tests::arch) fn has_flags(regs: &SavedRegs) -> bool {
    regs.rflags as usize & FLAGS_OF_A_PROGRAM == FLAGS_OF_A_PROGRAM
}

/// The same as [`spin`] with these flags set, and system call 0 before.
#[unsafe(naked)]
pub(in crate::tests::arch) extern "C" fn spin_with_flags() {
    naked_asm!(
        "pushfq",
        "or dword ptr [rsp], {flags}",
        "popfq",
        // The word that it waits for.
        "mov qword ptr [rsp - {word}], 0",
        "xor r12d, r12d",
        "xor eax, eax",
        "syscall",
        "2:",
        "inc r12",
        "cmp qword ptr [rdi], 0",
        "je 2b",
        "mov eax, 1",
        "syscall",
        flags = const FLAGS_OF_A_PROGRAM,
        word = const size_of::<usize>(),
    )
}
