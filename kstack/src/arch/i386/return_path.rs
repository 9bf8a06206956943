//! The return path of every entry, and where a stack that never ran starts.

use super::regs::SavedRegs;
use super::save::{
    AT_CS, AT_EFLAGS, AT_EIP, AT_ESP, AT_SS, WORD, frame_above_word, pop_segment, regs_at,
};
use crate::arch::cfi::{called, interrupted};
use crate::end_word::END_WORD;
use core::arch::naked_asm;
use core::mem::offset_of;

/// Goes back to wherever the SavedRegs at SP came from. SP: at SavedRegs.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn return_path() {
    naked_asm!(
        interrupted!(),
        regs_at!("esp", "0"),
        // The handler may have run with interrupts on. From here to iret they stay off (invariant
        // 7).
        "cli",
        "test byte ptr [esp + {cs}], 3",
        "jz {restore}",
        "mov ebx, esp",
        ".cfi_def_cfa_register ebx",
        "and esp, -16",
        "sub esp, 3 * {word}",
        "push ebx",
        "call {before_user}",
        "mov esp, ebx",
        "jmp {restore}",
        ".cfi_endproc",
        cs = const offset_of!(SavedRegs, cs),
        word = const WORD,
        before_user = sym crate::hooks::before_user,
        restore = sym restore,
    )
}

/// A naked function that loads every register from the SavedRegs at SP and continues there. What
/// it is given runs before, and once the lowest word is loaded. Interrupts are off.
macro_rules! restoring {
    ([$($before:expr),* $(,)?] [$($behind:expr),*] $($operands:tt)*) => {
        naked_asm!(
            interrupted!(),
            regs_at!("esp", "0"),
            $($before,)*
            "pop ebx",
            ".cfi_adjust_cfa_offset -{WORD}",
            ".cfi_same_value ebx",
            $($behind,)*
            "pop ecx",
            ".cfi_adjust_cfa_offset -{WORD}",
            ".cfi_same_value ecx",
            "pop edx",
            ".cfi_adjust_cfa_offset -{WORD}",
            ".cfi_same_value edx",
            "pop esi",
            ".cfi_adjust_cfa_offset -{WORD}",
            ".cfi_same_value esi",
            "pop edi",
            ".cfi_adjust_cfa_offset -{WORD}",
            ".cfi_same_value edi",
            "pop ebp",
            ".cfi_adjust_cfa_offset -{WORD}",
            ".cfi_same_value ebp",
            "pop eax",
            ".cfi_adjust_cfa_offset -{WORD}",
            ".cfi_same_value eax",
            pop_segment!("ds"),
            ".cfi_adjust_cfa_offset -{WORD}",
            pop_segment!("es"),
            ".cfi_adjust_cfa_offset -{WORD}",
            pop_segment!("fs"),
            ".cfi_adjust_cfa_offset -{WORD}",
            pop_segment!("gs"),
            ".cfi_adjust_cfa_offset -{WORD}",
            // SP is at orig_eax, a word above the place of gs.
            "test byte ptr [esp - {WORD} + {AT_CS}], 3",
            "jz 2f",
            "add esp, {WORD}",
            ".cfi_adjust_cfa_offset -{WORD}",
            "iretd",
            // To the kernel: iret pops three words and leaves SP above them, so they must end where
            // SP was. DS may be a program's here (it is, if an entry from user mode was interrupted
            // at its first instruction), hence SS.
            "2:",
            ".cfi_def_cfa esp, {AT_SS}",
            "push eax",
            ".cfi_adjust_cfa_offset {WORD}",
            ".cfi_rel_offset eax, 0",
            "push ecx",
            ".cfi_adjust_cfa_offset {WORD}",
            ".cfi_rel_offset ecx, 0",
            // The three words go over the place of SP: from here on it is in another one, and told
            // by memory.
            "push [esp + {WORD} + {AT_ESP}]",
            ".cfi_adjust_cfa_offset {WORD}",
            ".cfi_rel_offset esp, 0",
            "mov eax, [esp]",
            "mov ecx, [esp + {WORD} * 2 + {AT_EFLAGS}]",
            "mov ss:[eax - {WORD}], ecx",
            "mov ecx, [esp + {WORD} * 2 + {AT_CS}]",
            "mov ss:[eax - {WORD} * 2], ecx",
            "mov ecx, [esp + {WORD} * 2 + {AT_EIP}]",
            "mov ss:[eax - {WORD} * 3], ecx",
            // The saved eax goes right below them.
            "mov ecx, [esp + {WORD} * 2]",
            "mov ss:[eax - {WORD} * 4], ecx",
            "mov ecx, [esp + {WORD}]",
            ".cfi_same_value ecx",
            "lea esp, [eax - {WORD} * 4]",
            frame_above_word!(),
            ".cfi_restore esp",
            ".cfi_rel_offset eax, 0",
            "pop eax",
            ".cfi_adjust_cfa_offset -{WORD}",
            ".cfi_same_value eax",
            "iretd",
            ".cfi_endproc",
            WORD = const WORD,
            AT_EIP = const AT_EIP,
            AT_CS = const AT_CS,
            AT_EFLAGS = const AT_EFLAGS,
            AT_ESP = const AT_ESP,
            AT_SS = const AT_SS,
            $($operands)*
        )
    };
}

/// The end of every entry but debug exceptions.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn restore() {
    restoring!([] [])
}

/// The end of a debug exception: the same again, so that a breakpoint on the other does not lead
/// back to itself.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_own")]
pub(super) extern "C" fn restore_after_debug() {
    restoring!([] [])
}

/// The end of an NMI or a debug exception that hit a thread with just enough left of its stack for
/// the registers: they went over the end word, or what clears the flags did, a word below them.
/// They are given up, and the thread is not: so the word is written again, as soon as what is there
/// has been loaded. An NMI in between finds no room, and ends the thread.
///
/// In: eax = how far SP stands above the lowest word, 0 or a word.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_own")]
pub(super) extern "C" fn restore_at_end() {
    restoring!(
        [
            "test eax, eax",
            "jz 3f",
            "mov dword ptr [esp - {WORD}], {END}",
            "jmp {restore}",
            "3:",
        ]
        ["mov dword ptr [esp - {WORD}], {END}"]
        END = const END_WORD,
        restore = sym restore_after_debug,
    )
}

/// Where a stack that never ran starts: the switch returns to here.
///
/// In: eax = the switch's message, ebx = function or 0, edi = its argument, ebp = outermost marker.
/// Interrupts off.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn first_return() {
    naked_asm!(
        called!(),
        ".cfi_undefined 8",
        // SavedRegs is at SP now; Rust code wants SP 16-aligned at a call.
        "mov esi, esp",
        "and esp, -16",
        "sub esp, 3 * {word}",
        "push eax",
        "call {after_switch}",
        "test ebx, ebx",
        "jz 2f",
        "sti",
        // In place of the argument before.
        "mov [esp], edi",
        "call ebx",
        "mov [esp], esi",
        "call {after_function}",
        "2:",
        "mov esp, esi",
        "jmp {return_path}",
        ".cfi_endproc",
        word = const WORD,
        after_switch = sym crate::hooks::after_switch,
        after_function = sym crate::hooks::after_function,
        return_path = sym return_path,
    )
}
