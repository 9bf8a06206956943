//! The switch between two stacks. Everything else about a context switch is bookkeeping.
//!
//! ```text
//!   a stack that is switched away                 a stack that never ran
//!   | frames of the scheduler |                   | SavedRegs for user mode | 288 bytes at the top
//!   | x19 ... x28 |                               | x19=function x20=argument x21 ... x28 |
//!   | x29 | x30 | <- saved SP                     | x29 | x30=first_return | <- saved SP
//! ```
//!
//! Saved is exactly what the procedure call standard makes the callee save: x19 to x30. The two
//! lowest words are a frame record. The kernel is built without floating point, so that state is
//! the kernel's business, apart from the switch.

use crate::arch::cfi::called;
#[cfg(feature = "entry")]
use crate::arch::current::return_path;
use core::arch::naked_asm;
use core::mem::{offset_of, size_of};
use kstack_core::addr::Addr;

/// What [`switch`] leaves on a stack, lowest address first.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct SwitchFrame {
    /// The frame pointer.
    pub x29: u64,
    /// Where the switch returns to: the link register.
    pub x30: u64,
    /// x19 to x28.
    pub x19_to_x28: [u64; 10],
}

const _: () = assert!(size_of::<SwitchFrame>() == 96);

impl SwitchFrame {
    /// What [`switch`] finds on a stack that never ran, below the saved user registers at
    /// `regs_at`: frame pointer, and function and argument of a kernel thread or 0, for
    /// `return_path::first_return`.
    #[cfg(feature = "entry")]
    pub(crate) fn first(_regs_at: Addr, fp: usize, function: usize, argument: usize) -> Self {
        let mut frame = Self {
            x29: fp as u64,
            x30: return_path::first_return as *const () as u64,
            ..Self::default()
        };
        frame.x19_to_x28[0] = function as u64;
        frame.x19_to_x28[1] = argument as u64;
        frame
    }

    /// The same for a stack that calls `function(argument, message)` and nothing else; see
    /// [`bare_start`].
    pub(crate) fn bare(_regs_at: Addr, fp: usize, function: usize, argument: usize) -> Self {
        let mut frame =
            Self { x29: fp as u64, x30: bare_start as *const () as u64, ..Self::default() };
        frame.x19_to_x28[0] = function as u64;
        frame.x19_to_x28[1] = argument as u64;
        frame
    }

    /// The frame pointer of the thread that was switched away.
    pub const fn fp(&self) -> Addr {
        Addr::new(self.x29 as usize)
    }

    /// In the first frame of a kernel thread: its function. 0 for a thread that starts in user
    /// mode.
    pub const fn function(&self) -> usize {
        self.x19_to_x28[0] as usize
    }

    /// In the first frame of a kernel thread: its argument.
    pub const fn argument(&self) -> usize {
        self.x19_to_x28[1] as usize
    }

    /// Where it continues.
    pub const fn return_address(&self) -> Addr {
        Addr::new(self.x30 as usize)
    }
}

/// Leaves the current stack for the one whose saved SP is `to`, and stores the current SP to
/// `*from`.
///
/// Returns, on the *other* stack, the `message` that was passed by the switch to it. In: x0 =
/// from, x1 = to, x2 = message. Out: x0 = message. Clobbers x9. 18 instructions. The instruction
/// `mov sp, x1` is the switch.
///
/// # Safety
///
/// 1. Interrupts are off.
/// 2. `from` is valid for a write and belongs to the current thread; no CPU resumes that thread
///    before this switch is over (the saved SP is final only once this CPU has left the stack).
/// 3. `to` was stored by this function or made by
///    [`first_frame::build`](crate::first_frame::build), on a stack that is mapped, and is used
///    once.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub unsafe extern "C" fn switch(from: *mut usize, to: usize, message: usize) -> usize {
    naked_asm!(
        called!(),
        ".cfi_remember_state",
        "stp x29, x30, [sp, #-{frame}]!",
        ".cfi_def_cfa_offset {frame}",
        ".cfi_rel_offset x29, 0",
        ".cfi_rel_offset x30, {word}",
        "stp x19, x20, [sp, #{saved}]",
        "stp x21, x22, [sp, #{saved} + 2 * {word}]",
        "stp x23, x24, [sp, #{saved} + 4 * {word}]",
        "stp x25, x26, [sp, #{saved} + 6 * {word}]",
        "stp x27, x28, [sp, #{saved} + 8 * {word}]",
        ".cfi_rel_offset x19, {saved} + 0 * {word}",
        ".cfi_rel_offset x20, {saved} + 1 * {word}",
        ".cfi_rel_offset x21, {saved} + 2 * {word}",
        ".cfi_rel_offset x22, {saved} + 3 * {word}",
        ".cfi_rel_offset x23, {saved} + 4 * {word}",
        ".cfi_rel_offset x24, {saved} + 5 * {word}",
        ".cfi_rel_offset x25, {saved} + 6 * {word}",
        ".cfi_rel_offset x26, {saved} + 7 * {word}",
        ".cfi_rel_offset x27, {saved} + 8 * {word}",
        ".cfi_rel_offset x28, {saved} + 9 * {word}",
        // The switch back loads what lies here.
        "mov x9, sp",
        "str x9, [x0]",
        // The stack that is left is dirty, and its owner's stores on this CPU end here. That the
        // CPU has marked its pages dirty is seen by the next reader of the marks, on whichever CPU,
        // only behind a DSB for loads and stores on *this* one (Arm ARM, D8.5.3, rule MKHJS):
        // without it a dead thread's stack could be parked with pages that are not zero.
        "dsb ish",
        "mov sp, x1",
        ".globl kstack_switch_resume",
        "kstack_switch_resume:",
        "ldp x19, x20, [sp, #{saved}]",
        "ldp x21, x22, [sp, #{saved} + 2 * {word}]",
        "ldp x23, x24, [sp, #{saved} + 4 * {word}]",
        "ldp x25, x26, [sp, #{saved} + 6 * {word}]",
        "ldp x27, x28, [sp, #{saved} + 8 * {word}]",
        "ldp x29, x30, [sp], #{frame}",
        ".cfi_restore_state",
        "mov x0, x2",
        "ret",
        ".cfi_endproc",
        frame = const size_of::<SwitchFrame>(),
        saved = const offset_of!(SwitchFrame, x19_to_x28),
        word = const size_of::<u64>(),
    )
}

/// Where a stack starts that runs one function and knows nothing of the kernel: the switch returns
/// to here, interrupts as they were.
///
/// In: x0 = the switch's message, x19 = function, x20 = its argument.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_own")]
extern "C" fn bare_start() {
    naked_asm!(
        called!(),
        ".cfi_undefined x30",
        "mov x1, x0",
        "mov x0, x20",
        "blr x19",
        "brk #1",
        ".cfi_endproc",
    )
}
