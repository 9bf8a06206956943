//! The return path of every entry but a FIQ's from the kernel, and where a stack that never ran
//! starts.

use super::local::ArchLocal;
use super::regs::{SavedRegs, USER_MODE};
use super::save::regs_at;
use crate::arch::cfi::{called, interrupted};
use core::arch::naked_asm;
use core::mem::{offset_of, size_of};

/// Goes back to wherever the SavedRegs at SP came from. SP: at SavedRegs.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn return_path() {
    naked_asm!(
        interrupted!(),
        regs_at!("sp"),
        // The handler may have run with interrupts on. From here to the return they stay off
        // (invariant 2).
        "cpsid i",
        "ldr r1, [sp, #{cpsr}]",
        "tst r1, #{not_user}",
        "bne 2f",

        "mov r0, sp",
        "bl {before_user}",
        "b {to_user}",

        "2:",
        "msr spsr_cxsf, r1",
        // An exclusive store that was begun before must not succeed now.
        "clrex",
        // All of them at once, SP, PC and CPSR too: there is no moment with half of the interrupted
        // context.
        "ldm sp, {{r0-r12, sp, lr, pc}}^",
        ".cfi_endproc",
        cpsr = const offset_of!(SavedRegs, cpsr),
        pc = const offset_of!(SavedRegs, pc),
        sp_at = const offset_of!(SavedRegs, sp),
        size = const size_of::<SavedRegs>(),
        not_user = const !USER_MODE & 0xf,
        before_user = sym crate::hooks::before_user,
        to_user = sym to_user,
    )
}

/// To user mode, with nothing left to do. SP: at SavedRegs. IRQ masked.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn to_user() {
    naked_asm!(
        interrupted!(),
        regs_at!("sp"),
        "mrc p15, 0, r2, c13, c0, 4",
        "ldr r2, [r2, #{user_tls}]",
        "mcr p15, 0, r2, c13, c0, 3",
        "ldr r1, [sp, #{cpsr}]",
        "ldr lr, [sp, #{pc}]",
        "msr spsr_cxsf, r1",
        "clrex",
        "add r0, sp, #{sp_at}",
        "ldm r0, {{sp, lr}}^",
        // No banked register right after a load of user registers.
        "nop",
        "ldm sp, {{r0-r12}}",
        "add sp, sp, #{size}",
        ".cfi_undefined pc",
        ".cfi_undefined lr",
        "movs pc, lr",
        ".cfi_endproc",
        cpsr = const offset_of!(SavedRegs, cpsr),
        pc = const offset_of!(SavedRegs, pc),
        sp_at = const offset_of!(SavedRegs, sp),
        size = const size_of::<SavedRegs>(),
        user_tls = const ArchLocal::USER_TLS,
    )
}

/// Where a stack that never ran starts: the switch returns to here.
///
/// In: r0 = the switch's message, r4 = argument, r5 = function or 0, r11 = outermost marker; SP at
/// SavedRegs. Interrupts off.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn first_return() {
    naked_asm!(
        called!(),
        ".cfi_undefined lr",
        "bl {after_switch}",
        "cmp r5, #0",
        "beq 2f",
        "cpsie i",
        "mov r0, r4",
        "blx r5",
        "mov r0, sp",
        "bl {after_function}",
        "2:",
        "b {return_path}",
        ".cfi_endproc",
        after_switch = sym crate::hooks::after_switch,
        after_function = sym crate::hooks::after_function,
        return_path = sym return_path,
    )
}
