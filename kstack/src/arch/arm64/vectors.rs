//! The vector table: what each slot does before it knows whether there is room.

use super::RESERVE;
use super::entry::{kernel_irq, kernel_sync, user_irq, user_sync};
use super::overflow::{no_room_other, no_room_sync, second_fault};
use super::regs::SavedRegs;
use super::save::unsaved;
use super::save::{KEPT_PSTATE, OVERFLOW_BIT, SLOT_SCRATCH};
use crate::arch::cfi::interrupted;
use crate::local::CpuLocal;
use core::arch::global_asm;
use core::mem::size_of;
use kstack_core::addr::Addr;

global_asm!(
    ".section .text.kstack_entry, \"ax\"",
    // VBAR_EL1 has eleven low bits that are zero; each slot is 32 instructions long.
    ".balign {vectors}",
    ".globl kstack_vectors",
    "kstack_vectors:",
    interrupted!(),
    unsaved!(),
    // From the kernel on SP_EL0: synchronous, IRQ, FIQ, SError.
    ".macro from_kernel entry, no_room",
    ".balign {slot}",
    "stp x0, x1, [sp, #-{scratch}]",
    // Lost otherwise if a store through a wild SP faults: whether interrupts were on decides who
    // may be ended.
    "mrs x0, spsr_el1",
    "str x0, [sp, #-{kept_pstate}]",
    "mrs x0, sp_el0",
    // Room for SavedRegs, and RESERVE below them.
    "sub x0, x0, #{regs} + {reserve}",
    "tbnz x0, #{bit}, \\no_room",
    "add x0, x0, #{reserve}",
    "b \\entry",
    ".endm",
    "from_kernel {kernel_sync}, {no_room_sync}",
    "from_kernel {kernel_irq}, {no_room_other}",
    "from_kernel {kernel_sync}, {no_room_other}",
    "from_kernel {kernel_sync}, {no_room_sync}",
    // From the kernel on SP_EL1: it is the overflow handler, or a store of ours through a wild
    // address.
    ".rept 4",
    ".balign {slot}",
    "b {second_fault}",
    ".endr",
    // From user mode, 64-bit, then 32-bit: this kernel starts no such program, so it cannot come.
    ".macro from_user entry",
    ".balign {slot}",
    "stp x0, x1, [sp, #-{scratch}]",
    "mrs x1, tpidr_el1",
    "ldr x0, [x1, #{thread_top}]",
    "sub x0, x0, #{regs}",
    "b \\entry",
    ".endm",
    ".rept 2",
    "from_user {user_sync}",
    "from_user {user_irq}",
    "from_user {user_sync}",
    "from_user {user_sync}",
    ".endr",
    ".balign {slot}",
    ".cfi_endproc",
    ".purgem from_kernel",
    ".purgem from_user",
    ".text",
    vectors = const 2048,
    slot = const 128,
    scratch = const SLOT_SCRATCH,
    kept_pstate = const KEPT_PSTATE,
    regs = const size_of::<SavedRegs>(),
    reserve = const RESERVE.get(),
    bit = const OVERFLOW_BIT,
    thread_top = const CpuLocal::THREAD_TOP,
    kernel_sync = sym kernel_sync,
    kernel_irq = sym kernel_irq,
    user_sync = sym user_sync,
    user_irq = sym user_irq,
    no_room_sync = sym no_room_sync,
    no_room_other = sym no_room_other,
    second_fault = sym second_fault,
);

unsafe extern "C" {
    static kstack_vectors: u8;
}

/// What VBAR_EL1 is set to.
pub fn vectors() -> Addr {
    Addr::new(&raw const kstack_vectors as usize)
}
