//! Interrupts off and on, for the CPU this runs on: the I bit of DAIF. Debug exceptions, SError and
//! FIQ have bits of their own, which only entry code touches.

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
    let daif: u64;
    // SAFETY: (1) only reads and sets the mask; memory is clobbered, so nothing moves across.
    unsafe { asm!("mrs {}, daif", "msr daifset, #2", out(reg) daif, options(nostack)) };
    daif & super::regs::INTERRUPTS_OFF == 0
}

/// Turns interrupts off, where they are known to be on.
///
/// # Safety
///
/// 1. As for [`off`].
#[inline(always)]
pub(crate) unsafe fn mask() {
    // SAFETY: (1) only clears the interrupt flag; memory is clobbered, so nothing moves across.
    unsafe { asm!("msr daifset, #2", options(nostack, preserves_flags)) };
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
    unsafe { asm!("msr daifclr, #2", options(nostack)) };
}

/// Whether interrupts are on.
#[inline(always)]
pub fn are_on() -> bool {
    let daif: u64;
    // SAFETY: (1) only reads the mask.
    unsafe { asm!("mrs {}, daif", out(reg) daif, options(nostack, preserves_flags)) };
    daif & super::regs::INTERRUPTS_OFF == 0
}

/// Lets debug exceptions and SErrors come. In an exception handler, once ESR_EL1 and its like have
/// been read.
#[inline(always)]
pub(super) fn debug_and_serror_on() {
    // SAFETY: (1) the interrupted registers are saved, so that a nested exception harms nothing.
    unsafe { asm!("msr daifclr, #0xc", options(nostack)) };
}

/// Lowers SP by LOWER bytes, turns interrupts on and takes an exception, right here: its entry
/// finds no room. For [`crate::room`] alone; nothing is written to the stack.
#[inline(always)]
pub(crate) fn trap_without_room<const LOWER: usize>() -> ! {
    // SAFETY: (1) the exception does not return: there is less left on the stack than its entry
    // asks for.
    unsafe {
        asm!("sub sp, sp, #{lower}", "msr daifclr, #2", "brk #2", lower = const LOWER,
             options(noreturn, nostack));
    }
}
