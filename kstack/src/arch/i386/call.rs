//! A call on another stack.
//!
//! ```text
//!   old stack                      new stack
//!   | return address |             top -> | second | first | return address |
//!   | saved ebp      | <- ebp             | the callee's saved ebp points back to the old stack: |
//!                                         | that pointer is the seam the unwinder follows        |
//! ```

use crate::arch::cfi::seam;
use core::arch::naked_asm;
use core::mem::size_of;

/// Bytes of a word. The frame record that the callee finds through ebp is two of them, and the
/// arguments lie above it.
const WORD: usize = size_of::<usize>();

/// Runs `callee(first, second)` with SP at `top`, then returns on the old stack.
///
/// In: first, second, callee, top on the stack. Clobbers the caller-saved registers. SP is back
/// where it was. Interrupts are left as they are. Cost: 14 instructions.
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
        // A frame record on the old stack: ebp is how this function, and the unwinder, find the old
        // stack again.
        "push ebp",
        ".cfi_adjust_cfa_offset {WORD}",
        ".cfi_rel_offset ebp, 0",
        "mov ebp, esp",
        ".cfi_def_cfa_register ebp",
        "mov eax, [ebp + {RECORD}]",
        "mov edx, [ebp + {RECORD} + {WORD}]",
        "mov ecx, [ebp + {RECORD} + {WORD} * 2]",
        // From here on we are on the new stack. A single instruction: there is no moment between
        // two stacks.
        "mov esp, [ebp + {RECORD} + {WORD} * 3]",
        // Two words of arguments, and two more so that SP is 16-aligned at the call.
        "sub esp, 2 * {WORD}",
        "push edx",
        "push eax",
        "call ecx",
        "mov esp, ebp",
        "pop ebp",
        ".cfi_def_cfa esp, {WORD}",
        ".cfi_same_value ebp",
        "ret",
        ".cfi_endproc",
        WORD = const WORD,
        RECORD = const 2 * WORD,
    )
}
