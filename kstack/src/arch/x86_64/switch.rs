//! The switch between two stacks. Everything else about a context switch is bookkeeping.
//!
//! ```text
//!   a stack that is switched away                 a stack that never ran
//!   | return address into the scheduler |         | SavedRegs for user mode | 168 bytes at the top
//!   | rbp rbx r12 r13 r14 r15 | <- saved SP       | return address: first_return |
//!                                                 | rbp rbx=function r12=argument r13 r14 r15 | <- saved SP
//! ```
//!
//! Saved is exactly what the System V ABI makes the callee save: rbp, rbx, r12-r15. The kernel is
//! built without floating point, so that state is the kernel's business, apart from the switch.

use crate::arch::cfi::called;
#[cfg(feature = "entry")]
use crate::arch::current::return_path;
use core::arch::naked_asm;
use core::mem::size_of;
use kstack_core::addr::Addr;

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
    /// What [`switch`] finds on a stack that never ran, below the saved user registers at
    /// `regs_at`: frame pointer, and function and argument of a kernel thread or 0, for
    /// `return_path::first_return`.
    #[cfg(feature = "entry")]
    pub(crate) fn first(_regs_at: Addr, fp: usize, function: usize, argument: usize) -> Self {
        Self {
            rbp: fp as u64,
            rbx: function as u64,
            r12: argument as u64,
            return_address: return_path::first_return as *const () as u64,
            ..Self::default()
        }
    }

    /// The same for a stack that calls `function(argument, message)` and nothing else; see
    /// [`bare_start`].
    pub(crate) fn bare(_regs_at: Addr, fp: usize, function: usize, argument: usize) -> Self {
        Self {
            rbp: fp as u64,
            rbx: function as u64,
            r12: argument as u64,
            return_address: bare_start as *const () as u64,
            ..Self::default()
        }
    }

    /// The frame pointer of the thread that was switched away.
    pub const fn fp(&self) -> Addr {
        Addr::new(self.rbp as usize)
    }

    /// In the first frame of a kernel thread: its function. 0 for a thread that starts in user
    /// mode.
    pub const fn function(&self) -> usize {
        self.rbx as usize
    }

    /// In the first frame of a kernel thread: its argument.
    pub const fn argument(&self) -> usize {
        self.r12 as usize
    }

    /// Where it continues.
    pub const fn return_address(&self) -> Addr {
        Addr::new(self.return_address as usize)
    }
}

/// Leaves the current stack for the one whose saved SP is `to`, and stores the current SP to
/// `*from`.
///
/// Returns, on the *other* stack, the `message` that was passed by the switch to it. In: rdi
/// = from, rsi = to, rdx = message. Out: rax = message. 16 instructions. The instruction
/// `mov rsp, rsi` is the switch.
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
        "push rbp",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rbp, 0",
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rbx, 0",
        "push r12",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r12, 0",
        "push r13",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r13, 0",
        "push r14",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r14, 0",
        "push r15",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r15, 0",
        // The switch back pops what lies here.
        "mov [rdi], rsp",
        "mov rsp, rsi",
        ".globl kstack_switch_resume",
        "kstack_switch_resume:",
        "pop r15",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value r15",
        "pop r14",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value r14",
        "pop r13",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value r13",
        "pop r12",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value r12",
        "pop rbx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value rbx",
        "pop rbp",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_same_value rbp",
        "mov rax, rdx",
        "ret",
        ".cfi_endproc",
    )
}

/// Where a stack starts that runs one function and knows nothing of the kernel: the switch returns
/// to here, interrupts as they were.
///
/// In: rax = the switch's message, rbx = function, r12 = its argument; SP at the words for user
/// registers, so 8 below a multiple of 16.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_own")]
extern "C" fn bare_start() {
    naked_asm!(
        called!(),
        ".cfi_undefined rip",
        "mov rdi, r12",
        "mov rsi, rax",
        "sub rsp, 8",
        "call rbx",
        "ud2",
        ".cfi_endproc",
    )
}
