//! A call on another stack.
//!
//! ```text
//!   old stack                      new stack
//!   | return address |             top -> | (first frame of the callee) |
//!   | saved r11      | <- r11             its saved r11 points back to the old stack:
//!                                          that pointer is the seam the unwinder follows
//! ```

use crate::arch::cfi::seam;
use core::arch::naked_asm;

/// Runs `callee(first, second)` with SP at `top`, then returns on the old stack.
///
/// In: r0 = first, r1 = second, r2 = callee, r3 = top. Clobbers the caller-saved registers. SP is
/// back where it was. Interrupts are left as they are. Cost: 6 instructions.
///
/// With `thread-info-on-stack` the new stack's low end gets the word that the old one has there:
/// `current` is found by masking SP on this stack too.
///
/// # Safety
///
/// 1. `top` is the 8-aligned top of a stack that nothing else uses until this call returns.
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
        // A frame record on the old stack: r11 is how this function, and the unwinder, find the old
        // stack again.
        "push {{r11, lr}}",
        ".cfi_def_cfa_offset 2 * {word}",
        ".cfi_rel_offset r11, 0",
        ".cfi_rel_offset lr, {word}",
        "mov r11, sp",
        ".cfi_def_cfa_register r11",
        ".if {on_stack}",
        "lsr ip, sp, #{body_shift}",
        "lsl ip, ip, #{body_shift}",
        "ldr ip, [ip]",
        "sub lr, r3, #{one}",
        "lsr lr, lr, #{body_shift}",
        "lsl lr, lr, #{body_shift}",
        "str ip, [lr]",
        ".endif",
        // From here on we are on the new stack. A single instruction: there is no moment between
        // two stacks.
        "mov sp, r3",
        "blx r2",
        "mov sp, r11",
        ".cfi_def_cfa_register sp",
        "pop {{r11, pc}}",
        ".cfi_endproc",
        on_stack = const super::local::THREAD_INFO_ON_STACK as usize,
        body_shift = const super::local::BODY_SHIFT,
        one = const 1,
        word = const size_of::<usize>(),
    )
}
