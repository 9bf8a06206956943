//! A call on another stack.
//!
//! ```text
//!   old stack                      new stack
//!   | saved x30 |                  top -> | (first frame of the callee) |
//!   | saved x29 | <- x29                  its saved x29 points back to the old stack:
//!                                         that pointer is the seam the unwinder follows
//! ```

use crate::arch::cfi::seam;
use core::arch::naked_asm;

/// Runs `callee(first, second)` with SP at `top`, then returns on the old stack.
///
/// In: x0 = first, x1 = second, x2 = callee, x3 = top. Clobbers the caller-saved registers. SP is
/// back where it was. Interrupts are left as they are. Cost: 7 instructions.
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
        ".cfi_remember_state",
        // A frame record on the old stack: x29 is how this function, and the unwinder, find the old
        // stack again.
        "stp x29, x30, [sp, #-{record}]!",
        ".cfi_def_cfa_offset {record}",
        ".cfi_rel_offset x29, 0",
        ".cfi_rel_offset x30, {word}",
        "mov x29, sp",
        ".cfi_def_cfa_register x29",
        // From here on we are on the new stack. A single instruction: there is no moment between
        // two stacks.
        "mov sp, x3",
        "blr x2",
        "mov sp, x29",
        ".cfi_def_cfa_register sp",
        "ldp x29, x30, [sp], #{record}",
        ".cfi_restore_state",
        "ret",
        ".cfi_endproc",
        word = const size_of::<u64>(),
        record = const 2 * size_of::<u64>(),
    )
}
