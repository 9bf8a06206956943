//! What entries from all modes share: how registers get from the mode's words, and from everywhere
//! else, to SavedRegs.

use super::regs::SavedRegs;
use core::mem::offset_of;

/// Describes SavedRegs that begin at what is in a register. The interrupted address has a column of
/// its own, that of PC: LR was in use (DWARF for the Arm Architecture, 4.1).
macro_rules! regs_at {
    ($register:literal) => {
        concat!(
            ".cfi_def_cfa ",
            $register,
            ", {size}
        .cfi_offset r0, 0 * 4 - {size}
        .cfi_offset r1, 1 * 4 - {size}
        .cfi_offset r2, 2 * 4 - {size}
        .cfi_offset r3, 3 * 4 - {size}
        .cfi_offset r4, 4 * 4 - {size}
        .cfi_offset r5, 5 * 4 - {size}
        .cfi_offset r6, 6 * 4 - {size}
        .cfi_offset r7, 7 * 4 - {size}
        .cfi_offset r8, 8 * 4 - {size}
        .cfi_offset r9, 9 * 4 - {size}
        .cfi_offset r10, 10 * 4 - {size}
        .cfi_offset r11, 11 * 4 - {size}
        .cfi_offset r12, 12 * 4 - {size}
        .cfi_offset sp, {sp_at} - {size}
        .cfi_offset lr, {sp_at} + 4 - {size}
        .cfi_offset pc, {pc} - {size}
        "
        )
    };
}
const _: () = assert!(
    offset_of!(SavedRegs, ip) == 12 * 4
        && offset_of!(SavedRegs, lr) == offset_of!(SavedRegs, sp) + 4
);

/// Describes code whose SavedRegs are not complete: where it came from is not told.
macro_rules! unsaved {
    () => {
        "
        .cfi_undefined pc
        .cfi_undefined lr
        "
    };
}

/// From user mode. In: r0 = the mode's words; SP_svc at the top of the thread stack; nothing in
/// LR_svc. Afterwards SP = r4 = SavedRegs, and the thread pointer is the kernel's.
macro_rules! save_from_user {
    () => {
        concat!(
            "
        sub sp, sp, #{size}
        stmib sp, {{r1-r12}}
        ldm r0, {{r1-r3}}
        str r1, [sp]
        str r2, [sp, #{pc}]
        str r3, [sp, #{cpsr}]
        mvn r4, #0
        str r4, [sp, #{orig_r0}]
        add r4, sp, #{sp_at}
        stm r4, {{sp, lr}}^
        mrc p15, 0, r5, c13, c0, 4
        ldr r5, [r5, #{thread}]
        mcr p15, 0, r5, c13, c0, 3
        mov r4, sp
        ",
            $crate::arch::arm32::save::regs_at!("r4")
        )
    };
}

/// From the kernel. In: r0 = the mode's words; SP = `reserve` bytes below where SavedRegs go; room
/// has been found. Afterwards SP = r4 = SavedRegs.
macro_rules! save_from_kernel {
    () => {
        concat!(
            "
        add sp, sp, #{reserve}
        stmib sp, {{r1-r12}}
        ldm r0, {{r1-r3}}
        str r1, [sp]
        add r4, sp, #{size}
        mov r5, lr
        mov r6, r2
        mov r7, r3
        mvn r8, #0
        add r9, sp, #{sp_at}
        stm r9, {{r4-r8}}
        mov r4, sp
        ",
            $crate::arch::arm32::save::regs_at!("r4")
        )
    };
}

pub(super) use {regs_at, unsaved};
pub(super) use {save_from_kernel, save_from_user};
