//! The switch between two stacks. Everything else about a context switch is bookkeeping.
//!
//! ```text
//!   a stack that is switched away                 a stack that never ran
//!   | return address into the scheduler |         | SavedRegs for user mode | 288 bytes at the top
//!   | (unused) s11 .. s1 s0 ra | <- saved SP      | s2=argument s1=function s0 ra=first_return | <- saved SP
//! ```
//!
//! Saved is exactly what the calling convention makes the callee save: ra, s0 to s11. tp is the
//! CPU's, not the thread's. The kernel is built without floating point, so that state is the
//! kernel's business, apart from the switch.

use crate::arch::cfi::called;
#[cfg(feature = "entry")]
use crate::arch::current::return_path;
use core::arch::naked_asm;
use core::mem::{offset_of, size_of};
use kstack_core::addr::Addr;

/// What [`switch`] leaves on a stack, lowest address first.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(16))]
#[expect(missing_docs, reason = "the fields are the registers of the same names")]
pub struct SwitchFrame {
    /// Where the switch returns to.
    pub return_address: u64,
    pub s0: u64,
    pub s: [u64; 11],
}

const _: () = assert!(size_of::<SwitchFrame>() == 112);

/// In [`SwitchFrame::s`]: s1 and s2, in the first frame of a kernel thread.
const FUNCTION: usize = 0;
const ARGUMENT: usize = 1;

impl SwitchFrame {
    /// What [`switch`] finds on a stack that never ran, below the saved user registers at
    /// `regs_at`: frame pointer, and function and argument of a kernel thread or 0, for
    /// `return_path::first_return`.
    #[cfg(feature = "entry")]
    pub(crate) fn first(_regs_at: Addr, fp: usize, function: usize, argument: usize) -> Self {
        let mut frame = Self {
            s0: fp as u64,
            return_address: return_path::first_return as *const () as u64,
            ..Self::default()
        };
        frame.s[FUNCTION] = function as u64;
        frame.s[ARGUMENT] = argument as u64;
        frame
    }

    /// The same for a stack that calls `function(argument, message)` and nothing else; see
    /// [`bare_start`].
    pub(crate) fn bare(_regs_at: Addr, fp: usize, function: usize, argument: usize) -> Self {
        let mut frame = Self {
            s0: fp as u64,
            return_address: bare_start as *const () as u64,
            ..Self::default()
        };
        frame.s[FUNCTION] = function as u64;
        frame.s[ARGUMENT] = argument as u64;
        frame
    }

    /// The frame pointer of the thread that was switched away.
    pub const fn fp(&self) -> Addr {
        Addr::new(self.s0 as usize)
    }

    /// In the first frame of a kernel thread: its function. 0 for a thread that starts in user
    /// mode.
    pub const fn function(&self) -> usize {
        self.s[FUNCTION] as usize
    }

    /// In the first frame of a kernel thread: its argument.
    pub const fn argument(&self) -> usize {
        self.s[ARGUMENT] as usize
    }

    /// Where it continues.
    pub const fn return_address(&self) -> Addr {
        Addr::new(self.return_address as usize)
    }
}

/// Leaves the current stack for the one whose saved SP is `to`, and stores the current SP to
/// `*from`.
///
/// Returns, on the *other* stack, the `message` that was passed by the switch to it. In: a0 =
/// from, a1 = to, a2 = message. Out: a0 = message. 32 instructions. The instruction `mv sp, a1` is
/// the switch.
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
        "addi sp, sp, -{frame}",
        ".cfi_def_cfa_offset {frame}",
        "sd ra, {ra}(sp)",
        "sd s0, {s0}(sp)",
        "sd s1, {s}(sp)",
        "sd s2, {s} + {word}(sp)",
        "sd s3, {s} + 2 * {word}(sp)",
        "sd s4, {s} + 3 * {word}(sp)",
        "sd s5, {s} + 4 * {word}(sp)",
        "sd s6, {s} + 5 * {word}(sp)",
        "sd s7, {s} + 6 * {word}(sp)",
        "sd s8, {s} + 7 * {word}(sp)",
        "sd s9, {s} + 8 * {word}(sp)",
        "sd s10, {s} + 9 * {word}(sp)",
        "sd s11, {s} + 10 * {word}(sp)",
        ".cfi_rel_offset ra, {ra}",
        ".cfi_rel_offset s0, {s0}",
        ".cfi_rel_offset s1, {s} + 0 * {word}",
        ".cfi_rel_offset s2, {s} + 1 * {word}",
        ".cfi_rel_offset s3, {s} + 2 * {word}",
        ".cfi_rel_offset s4, {s} + 3 * {word}",
        ".cfi_rel_offset s5, {s} + 4 * {word}",
        ".cfi_rel_offset s6, {s} + 5 * {word}",
        ".cfi_rel_offset s7, {s} + 6 * {word}",
        ".cfi_rel_offset s8, {s} + 7 * {word}",
        ".cfi_rel_offset s9, {s} + 8 * {word}",
        ".cfi_rel_offset s10, {s} + 9 * {word}",
        ".cfi_rel_offset s11, {s} + 10 * {word}",
        // The switch back loads what lies here.
        "sd sp, 0(a0)",
        "mv sp, a1",
        ".globl kstack_switch_resume",
        "kstack_switch_resume:",
        "ld ra, {ra}(sp)",
        "ld s0, {s0}(sp)",
        "ld s1, {s}(sp)",
        "ld s2, {s} + {word}(sp)",
        "ld s3, {s} + 2 * {word}(sp)",
        "ld s4, {s} + 3 * {word}(sp)",
        "ld s5, {s} + 4 * {word}(sp)",
        "ld s6, {s} + 5 * {word}(sp)",
        "ld s7, {s} + 6 * {word}(sp)",
        "ld s8, {s} + 7 * {word}(sp)",
        "ld s9, {s} + 8 * {word}(sp)",
        "ld s10, {s} + 9 * {word}(sp)",
        "ld s11, {s} + 10 * {word}(sp)",
        "addi sp, sp, {frame}",
        ".cfi_restore_state",
        "mv a0, a2",
        "ret",
        ".cfi_endproc",
        frame = const size_of::<SwitchFrame>(),
        ra = const offset_of!(SwitchFrame, return_address),
        s0 = const offset_of!(SwitchFrame, s0),
        s = const offset_of!(SwitchFrame, s),
        word = const size_of::<u64>(),
    )
}

/// Where a stack starts that runs one function and knows nothing of the kernel: the switch returns
/// to here, interrupts as they were.
///
/// In: a0 = the switch's message, s1 = function, s2 = its argument.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_own")]
extern "C" fn bare_start() {
    naked_asm!(
        called!(),
        ".cfi_undefined ra",
        "mv a1, a0",
        "mv a0, s2",
        "jalr s1",
        "unimp",
        ".cfi_endproc",
    )
}
