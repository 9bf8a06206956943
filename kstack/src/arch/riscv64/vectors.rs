//! The one vector: whether there is room.

use super::entry::{from_kernel, from_user};
use super::local::ArchLocal;
use super::overflow;
use super::regs::SavedRegs;
use super::save::unsaved;
use super::this_cpu::from_tp;
use crate::arch::cfi::interrupted;
use crate::local::CpuLocal;
use core::arch::global_asm;
use core::mem::size_of;
use kstack_core::addr::Addr;

/// The exponent of a stack's size: an offset into a stack is 0 when shifted by it.
const BODY_SHIFT: u32 = {
    let body = super::GEOMETRY.body().get();
    assert!(body.is_power_of_two());
    body.trailing_zeros()
};

// Every interrupt and exception starts here. In: every register as it was; interrupts off. `stvec`
// wants it 4-aligned.
global_asm!(
    ".section .text.kstack_entry, \"ax\"",
    ".balign 4",
    ".globl kstack_trap",
    "kstack_trap:",
    interrupted!(),
    unsaved!(),
    "csrrw tp, sscratch, tp",
    "bnez tp, {from_user}",
    // From the kernel: the exchange was one too many.
    "csrrw tp, sscratch, tp",
    "sd t0, {kept_t0}(tp)",
    // Do SavedRegs fit between SP and the line on the running thread's stack, which has RESERVE
    // below it? The offset of their lowest byte says so.
    "ld t0, {thread_line}(tp)",
    "sub t0, sp, t0",
    "addi t0, t0, -{regs}",
    "srli t0, t0, {body_shift}",
    "beqz t0, 2f",
    // On the IRQ stack? Counted from its top.
    "ld t0, {irq_top}(tp)",
    "sub t0, t0, sp",
    "addi t0, t0, {regs} - 1",
    "srli t0, t0, {body_shift}",
    "beqz t0, 2f",
    // On the overflow stack, where an overflow is being handled?
    "ld t0, {overflow_top}(tp)",
    "sub t0, t0, sp",
    "addi t0, t0, {regs} - 1",
    "srli t0, t0, {body_shift}",
    "beqz t0, 2f",
    // Before the CPU has stacks there is nothing to test against.
    "ld t0, {overflow_top}(tp)",
    "bnez t0, {no_room}",
    "2:",
    "ld t0, {kept_t0}(tp)",
    "j {from_kernel}",
    ".cfi_endproc",
    ".text",
    kept_t0 = const ArchLocal::T0,
    thread_line = const from_tp(CpuLocal::THREAD_LINE),
    irq_top = const from_tp(CpuLocal::IRQ_TOP),
    overflow_top = const ArchLocal::OVERFLOW_TOP,
    regs = const size_of::<SavedRegs>(),
    body_shift = const BODY_SHIFT,
    from_user = sym from_user,
    from_kernel = sym from_kernel,
    no_room = sym overflow::no_room,
);

unsafe extern "C" {
    static kstack_trap: u8;
}

/// The address for `stvec`.
pub(super) fn vector() -> Addr {
    Addr::new(&raw const kstack_trap as usize)
}
