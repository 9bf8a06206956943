//! The first frames of a stack that never ran, built by hand.
//!
//! ```text
//!   top ->  | what no architecture or only some leave free |
//!           | SavedRegs                                    |   <- user_regs_at: where the way to user mode begins
//!           | SwitchFrame: continues at the first function |   <- the SP to switch to
//! ```
//!
//! What is in the two is the architecture's ([`crate::arch::current::regs`],
//! [`crate::arch::current::switch`]); where they lie is the same everywhere.

use crate::arch::current::regs::{Rules, SavedRegs};
use crate::arch::current::switch::SwitchFrame;
use core::mem::{align_of, size_of};
use kstack_core::addr::{Addr, AddrRange, ByteSize};
use kstack_core::unwind::FrameRules;

/// What a new stack runs first, where the entry code of this library is used.
#[cfg(feature = "entry")]
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Start<'a> {
    /// A kernel thread: `function(argument)`, with interrupts on. If the function returns, the CPU
    /// continues in user mode if the saved user registers at the top of the stack have been filled
    /// in; otherwise the thread is over:
    /// [`Hooks::thread_returned`](crate::hooks::Hooks::thread_returned).
    Kernel {
        /// What to run.
        function: extern "C" fn(usize),
        /// Its argument.
        argument: usize,
    },
    /// Straight to user mode with these registers.
    User(&'a SavedRegs),
}

/// Bytes at the top of a stack that the saved user registers and what is free above them take.
const TAKEN: usize = Rules::FREE_AT_TOP.get() + size_of::<SavedRegs>();

// A top is page aligned, so both are aligned.
const _: () = {
    assert!(TAKEN.is_multiple_of(align_of::<SavedRegs>()));
    assert!((TAKEN + size_of::<SwitchFrame>()).is_multiple_of(align_of::<SwitchFrame>()));
};

/// Where the saved user registers of the thread on this stack lie (`task_pt_regs`). Of a range that
/// is no stack, the address wraps.
#[inline(always)]
pub const fn user_regs_at(stack: AddrRange) -> Addr {
    stack.top.wrapping_sub(ByteSize::new(TAKEN))
}

/// Builds the first frames of a new stack and returns the SP to switch to.
///
/// # Safety
///
/// 1. `stack` is mapped, writable, at least a page, its top page aligned, and no other code uses
///    it.
#[cfg(feature = "entry")]
#[must_use = "the stack begins at this SP and no other"]
pub unsafe fn build(stack: AddrRange, start: Start<'_>) -> usize {
    let regs_at = user_regs_at(stack);
    let (regs, frame) = match start {
        Start::Kernel { function, argument } => {
            let frame =
                SwitchFrame::first(regs_at, outermost(regs_at), function as usize, argument);
            (SavedRegs::default(), frame)
        }
        Start::User(regs) => (*regs, SwitchFrame::first(regs_at, outermost(regs_at), 0, 0)),
    };
    // SAFETY: (1) by the caller's promise.
    unsafe { write(regs_at, regs, frame) }
}

/// The same for a stack that runs `function(argument, message)`, `message` being what the first
/// switch to it passed, with interrupts as they were. Nothing of the entry code is used.
///
/// # Safety
///
/// 1. As for a [`Stack`](crate::Stack) that nothing runs on: `stack` is mapped, writable, at least
///    a page, its top page aligned, and no other code uses it.
#[must_use = "the stack begins at this SP and no other"]
pub unsafe fn build_bare(
    stack: AddrRange,
    function: extern "C" fn(argument: usize, message: usize) -> !,
    argument: usize,
) -> usize {
    let regs_at = user_regs_at(stack);
    let frame = SwitchFrame::bare(regs_at, outermost(regs_at), function as usize, argument);
    // SAFETY: (1) by the caller's promise.
    unsafe { write(regs_at, SavedRegs::default(), frame) }
}

/// The backtrace of any thread ends, reliably, where the registers of user mode are kept, used or
/// not. The mark leads there: 0 would say nothing, since any register that is no frame pointer can
/// hold it.
const fn outermost(regs_at: Addr) -> usize {
    regs_at.get() + 1
}

/// # Safety
///
/// 1. There is room for both at and below `regs_at`, which [`user_regs_at`] gave, and no other code
///    uses it.
unsafe fn write(regs_at: Addr, regs: SavedRegs, frame: SwitchFrame) -> usize {
    let frame_at = regs_at.get() - size_of::<SwitchFrame>();
    // SAFETY: (1) by the caller's promise; (2) both are aligned, see above.
    unsafe {
        (regs_at.get() as *mut SavedRegs).write(regs);
        (frame_at as *mut SwitchFrame).write(frame);
    }
    frame_at
}
