//! The return path to programs, and where a stack that never ran starts. To the kernel an entry
//! returns itself.

use super::regs::SavedRegs;
use super::save::{DEBUG_AND_SERROR, INTERRUPTS, load_and_return, regs_at};
use crate::arch::cfi::{called, interrupted};
use core::arch::naked_asm;
use core::mem::{offset_of, size_of};

/// Back to the program whose SavedRegs are at SP. SP: at SavedRegs, the highest of the stack.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn return_to_user() {
    naked_asm!(
        interrupted!(),
        regs_at!("sp", "0"),
        // No interrupt may find work after the look and before user mode.
        "msr daifset, #{interrupts}",
        "mov x0, sp",
        "bl {before_user}",
        // From here on nothing comes in. The program does not learn where its thread lies.
        "msr daifset, #0xf",
        "msr tpidrro_el0, xzr",
        load_and_return!(),
        ".cfi_endproc",
        interrupts = const INTERRUPTS,
        x = const offset_of!(SavedRegs, x),
        word = const size_of::<u64>(),
        pc = const offset_of!(SavedRegs, pc),
        before_user = sym crate::hooks::before_user,
    )
}

/// Where a stack that never ran starts: the switch returns to here.
///
/// In: x0 = the switch's message, x19 = function or 0, x20 = its argument, x29 = outermost marker.
/// Interrupts off. SP: at SavedRegs.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn first_return() {
    naked_asm!(
        called!(),
        ".cfi_undefined x30",
        "bl {after_switch}",
        "cbz x19, 2f",
        "msr daifclr, #{all_but_fiq}",
        "mov x0, x20",
        "blr x19",
        "mov x0, sp",
        "bl {after_function}",
        "2:",
        "b {return_to_user}",
        ".cfi_endproc",
        all_but_fiq = const DEBUG_AND_SERROR | INTERRUPTS,
        after_switch = sym crate::hooks::after_switch,
        after_function = sym crate::hooks::after_function,
        return_to_user = sym return_to_user,
    )
}
