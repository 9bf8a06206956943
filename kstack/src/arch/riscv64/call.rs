//! A call on another stack.
//!
//! ```text
//!   old stack                      new stack
//!   |                | <- s0       top -> | ra                |  first frame of the callee: its saved s0
//!   | ra             |                    | s0 (of old stack) |  points back to the old stack. That pointer
//!   | previous s0    | <- old SP                                is the seam the unwinder follows
//! ```

use crate::arch::cfi::seam;
use core::arch::naked_asm;

/// Runs `callee(first, second)` with SP at `top`, then returns on the old stack.
///
/// In: a0 = first, a1 = second, a2 = callee, a3 = top. Clobbers the caller-saved registers. SP is
/// back where it was. Interrupts are left as they are. Cost: 11 instructions.
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
        // A frame record on the old stack: s0 is how this function, and the unwinder, find the old
        // stack again.
        "addi sp, sp, -{record}",
        ".cfi_def_cfa_offset {record}",
        "sd s0, 0(sp)",
        "sd ra, {word}(sp)",
        "addi s0, sp, {record}",
        ".cfi_def_cfa s0, 0",
        ".cfi_offset s0, -{record}",
        ".cfi_offset ra, {word} - {record}",
        // From here on we are on the new stack. A single instruction: there is no moment between
        // two stacks.
        "mv sp, a3",
        "jalr a2",
        "addi sp, s0, -{record}",
        ".cfi_def_cfa sp, {record}",
        "ld s0, 0(sp)",
        "ld ra, {word}(sp)",
        "addi sp, sp, {record}",
        ".cfi_restore_state",
        "ret",
        ".cfi_endproc",
        record = const 2 * size_of::<usize>(),
        word = const size_of::<usize>(),
    )
}
