//! What all entries share: how all registers are saved and loaded again, and the segments changed.

use super::regs::{MARK, SavedRegs};
use core::mem::{offset_of, size_of};

/// In the flags: user mode checks alignment; the kernel may touch user pages.
pub(super) const ALIGNMENT_CHECK: u32 = 1 << 18;
/// Flags with nothing set but the bit that always is: interrupts off.
pub(super) const NO_FLAGS: u32 = 2;

/// Bytes of a word.
pub(super) const WORD: usize = size_of::<u32>();

/// From the place of gs, where the stub leaves the vector, up to the other words of SavedRegs.
pub(super) const AT_ORIG: usize = offset_of!(SavedRegs, orig_eax) - offset_of!(SavedRegs, gs);
pub(super) const AT_EIP: usize = offset_of!(SavedRegs, eip) - offset_of!(SavedRegs, gs);
pub(super) const AT_CS: usize = offset_of!(SavedRegs, cs) - offset_of!(SavedRegs, gs);
pub(super) const AT_EFLAGS: usize = offset_of!(SavedRegs, eflags) - offset_of!(SavedRegs, gs);
pub(super) const AT_ESP: usize = offset_of!(SavedRegs, esp) - offset_of!(SavedRegs, gs);
pub(super) const AT_SS: usize = offset_of!(SavedRegs, ss) - offset_of!(SavedRegs, gs);
/// Bytes that an entry from the kernel makes room for: esp and ss.
pub(super) const GAP: usize = size_of::<SavedRegs>() - offset_of!(SavedRegs, esp);

/// Pushes a segment register as a word of four bytes: the instruction's code, because the assembler
/// takes its name for the one that pushes two.
macro_rules! push_segment {
    ("ds") => {
        ".byte 0x1e"
    };
    ("es") => {
        ".byte 0x06"
    };
    ("fs") => {
        ".byte 0x0f, 0xa0"
    };
}

/// The reverse.
macro_rules! pop_segment {
    ("ds") => {
        ".byte 0x1f"
    };
    ("es") => {
        ".byte 0x07"
    };
    ("fs") => {
        ".byte 0x0f, 0xa1"
    };
    ("gs") => {
        ".byte 0x0f, 0xa9"
    };
}

/// Describes what the CPU pushes for an entry from the kernel, without an error code: at SP (Intel
/// SDM vol. 3, 6.12.1). From user mode SP is not told until SavedRegs are whole.
macro_rules! frame_at_sp {
    () => {
        "
        .cfi_def_cfa esp, 3 * 4
        .cfi_rel_offset 8, 0
        "
    };
}

/// Describes the same with a word below it: an error code.
macro_rules! frame_above_word {
    () => {
        "
        .cfi_def_cfa esp, 4 * 4
        .cfi_rel_offset 8, 4
        "
    };
}

/// Describes the same with the stub's words below it.
macro_rules! frame_above_stub {
    () => {
        "
        .cfi_def_cfa esp, 5 * 4
        .cfi_rel_offset 8, 2 * 4
        "
    };
}

/// Describes SavedRegs that begin `$mark` bytes below what is in a register.
macro_rules! regs_at {
    ($register:literal, $mark:literal) => {
        concat!(
            ".cfi_def_cfa ",
            $register,
            ", 17 * 4 - ",
            $mark,
            "
        .cfi_offset ebx, -17 * 4
        .cfi_offset ecx, -16 * 4
        .cfi_offset edx, -15 * 4
        .cfi_offset esi, -14 * 4
        .cfi_offset edi, -13 * 4
        .cfi_offset ebp, -12 * 4
        .cfi_offset eax, -11 * 4
        .cfi_offset 8, -5 * 4
        .cfi_offset esp, -2 * 4
        "
        )
    };
}

// What the descriptions count on; xtask reads the built kernel's against the fields, one by one.
const _: () = assert!(
    size_of::<SavedRegs>() == 17 * WORD
        && offset_of!(SavedRegs, eip) == 12 * WORD
        && offset_of!(SavedRegs, esp) == 15 * WORD
        && MARK == 1
);

/// A naked function that starts with the stub's words on the stack and saves all of SavedRegs.
/// After it: SP at SavedRegs, esi = vector, ebp marked, ebx = SP, segments the kernel's.
macro_rules! saving_entry {
    ([$($line:expr),* $(,)?] $($operands:tt)*) => {
        core::arch::naked_asm!(
            $crate::arch::cfi::interrupted!(),
            $crate::arch::i386::save::frame_above_stub!(),
            "test byte ptr [esp + {AT_CS}], 3",
            "jnz 19f",
            // From the kernel: new place of the frame, and a word below it for eax. The old place
            // is GAP higher.
            "sub esp, {GAP} + {WORD}",
            ".cfi_adjust_cfa_offset {GAP} + {WORD}",
            "mov [esp], eax",
            ".cfi_rel_offset eax, 0",
            "mov eax, [esp + {WORD} + {GAP}]",
            "mov [esp + {WORD}], eax",
            "mov eax, [esp + {WORD} + {GAP} + {AT_ORIG}]",
            "mov [esp + {WORD} + {AT_ORIG}], eax",
            "mov eax, [esp + {WORD} + {GAP} + {AT_EIP}]",
            "mov [esp + {WORD} + {AT_EIP}], eax",
            ".cfi_rel_offset 8, {WORD} + {AT_EIP}",
            "mov eax, [esp + {WORD} + {GAP} + {AT_CS}]",
            "mov [esp + {WORD} + {AT_CS}], eax",
            "mov eax, [esp + {WORD} + {GAP} + {AT_EFLAGS}]",
            "mov [esp + {WORD} + {AT_EFLAGS}], eax",
            // What the CPU pushed began right below the interrupted SP: where the new frame ends.
            "lea eax, [esp + {WORD} + {AT_SS} + {WORD}]",
            "mov [esp + {WORD} + {AT_ESP}], eax",
            "mov eax, ss",
            "mov [esp + {WORD} + {AT_SS}], eax",
            "pop eax",
            "19:",
            ".cfi_def_cfa esp, {AT_SS} + {WORD}",
            ".cfi_rel_offset 8, {AT_EIP}",
            ".cfi_rel_offset esp, {AT_ESP}",
            ".cfi_same_value eax",
            push_segment!("fs"),
            ".cfi_adjust_cfa_offset {WORD}",
            push_segment!("es"),
            ".cfi_adjust_cfa_offset {WORD}",
            push_segment!("ds"),
            ".cfi_adjust_cfa_offset {WORD}",
            "push eax",
            ".cfi_adjust_cfa_offset {WORD}",
            ".cfi_rel_offset eax, 0",
            "push ebp",
            ".cfi_adjust_cfa_offset {WORD}",
            ".cfi_rel_offset ebp, 0",
            "push edi",
            ".cfi_adjust_cfa_offset {WORD}",
            ".cfi_rel_offset edi, 0",
            "push esi",
            ".cfi_adjust_cfa_offset {WORD}",
            ".cfi_rel_offset esi, 0",
            "push edx",
            ".cfi_adjust_cfa_offset {WORD}",
            ".cfi_rel_offset edx, 0",
            "push ecx",
            ".cfi_adjust_cfa_offset {WORD}",
            ".cfi_rel_offset ecx, 0",
            "push ebx",
            ".cfi_adjust_cfa_offset {WORD}",
            ".cfi_rel_offset ebx, 0",
            // The kernel's code is compiled for a clear direction flag; a program may have set it.
            "cld",
            // Invariant 8.
            "test dword ptr [esp + {EFLAGS}], {ALIGNMENT_CHECK}",
            "jz 20f",
            "push {NO_FLAGS}",
            ".cfi_adjust_cfa_offset {WORD}",
            "popfd",
            ".cfi_adjust_cfa_offset -{WORD}",
            "20:",
            "mov esi, [esp + {GS}]",
            "mov [esp + {GS}], gs",
            "mov eax, {KERNEL_DATA}",
            "mov ds, eax",
            "mov es, eax",
            "mov eax, {PER_CPU}",
            "mov fs, eax",
            "mov eax, {GUARD_SEGMENT}",
            "mov gs, eax",
            "lea ebp, [esp + {MARK}]",
            $crate::arch::i386::save::regs_at!("ebp", "1"),
            "mov ebx, esp",
            $($line,)*
            ".cfi_endproc",
            WORD = const $crate::arch::i386::save::WORD,
            GAP = const $crate::arch::i386::save::GAP,
            GUARD_SEGMENT = const $crate::arch::i386::tables::GUARD_SEGMENT,
            AT_ORIG = const $crate::arch::i386::save::AT_ORIG,
            AT_EIP = const $crate::arch::i386::save::AT_EIP,
            AT_CS = const $crate::arch::i386::save::AT_CS,
            AT_EFLAGS = const $crate::arch::i386::save::AT_EFLAGS,
            AT_ESP = const $crate::arch::i386::save::AT_ESP,
            AT_SS = const $crate::arch::i386::save::AT_SS,
            GS = const core::mem::offset_of!($crate::arch::i386::regs::SavedRegs, gs),
            EFLAGS = const core::mem::offset_of!($crate::arch::i386::regs::SavedRegs, eflags),
            ALIGNMENT_CHECK = const $crate::arch::i386::save::ALIGNMENT_CHECK,
            NO_FLAGS = const $crate::arch::i386::save::NO_FLAGS,
            KERNEL_DATA = const $crate::arch::i386::tables::KERNEL_DATA,
            PER_CPU = const $crate::arch::i386::tables::PER_CPU,
            MARK = const $crate::arch::i386::regs::MARK,
            $($operands)*
        )
    };
}
pub(super) use {frame_above_stub, frame_above_word, frame_at_sp, regs_at};
pub(super) use {pop_segment, push_segment, saving_entry};
