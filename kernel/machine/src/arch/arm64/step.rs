//! Stopping at one chosen instruction: the hardware breakpoint, and how long instructions are.
//!
//! Source: Arm ARM, D2 (self-hosted debug) and D24.3 (debug registers). Debug exceptions are masked
//! in the entry code proper, up to the line after which the interrupted registers are saved; a
//! breakpoint there does not stop.

use super::regs::SavedRegs;
use core::arch::asm;

/// Bytes of the instruction that starts `code`: all are alike.
pub fn instruction_length(code: &[u8]) -> Option<usize> {
    const EVERY: usize = 4;
    (code.len() >= EVERY).then_some(EVERY)
}

/// Stops this CPU, with a debug exception, right before it executes the instruction at `at`;
/// `None`: nowhere.
pub fn set_breakpoint(at: Option<usize>) {
    /// Enabled, in EL1 only, all four bytes.
    const EXECUTE_HERE: u64 = 1 | 1 << 1 | 0xf << 5;
    /// Debug exceptions from the kernel, and at all.
    const KERNEL_AND_MONITOR: u64 = 1 << 13 | 1 << 15;
    let (address, control, enable) =
        at.map_or((0, 0, 0), |at| (at, EXECUTE_HERE, KERNEL_AND_MONITOR));
    // SAFETY: (1) the debug registers are the kernel's alone; (2) the kernel has a handler for what
    // they raise.
    unsafe {
        asm!("msr dbgbcr0_el1, xzr", "msr dbgbvr0_el1, {address}", "msr dbgbcr0_el1, {control}", "msr mdscr_el1, {enable}",
             "isb", address = in(reg) address, control = in(reg) control, enable = in(reg) enable,
             options(nostack, preserves_flags));
    }
}

/// In a saved PSTATE: the next instruction is executed before the step counts.
const STEP_ONE: u64 = 1 << 21;
/// In MDSCR_EL1: single steps, debug exceptions in the kernel.
const STEPS: u64 = 1 | 1 << 13;
/// Exception class of a single step in the kernel.
const STEPPED: u64 = 0x33;

/// In the handler of a debug exception: no breakpoint, but another debug exception behind the next
/// instruction.
pub fn step_over(regs: &mut SavedRegs) {
    set_breakpoint(None);
    regs.pstate |= STEP_ONE;
    // SAFETY: (1) as for the breakpoint.
    unsafe { asm!("msr mdscr_el1, {}", "isb", in(reg) STEPS, options(nostack, preserves_flags)) };
}

/// In the handler of a debug exception: whether it is the one that [`step_over`] asked for; then
/// there are no more of them.
pub fn has_stepped(regs: &mut SavedRegs) -> bool {
    let stepped = regs.esr >> 26 == STEPPED;
    if stepped {
        regs.pstate &= !STEP_ONE;
        // SAFETY: (1) as for the breakpoint.
        unsafe { asm!("msr mdscr_el1, xzr", "isb", options(nostack, preserves_flags)) };
    }
    stepped
}
