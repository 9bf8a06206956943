//! Interrupts off and on, for the CPU this runs on.

use core::arch::asm;

/// Whether [`off`] writes to the stack while interrupts are still on, so that an SP that stands in the guard is found there.
pub(crate) const OFF_WRITES_TO_STACK: bool = false;

/// Turns interrupts off and says whether they were on.
#[inline(always)]
pub fn off() -> bool {
    let cpsr: u32;
    // SAFETY: (1) only reads CPSR and masks IRQ; memory is clobbered, so nothing moves across.
    unsafe { asm!("mrs {}, cpsr", "cpsid i", out(reg) cpsr, options(nostack, preserves_flags)) };
    cpsr & super::regs::IRQ_MASKED == 0
}

/// Turns interrupts on.
#[inline(always)]
pub fn on() {
    // SAFETY: (1) the callers hold nothing that an interrupt must not meet; memory is clobbered.
    unsafe { asm!("cpsie i", options(nostack, preserves_flags)) };
}

/// Whether interrupts are on.
#[inline(always)]
pub fn are_on() -> bool {
    let cpsr: u32;
    // SAFETY: (1) only reads CPSR.
    unsafe { asm!("mrs {}, cpsr", out(reg) cpsr, options(nostack, preserves_flags)) };
    cpsr & super::regs::IRQ_MASKED == 0
}

/// Lowers SP by LOWER bytes, turns interrupts on and takes an exception, right here: its entry finds no room. For
/// [`crate::room`] alone; nothing is written to the stack.
#[inline(always)]
pub(crate) fn trap_without_room<const LOWER: usize>() -> ! {
    // SAFETY: (1) the exception does not return: there is less left on the stack than its entry asks for.
    unsafe {
        asm!("sub sp, sp, #{lower}", "cpsie i", "udf #2", lower = const LOWER,
             options(noreturn, nostack));
    }
}
