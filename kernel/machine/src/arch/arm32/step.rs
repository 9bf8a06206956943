//! Stopping at one chosen instruction: the hardware breakpoint.
//!
//! Source: ARMv7-A manual, part C (debug registers, through coprocessor 14).

use core::arch::asm;

/// Bytes of the instruction that starts `code`: there is no Thumb code here.
pub fn instruction_length(code: &[u8]) -> Option<usize> {
    (code.len() >= 4).then_some(4)
}

/// Stops this CPU, with a debug event, right before it executes the instruction at `at`; `None`:
/// nowhere.
pub fn set_breakpoint(at: Option<usize>) {
    /// All four bytes of the instruction; in user mode and in the kernel; on.
    const EXECUTE_HERE: u32 = 0xf << 5 | 0b11 << 1 | 1;
    /// In the debug status and control register: breakpoints stop the CPU with an abort.
    const MONITOR: u32 = 1 << 15;
    let (address, control) = at.map_or((0, 0), |at| (at, EXECUTE_HERE));
    // SAFETY: (1) the debug registers are the kernel's alone; (2) the kernel has a handler for what
    // they raise.
    unsafe {
        asm!(
            // Unlock, off, address, on.
            "mcr p14, 0, {zero}, c1, c0, 4",
            "mcr p14, 0, {zero}, c0, c0, 5",
            "mcr p14, 0, {address}, c0, c0, 4",
            "mrc p14, 0, {scratch}, c0, c2, 2",
            "orr {scratch}, {scratch}, {monitor}",
            "mcr p14, 0, {scratch}, c0, c2, 2",
            "mcr p14, 0, {control}, c0, c0, 5",
            "isb",
            zero = in(reg) 0_u32,
            address = in(reg) address,
            control = in(reg) control,
            monitor = in(reg) MONITOR,
            scratch = out(reg) _,
            options(nostack, preserves_flags),
        );
    }
}
