//! Interrupts off and on, for the CPU this runs on.

use super::regs::INTERRUPTS_ON_NOW;
use core::arch::asm;

/// Whether [`off`] writes to the stack while interrupts are still on, so that an SP that stands in
/// the guard is found there.
pub(crate) const OFF_WRITES_TO_STACK: bool = false;

/// Turns interrupts off and returns whether they were on.
///
/// # Safety
///
/// 1. The CPU is in the kernel's mode, where this instruction is allowed.
/// 2. The caller turns them on again: what waits for an interrupt of this CPU would
///    wait in vain.
#[inline(always)]
pub unsafe fn off() -> bool {
    let status: u64;
    // SAFETY: (1) only reads and clears the interrupt flag; memory is clobbered, so nothing moves
    // across.
    unsafe {
        asm!("csrrci {}, sstatus, {flag}", out(reg) status, flag = const INTERRUPTS_ON_NOW, options(nostack));
    }
    status & INTERRUPTS_ON_NOW != 0
}

/// Turns interrupts off, where they are known to be on.
///
/// # Safety
///
/// 1. As for [`off`].
#[inline(always)]
pub(crate) unsafe fn mask() {
    // SAFETY: (1) only clears the interrupt flag; memory is clobbered, so nothing moves across.
    unsafe { asm!("csrci sstatus, {flag}", flag = const INTERRUPTS_ON_NOW, options(nostack)) };
}

/// Turns interrupts on.
///
/// # Safety
///
/// 1. The CPU is in the kernel's mode, with its tables loaded.
/// 2. Nothing that the caller, or its callers, have under way relies on interrupts being off.
#[inline(always)]
pub unsafe fn on() {
    // SAFETY: (1) (2) by the caller's promise; memory is clobbered, so nothing moves across.
    unsafe { asm!("csrsi sstatus, {flag}", flag = const INTERRUPTS_ON_NOW, options(nostack)) };
}

/// Whether interrupts are on.
#[inline(always)]
pub fn are_on() -> bool {
    let status: u64;
    // SAFETY: (1) only reads the flags.
    unsafe { asm!("csrr {}, sstatus", out(reg) status, options(nostack)) };
    status & INTERRUPTS_ON_NOW != 0
}

/// Lowers SP by LOWER bytes, turns interrupts on and takes an exception, right here: its entry
/// finds no room. For [`crate::room`] alone; nothing is written to the stack.
#[inline(always)]
pub(crate) fn trap_without_room<const LOWER: usize>() -> ! {
    // SAFETY: (1) the exception does not return: there is less left on the stack than its entry
    // asks for.
    unsafe {
        asm!("addi sp, sp, -{lower}", "csrsi sstatus, {flag}", "unimp", lower = const LOWER,
             flag = const INTERRUPTS_ON_NOW,
             options(noreturn, nostack));
    }
}
