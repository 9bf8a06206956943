//! The return path of every entry but `syscall`'s short one, and where a stack that never ran
//! starts.

use super::regs::SavedRegs;
use super::save::{regs_at_sp, restore_to_rdi};
use crate::arch::cfi::{called, interrupted};
use core::arch::naked_asm;
use core::mem::offset_of;

/// Goes back to wherever the SavedRegs at SP came from. SP: at SavedRegs.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn return_path() {
    naked_asm!(
        interrupted!(),
        regs_at_sp!(),
        // The handler may have run with interrupts on. From here to iretq they stay off (invariant
        // 2).
        "cli",
        "test byte ptr [rsp + {cs}], 3",
        "jz 2f",
        "mov rdi, rsp",
        "sub rsp, 8",
        ".cfi_adjust_cfa_offset 8",
        "call {before_user}",
        "add rsp, 8",
        ".cfi_adjust_cfa_offset -8",
        // An address that is not canonical would fault at iretq (Intel SDM vol. 2, IRET), in the
        // kernel and behind swapgs. With its high bits set it is one of the upper half, where user
        // mode faults itself. Between, nothing changes: interrupts are off.
        "mov rax, [rsp + {rip}]",
        "shr rax, 47",
        "neg rax",
        "sbb rax, rax",
        "shl rax, 47",
        "or [rsp + {rip}], rax",
        "swapgs",
        "2:",
        restore_to_rdi!(),
        // The error code.
        "add rsp, 8",
        ".cfi_adjust_cfa_offset -8",
        "iretq",
        ".cfi_endproc",
        rip = const offset_of!(SavedRegs, rip),
        cs = const offset_of!(SavedRegs, cs),
        before_user = sym crate::hooks::before_user,
    )
}

/// Where a stack that never ran starts: the switch returns to here.
///
/// In: rax = the switch's message, rbx = function or 0, r12 = its argument, rbp = outermost marker.
/// Interrupts off.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub(super) extern "C" fn first_return() {
    naked_asm!(
        called!(),
        ".cfi_undefined rip",
        // Rust code wants SP 16-aligned at a call; SavedRegs (168 bytes) is at SP now.
        "sub rsp, 8",
        "mov rdi, rax",
        "call {after_switch}",
        "test rbx, rbx",
        "jz 2f",
        "sti",
        "mov rdi, r12",
        "call rbx",
        "lea rdi, [rsp + {aligned}]",
        "call {after_function}",
        "2:",
        "add rsp, 8",
        "jmp {return_path}",
        ".cfi_endproc",
        aligned = const 8,
        after_switch = sym crate::hooks::after_switch,
        after_function = sym crate::hooks::after_function,
        return_path = sym return_path,
    )
}
