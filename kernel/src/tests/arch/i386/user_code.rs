//! A few instructions of user mode, each a program of its own, without anything around them.

use crate::tests::{Outcome, check};
use core::arch::naked_asm;
use kstack::arch::current::tables::{USER_CODE, USER_DATA};
use machine::arch::regs::SavedRegs;
use machine::arch::user::SYSENTER_PAGE;

const BREAKPOINT: u8 = 3;
const PAGE_FAULT: u8 = 14;
/// Where [`known_program`] loads from, and how long that instruction is.
const LOADED_FROM: u32 = 0x1001;
const LOAD_BYTES: u32 = 2;

/// Whether a program raised this exception to see that it continues, and makes it continue.
pub fn goes_on_after(vector: u8, regs: &mut SavedRegs) -> bool {
    match vector {
        BREAKPOINT => {}
        // The load behind the breakpoint: `mov eax, [eax]`.
        PAGE_FAULT if regs.eax == LOADED_FROM => regs.eip += LOAD_BYTES,
        _ => return false,
    }
    true
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

/// System call 0 by `sysenter`, through the page for it, and then by `int 0x80`, with a known value
/// in every register; then system call 1.
#[unsafe(naked)]
pub(super) extern "C" fn call_by_sysenter() {
    naked_asm!(
        "mov ebx, 0x1002",
        "mov ecx, 0x1003",
        "mov edx, 0x1004",
        "mov esi, 0x1005",
        "mov edi, {page}",
        "mov ebp, 0x1007",
        "xor eax, eax",
        "call edi",
        "xor eax, eax",
        "int 0x80",
        "mov eax, 1",
        "int 0x80",
        page = const SYSENTER_PAGE,
    )
}

/// System call 0 by a `sysenter` of its own, right after setting the trap flag; then system call 1.
#[unsafe(naked)]
pub(super) extern "C" fn trapped_sysenter() {
    naked_asm!(
        "call 4f",
        "mov eax, 1",
        "int 0x80",
        "4:",
        "push ecx",
        "push edx",
        "push ebp",
        "mov ebp, esp",
        "xor eax, eax",
        "pushfd",
        "or dword ptr [esp], {trap}",
        "popfd",
        "sysenter",
        trap = const 1 << 8,
    )
}

/// With known registers: a breakpoint, a load from nowhere, system call 0; then waits while the
/// word at edi is 0, and ends.
#[unsafe(naked)]
pub(in crate::tests::arch) extern "C" fn known_program() {
    naked_asm!(
        // What an entry does about this flag is swept too.
        "pushfd",
        "or dword ptr [esp], {alignment_check}",
        "popfd",
        // A word that it may wait for.
        "mov dword ptr [esp - {word}], 0",
        "mov dword ptr [esp - {back}], 1",
        "mov ebx, 0x1002",
        "mov ecx, 0x1003",
        "mov edx, 0x1004",
        "mov esi, 0x1005",
        "mov ebp, 0x1007",
        "mov eax, 0x1001",
        "int3",
        "mov eax, [eax]",
        "xor eax, eax",
        "int 0x80",
        "2:",
        "inc ecx",
        "cmp dword ptr [edi], 0",
        "je 2b",
        "mov eax, 1",
        "int 0x80",
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
        ebx: 0x1002,
        edx: 0x1004,
        esi: 0x1005,
        edi: argument as u32,
        ebp: 0x1007,
        ds: USER_DATA.into(),
        es: USER_DATA.into(),
        fs: 0,
        gs: 0,
        esp: sp as u32,
        ss: USER_DATA.into(),
        ..*regs
    };
    check!(*regs == known, "{regs:x?}");
    let others = (regs.eax, regs.ecx);
    check!(!exception || others == (0x1001, 0x1003), "eax, ecx: {others:x?}");
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
    unsafe { core::arch::asm!("pushfd", "pop {}", out(reg) flags, options(preserves_flags)) };
    flags
}

/// Whether a program had set them.
pub(in crate::tests::arch) fn has_flags(regs: &SavedRegs) -> bool {
    regs.eflags as usize & FLAGS_OF_A_PROGRAM == FLAGS_OF_A_PROGRAM
}

/// The same as [`spin`] with these flags set, and system call 0 before.
#[unsafe(naked)]
pub(in crate::tests::arch) extern "C" fn spin_with_flags() {
    naked_asm!(
        "pushfd",
        "or dword ptr [esp], {flags}",
        "popfd",
        // The word that it waits for.
        "mov dword ptr [esp - {word}], 0",
        "xor esi, esi",
        "xor eax, eax",
        "int 0x80",
        "2:",
        "inc esi",
        "cmp dword ptr [edi], 0",
        "je 2b",
        "mov eax, 1",
        "int 0x80",
        flags = const FLAGS_OF_A_PROGRAM,
        word = const size_of::<usize>(),
    )
}
