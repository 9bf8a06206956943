//! What all entries share: how all registers are saved and loaded again, and the segments changed.

use super::regs::SavedRegs;
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

/// Pushes a segment register as a word of four bytes: the instruction's code, because the assembler takes its name for the one
/// that pushes two.
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

/// A naked function that starts with the stub's words on the stack and saves all of SavedRegs. After it: SP at SavedRegs,
/// esi = vector, ebp marked, ebx = SP, segments the kernel's.
macro_rules! saving_entry {
    ([$($line:expr),* $(,)?] $($operands:tt)*) => {
        core::arch::naked_asm!(
            "test byte ptr [esp + {AT_CS}], 3",
            "jnz 19f",
            // From the kernel: new place of the frame, and a word below it for eax. The old place is GAP higher.
            "sub esp, {GAP} + {WORD}",
            "mov [esp], eax",
            "mov eax, [esp + {WORD} + {GAP}]",
            "mov [esp + {WORD}], eax",
            "mov eax, [esp + {WORD} + {GAP} + {AT_ORIG}]",
            "mov [esp + {WORD} + {AT_ORIG}], eax",
            "mov eax, [esp + {WORD} + {GAP} + {AT_EIP}]",
            "mov [esp + {WORD} + {AT_EIP}], eax",
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
            // The kernel's code is compiled for a clear direction flag; a program may have set it.
            "cld",
            // Invariant 8.
            "test dword ptr [esp + {EFLAGS}], {ALIGNMENT_CHECK}",
            "jz 20f",
            "push {NO_FLAGS}",
            "popfd",
            "20:",
            "mov esi, [esp + {GS}]",
            "mov [esp + {GS}], gs",
            "mov eax, {KERNEL_DATA}",
            "mov ds, eax",
            "mov es, eax",
            "mov eax, {PER_CPU}",
            "mov fs, eax",
            "xor eax, eax",
            "mov gs, eax",
            "lea ebp, [esp + {MARK}]",
            "mov ebx, esp",
            $($line,)*
            WORD = const $crate::arch::i386::save::WORD,
            GAP = const $crate::arch::i386::save::GAP,
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
pub(super) use {pop_segment, push_segment, saving_entry};
