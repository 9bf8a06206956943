//! The `sysenter` instruction: its entry and its return path.
//!
//! The instruction saves nothing: not where it was, not SP. So the programs' side is fixed, as on
//! Linux: a program pushes ecx, edx and ebp, copies esp to ebp and executes `sysenter`; it
//! continues at one place for all programs, which the kernel names
//! ([`set_sysenter_return`](super::local::ArchLocal::set_sysenter_return)), with SP = ebp and ecx
//! and edx lost, and pops them there.

use super::local::ArchLocal;
use super::regs::{INTERRUPTS_ON, MARK, SavedRegs};
use super::return_path::restore;
use super::save::{AT_EFLAGS, AT_EIP, AT_ESP, NO_FLAGS, WORD, pop_segment, push_segment, regs_at};
use super::tables;
use crate::arch::cfi::interrupted;
use core::arch::naked_asm;
use core::mem::{offset_of, size_of};

/// Flags that `popf` right before `sysexit` must not load: interrupts (a `sti` comes last), trap,
/// nested task, resume.
const NOT_BY_SYSEXIT: u32 = 0x200 | 0x100 | 0x4000 | 0x1_0000;
/// The same without interrupts: with one of these set, the return is by `iret`.
const NEEDS_IRET: u32 = NOT_BY_SYSEXIT & !INTERRUPTS_ON;
/// From the top of the CPU's tables, where `sysenter` sets SP, down to the word that holds the
/// thread stack's top.
const DOWN_TO_ESP1: usize = size_of::<tables::CpuTables>() - tables::CpuTables::ESP1;

/// The `sysenter` instruction. ebp = the user's SP; eip and the flags' interrupt bit are lost;
/// interrupts off.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn sysenter_entry() {
    naked_asm!(
        interrupted!(),
        // Of the program only SP is left, in a register.
        ".cfi_undefined 8",
        ".cfi_register esp, ebp",
        // One instruction from the entry stack to the thread stack: nothing is ever pushed on the
        // entry stack but by an NMI or a debug exception right here.
        "mov esp, [esp - {DOWN_TO_ESP1}]",
        "push {user_data}",
        "push ebp",
        "pushfd",
        // Unlike a gate, the instruction leaves the trap, nested-task, direction and
        // alignment-check flags as they were; with the second one set, the next iret would be a
        // task switch.
        "push {NO_FLAGS}",
        "popfd",
        "or dword ptr [esp], {interrupts_on}",
        "push {user_code}",
        // Place of eip.
        "push eax",
        "push eax",
        // Place of gs.
        "push 0",
        push_segment!("fs"),
        push_segment!("es"),
        push_segment!("ds"),
        "push eax",
        "push ebp",
        "push edi",
        "push esi",
        "push edx",
        "push ecx",
        "push ebx",
        "mov [esp + {gs}], gs",
        "mov eax, {kernel_data}",
        "mov ds, eax",
        "mov es, eax",
        "mov eax, {per_cpu}",
        "mov fs, eax",
        "mov eax, {guard_segment}",
        "mov gs, eax",
        "mov eax, fs:[{sysenter_return}]",
        "mov [esp + {eip}], eax",
        "lea ebp, [esp + {MARK}]",
        regs_at!("ebp", "1"),
        "mov ebx, esp",
        "and esp, -16",
        "sub esp, 3 * {word}",
        "push ebx",
        // Everything that belongs to the user is saved: interrupts may come.
        "sti",
        "call {on_syscall}",
        "cli",
        // No interrupt may find work after the look and before user mode.
        "mov [esp], ebx",
        "call {before_user}",
        "mov esp, ebx",
        // sysexit takes eip from edx and esp from ecx, and flat user segments. It is used only to
        // go back to where every sysenter goes back to, which expects that.
        "mov eax, [esp + {eip}]",
        "cmp eax, fs:[{sysenter_return}]",
        "jne {restore}",
        "cmp word ptr [esp + {cs}], {user_code}",
        "jne {restore}",
        "cmp word ptr [esp + {ss}], {user_data}",
        "jne {restore}",
        "test dword ptr [esp + {eflags}], {NEEDS_IRET}",
        "jnz {restore}",
        regs_at!("esp", "0"),
        "pop ebx",
        ".cfi_adjust_cfa_offset -{word}",
        ".cfi_same_value ebx",
        "add esp, 2 * {word}", // ecx and edx
        ".cfi_adjust_cfa_offset -2 * {word}",
        "pop esi",
        ".cfi_adjust_cfa_offset -{word}",
        ".cfi_same_value esi",
        "pop edi",
        ".cfi_adjust_cfa_offset -{word}",
        ".cfi_same_value edi",
        "pop ebp",
        ".cfi_adjust_cfa_offset -{word}",
        ".cfi_same_value ebp",
        "pop eax",
        ".cfi_adjust_cfa_offset -{word}",
        ".cfi_same_value eax",
        pop_segment!("ds"),
        ".cfi_adjust_cfa_offset -{word}",
        pop_segment!("es"),
        ".cfi_adjust_cfa_offset -{word}",
        pop_segment!("fs"),
        ".cfi_adjust_cfa_offset -{word}",
        pop_segment!("gs"),
        ".cfi_adjust_cfa_offset -{word}",
        "mov edx, [esp - {word} + {AT_EIP}]",
        "mov ecx, [esp - {word} + {AT_ESP}]",
        "and dword ptr [esp - {word} + {AT_EFLAGS}], ~{NOT_BY_SYSEXIT}",
        "add esp, {AT_EFLAGS} - {word}",
        ".cfi_adjust_cfa_offset {word} - {AT_EFLAGS}",
        ".cfi_register esp, ecx",
        ".cfi_register 8, edx",
        ".cfi_same_value ecx",
        ".cfi_same_value edx",
        "popfd",
        ".cfi_adjust_cfa_offset -{word}",
        // Interrupts are taken after the instruction that follows sti at the earliest: in user
        // mode.
        "sti",
        "sysexit",
        ".cfi_endproc",
        DOWN_TO_ESP1 = const DOWN_TO_ESP1,
        MARK = const MARK,
        NO_FLAGS = const NO_FLAGS,
        NOT_BY_SYSEXIT = const NOT_BY_SYSEXIT,
        NEEDS_IRET = const NEEDS_IRET,
        AT_EIP = const AT_EIP,
        AT_ESP = const AT_ESP,
        AT_EFLAGS = const AT_EFLAGS,
        interrupts_on = const INTERRUPTS_ON,
        word = const WORD,
        user_data = const tables::USER_DATA,
        user_code = const tables::USER_CODE,
        kernel_data = const tables::KERNEL_DATA,
        guard_segment = const tables::GUARD_SEGMENT,
        per_cpu = const tables::PER_CPU,
        sysenter_return = const ArchLocal::SYSENTER_RETURN,
        gs = const offset_of!(SavedRegs, gs),
        eip = const offset_of!(SavedRegs, eip),
        cs = const offset_of!(SavedRegs, cs),
        ss = const offset_of!(SavedRegs, ss),
        eflags = const offset_of!(SavedRegs, eflags),
        on_syscall = sym crate::hooks::on_syscall,
        before_user = sym crate::hooks::before_user,
        restore = sym restore,
    )
}
