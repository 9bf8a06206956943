//! Stopping at one chosen instruction: the hardware breakpoint.
//!
//! For the sweep that lands an interrupt on every instruction of the entry code. The lengths cover
//! the instructions that appear there, and are checked by what the CPU executes: an address that is
//! no instruction is never reached. Source: Intel SDM vol. 2, chapter 2 and appendix A; vol. 3,
//! section 19.2 (debug registers).

use crate::arch::regs::SavedRegs;
use core::arch::asm;

pub use crate::arch::pc::length::instruction_length;

/// Flags: the instruction that comes next does not stop at its breakpoint.
pub const RESUME: u32 = 1 << 16;

/// Stops this CPU, with a debug exception, right before it executes the instruction at `at`;
/// `None`: nowhere.
pub fn set_breakpoint(at: Option<usize>) {
    const EXECUTE_HERE: usize = 1;
    let (address, control) = at.map_or((0, 0), |at| (at, EXECUTE_HERE));
    // SAFETY: (1) the debug registers are the kernel's alone; (2) the kernel has a handler for what
    // they raise.
    unsafe {
        asm!("mov dr7, {zero}", "mov dr0, {address}", "mov dr7, {control}", zero = in(reg) 0_u32,
             address = in(reg) address, control = in(reg) control, options(nostack, preserves_flags));
    }
}

/// The instruction that saved registers lead to does not stop at its breakpoint.
pub(in crate::arch) fn resume(regs: &mut SavedRegs) {
    regs.eflags |= RESUME;
}

/// Moves saved registers past an instruction of so many bytes.
pub fn over(regs: &mut SavedRegs, bytes: u32) {
    regs.eip = regs.eip.wrapping_add(bytes);
}
