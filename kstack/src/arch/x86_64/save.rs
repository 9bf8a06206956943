//! What entries, NMIs and double faults share: how all registers are saved and restored, and whose
//! the GS base is.

use super::regs::SavedRegs;
use core::mem::{offset_of, size_of};

/// In the flags: user mode checks alignment; the kernel may touch user pages.
pub(super) const ALIGNMENT_CHECK: u64 = 1 << 18;
/// Flags with nothing set but the bit that always is: interrupts off.
pub(super) const NO_FLAGS: u64 = 2;

/// Pushes all of SavedRegs below rdi, and marks rbp. Stub and CPU have pushed the rest.
macro_rules! save_below_rdi {
    () => {
        "
        push rsi
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rsi, 0
        push rdx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rdx, 0
        push rcx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rcx, 0
        push rax
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rax, 0
        push r8
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r8, 0
        push r9
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r9, 0
        push r10
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r10, 0
        push r11
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r11, 0
        push rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbx, 0
        push rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbp, 0
        push r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r12, 0
        push r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r13, 0
        push r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r14, 0
        push r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r15, 0
        lea rbp, [rsp + 1]
        .cfi_def_cfa rbp, 21 * 8 - 1
        "
    };
}

/// Pops all of SavedRegs up to and with rdi; SP is at `orig_rax` after it.
macro_rules! restore_to_rdi {
    () => {
        "
        .cfi_def_cfa rsp, 21 * 8
        pop r15
        .cfi_adjust_cfa_offset -8
        .cfi_same_value r15
        pop r14
        .cfi_adjust_cfa_offset -8
        .cfi_same_value r14
        pop r13
        .cfi_adjust_cfa_offset -8
        .cfi_same_value r13
        pop r12
        .cfi_adjust_cfa_offset -8
        .cfi_same_value r12
        pop rbp
        .cfi_adjust_cfa_offset -8
        .cfi_same_value rbp
        pop rbx
        .cfi_adjust_cfa_offset -8
        .cfi_same_value rbx
        pop r11
        .cfi_adjust_cfa_offset -8
        .cfi_same_value r11
        pop r10
        .cfi_adjust_cfa_offset -8
        .cfi_same_value r10
        pop r9
        .cfi_adjust_cfa_offset -8
        .cfi_same_value r9
        pop r8
        .cfi_adjust_cfa_offset -8
        .cfi_same_value r8
        pop rax
        .cfi_adjust_cfa_offset -8
        .cfi_same_value rax
        pop rcx
        .cfi_adjust_cfa_offset -8
        .cfi_same_value rcx
        pop rdx
        .cfi_adjust_cfa_offset -8
        .cfi_same_value rdx
        pop rsi
        .cfi_adjust_cfa_offset -8
        .cfi_same_value rsi
        pop rdi
        .cfi_adjust_cfa_offset -8
        .cfi_same_value rdi
        "
    };
}

/// Makes GS base the kernel's if it is not; ebx = 1 if it was the user's. Kernel addresses are
/// negative.
macro_rules! look_at_gs {
    () => {
        "
        mov ecx, 0xc0000101
        rdmsr
        xor ebx, ebx
        test edx, edx
        js 12f
        swapgs
        mov ebx, 1
        12:
        "
    };
}

/// The reverse of `look_at_gs`.
macro_rules! give_gs_back {
    () => {
        "
        test ebx, ebx
        jz 13f
        swapgs
        13:
        "
    };
}

/// Describes the CPU's frame, without an error code: at SP (Intel SDM vol. 3, figure 7-4).
macro_rules! frame_at_sp {
    () => {
        "
        .cfi_def_cfa rsp, 5 * 8
        .cfi_rel_offset rip, 0
        .cfi_rel_offset rsp, 3 * 8
        .cfi_same_value rax
        "
    };
}

/// Describes the same with a word below it: an error code.
macro_rules! frame_above_word {
    () => {
        "
        .cfi_def_cfa rsp, 6 * 8
        .cfi_rel_offset rip, 8
        .cfi_rel_offset rsp, 4 * 8
        "
    };
}

/// Describes the same with rax below it.
macro_rules! frame_above_rax {
    () => {
        "
        .cfi_def_cfa rsp, 6 * 8
        .cfi_rel_offset rip, 8
        .cfi_rel_offset rsp, 4 * 8
        .cfi_rel_offset rax, 0
        "
    };
}

/// Describes the CPU's frame with what a stub pushes: an error code, and rdi.
macro_rules! frame_above_rdi {
    () => {
        "
        .cfi_def_cfa rsp, 7 * 8
        .cfi_rel_offset rip, 2 * 8
        .cfi_rel_offset rsp, 5 * 8
        .cfi_rel_offset rdi, 0
        "
    };
}

/// Describes SavedRegs at SP.
macro_rules! regs_at_sp {
    () => {
        "
        .cfi_def_cfa rsp, 21 * 8
        .cfi_rel_offset r15, 0
        .cfi_rel_offset r14, 8
        .cfi_rel_offset r13, 2 * 8
        .cfi_rel_offset r12, 3 * 8
        .cfi_rel_offset rbp, 4 * 8
        .cfi_rel_offset rbx, 5 * 8
        .cfi_rel_offset r11, 6 * 8
        .cfi_rel_offset r10, 7 * 8
        .cfi_rel_offset r9, 8 * 8
        .cfi_rel_offset r8, 9 * 8
        .cfi_rel_offset rax, 10 * 8
        .cfi_rel_offset rcx, 11 * 8
        .cfi_rel_offset rdx, 12 * 8
        .cfi_rel_offset rsi, 13 * 8
        .cfi_rel_offset rdi, 14 * 8
        .cfi_rel_offset rip, 16 * 8
        .cfi_rel_offset rsp, 19 * 8
        "
    };
}

// What the descriptions count on; xtask reads the built kernel's against the fields, one by one.
const _: () = assert!(
    size_of::<SavedRegs>() == 21 * 8
        && offset_of!(SavedRegs, rip) == 16 * 8
        && offset_of!(SavedRegs, rsp) == 19 * 8
);

pub(super) use {frame_above_rax, frame_above_rdi, frame_above_word, frame_at_sp, regs_at_sp};
pub(super) use {give_gs_back, look_at_gs, restore_to_rdi, save_below_rdi};
