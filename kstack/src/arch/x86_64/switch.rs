//! The switch between two stacks. Everything else about a context switch is bookkeeping.
//!
//! ```text
//!   a stack that is switched away                 a stack that never ran
//!   | return address into the scheduler |         | SavedRegs for user mode | 168 bytes at the top
//!   | rbp rbx r12 r13 r14 r15 | <- saved SP       | return address: first_return |
//!                                                 | rbp rbx=function r12=argument r13 r14 r15 | <- saved SP
//! ```
//!
//! Saved is exactly what the System V ABI makes the callee save: rbp, rbx, r12-r15. The kernel is built without
//! floating point, so that state is the kernel's business, apart from the switch.

use crate::arch::current::entry;
use crate::arch::current::regs::SavedRegs;
use core::arch::naked_asm;
use core::mem::size_of;
use kstack_core::addr::{Addr, AddrRange};

/// What [`switch`] leaves on a stack, lowest address first.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields are the registers of the same names")]
pub struct SwitchFrame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbx: u64,
    pub rbp: u64,
    /// Where the switch returns to.
    pub return_address: u64,
}

const _: () = assert!(size_of::<SwitchFrame>() == 56);

impl SwitchFrame {
    /// The frame pointer of the thread that was switched away.
    pub const fn fp(&self) -> Addr {
        Addr::new(self.rbp as usize)
    }

    /// In the first frame of a kernel thread: its function. 0 for a thread that starts in user mode.
    pub const fn function(&self) -> usize {
        self.rbx as usize
    }

    /// In the first frame of a kernel thread: its argument.
    pub const fn argument(&self) -> usize {
        self.r12 as usize
    }

    /// Where it goes on.
    pub const fn return_address(&self) -> Addr {
        Addr::new(self.return_address as usize)
    }
}

/// Leaves the current stack for the one whose saved SP is `to`, and stores the current SP to `*from`.
///
/// Returns, on the *other* stack, the `message` that was passed by whoever switched to it.
/// In: rdi = from, rsi = to, rdx = message. Out: rax = message. 16 instructions. The instruction `mov rsp, rsi` is the switch.
///
/// # Safety
///
/// 1. Interrupts are off.
/// 2. `from` is valid for a write and belongs to the current thread; nobody resumes that thread before this switch is over
///    (the saved SP is final only once this CPU has left the stack).
/// 3. `to` was stored by this function or made by [`first_frame`], on a stack that is mapped, and is used once.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_entry")]
pub unsafe extern "C" fn switch(from: *mut usize, to: usize, message: usize) -> usize {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        // Whoever resumes us pops what lies here.
        "mov [rdi], rsp",
        "mov rsp, rsi",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "mov rax, rdx",
        "ret",
    )
}

/// What a new stack runs first.
#[derive(Clone, Copy, Debug)]
pub enum Start {
    /// A kernel thread: `function(argument)`. If the function returns, the saved user registers at the top are loaded.
    Kernel {
        /// What to run.
        function: extern "C" fn(usize),
        /// Its argument.
        argument: usize,
    },
    /// Straight to user mode with these registers.
    User(SavedRegs),
}

/// Where the saved user registers of the thread on this stack lie (`task_pt_regs`).
#[inline(always)]
pub const fn user_regs_at(stack: AddrRange) -> Addr {
    Addr::new(stack.top.get() - size_of::<SavedRegs>())
}

/// Builds the first frames of a new stack by hand and returns the SP to switch to.
///
/// # Safety
///
/// 1. `stack` is mapped, writable, at least a page, and nobody else uses it.
pub unsafe fn first_frame(stack: AddrRange, start: Start) -> usize {
    let regs_at = user_regs_at(stack);
    let frame_at = regs_at.get() - size_of::<SwitchFrame>();
    let mut frame = SwitchFrame {
        return_address: entry::first_return as *const () as u64,
        ..Default::default()
    };
    let regs = match start {
        Start::Kernel { function, argument } => {
            frame.rbx = function as usize as u64;
            frame.r12 = argument as u64;
            // rbp = 0 is the outermost marker: a backtrace of a kernel thread ends here, reliably.
            SavedRegs::default()
        }
        Start::User(regs) => {
            // The backtrace of a user thread ends at the saved user registers.
            frame.rbp = regs_at.get() as u64 + 1;
            regs
        }
    };
    // SAFETY: (1) both lie inside `stack`, which is mapped and ours by the caller's promise; (2) both are 8-aligned
    // because the top of a stack is page aligned and the sizes are multiples of 8.
    unsafe {
        (regs_at.get() as *mut SavedRegs).write(regs);
        (frame_at as *mut SwitchFrame).write(frame);
    }
    frame_at
}
