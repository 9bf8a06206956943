//! A call on another stack.
//!
//! ```text
//!   old stack                      new stack
//!   | return address |             top -> | (first frame of the callee) |
//!   | saved rbp      | <- rbp             its saved rbp points back to the old stack:
//!                                          that pointer is the seam the unwinder follows
//! ```

use crate::arch::cfi::seam;
use core::arch::naked_asm;

/// Runs `callee(first, second)` with SP at `top`, then returns on the old stack.
///
/// In: rdi = first, rsi = second, rdx = callee, rcx = top. Clobbers the caller-saved registers. SP
/// is back where it was. Interrupts are left as they are. Cost: 9 instructions.
///
/// # Safety
///
/// 1. `top` is the 16-aligned top of a stack that nothing else uses until this call returns.
/// 2. `callee` does not unwind and does not end the thread.
/// 3. If interrupts can arrive during the call, the CPU's in-use mark for that stack has been set.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub unsafe extern "C" fn call_on_stack(
    first: usize,
    second: usize,
    callee: extern "C" fn(usize, usize),
    top: usize,
) {
    naked_asm!(
        seam!(),
        // A frame record on the old stack: rbp is how this function, and the unwinder, find the old
        // stack again.
        "push rbp",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rbp, 0",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        // From here on we are on the new stack. A single instruction: there is no moment between
        // two stacks.
        "mov rsp, rcx",
        "call rdx",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        ".cfi_same_value rbp",
        "ret",
        ".cfi_endproc",
    )
}
