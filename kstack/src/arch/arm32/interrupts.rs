//! Interrupts off and on, for the CPU this runs on.

use core::arch::asm;

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
