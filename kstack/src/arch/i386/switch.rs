//! The switch between two stacks. Everything else about a context switch is bookkeeping.
//!
//! ```text
//!   a stack that is switched away                 a stack that never ran
//!   | return address into the scheduler |         | SavedRegs for user mode | 68 bytes at the top
//!   | ebp ebx edi esi eflags | <- saved SP        | return address: first_return |
//!                                                 | ebp ebx=function edi=argument esi eflags=2 | <- saved SP
//! ```
//!
//! Saved is exactly what the System V ABI makes the callee save: ebp, ebx, edi, esi; and the flags,
//! because a program's alignment-check flag must not reach the next thread. The kernel is built
//! without floating point, so that state is the kernel's business, apart from the switch.

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
    pub eflags: u32,
    pub esi: u32,
    pub edi: u32,
    pub ebx: u32,
    pub ebp: u32,
    /// Where the switch returns to.
    pub return_address: u32,
}

const _: () = assert!(size_of::<SwitchFrame>() == 24);

/// The flags of a new stack: the bit that is always set, and nothing else.
const NO_FLAGS: u32 = 2;

impl SwitchFrame {
    /// What [`switch`] finds on a stack that never ran, below the saved user registers at
    /// `regs_at`: frame pointer, and function and argument of a kernel thread or 0, for
    /// `return_path::first_return`.
    #[cfg(feature = "entry")]
    pub(crate) fn first(_regs_at: Addr, fp: usize, function: usize, argument: usize) -> Self {
        Self {
            ebp: fp as u32,
            ebx: function as u32,
            edi: argument as u32,
            eflags: NO_FLAGS,
            return_address: return_path::first_return as *const () as u32,
            ..Self::default()
        }
    }

    /// The same for a stack that calls `function(argument, message)` and nothing else; see
    /// [`bare_start`].
    pub(crate) fn bare(_regs_at: Addr, fp: usize, function: usize, argument: usize) -> Self {
        Self {
            ebp: fp as u32,
            ebx: function as u32,
            edi: argument as u32,
            eflags: NO_FLAGS,
            return_address: bare_start as *const () as u32,
            ..Self::default()
        }
    }

    /// The frame pointer of the thread that was switched away.
    pub const fn fp(&self) -> Addr {
        Addr::new(self.ebp as usize)
    }

    /// In the first frame of a kernel thread: its function. 0 for a thread that starts in user
    /// mode.
    pub const fn function(&self) -> usize {
        self.ebx as usize
    }

    /// In the first frame of a kernel thread: its argument.
    pub const fn argument(&self) -> usize {
        self.edi as usize
    }

    /// Where it continues.
    pub const fn return_address(&self) -> Addr {
        Addr::new(self.return_address as usize)
    }
}

/// Bytes of a word, and where the arguments lie when the function is entered: above the return
/// address.
const WORD: usize = size_of::<usize>();

/// Leaves the current stack for the one whose saved SP is `to`, and stores the current SP to
/// `*from`.
///
/// Returns, on the *other* stack, the `message` that was passed by the switch to it. In:
/// from, to, message on the stack. Out: eax = message. 17 instructions. The instruction
/// `mov esp, ecx` is the switch.
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
        "mov edx, [esp + {WORD}]",
        "mov ecx, [esp + {WORD} * 2]",
        "mov eax, [esp + {WORD} * 3]",
        "push ebp",
        ".cfi_adjust_cfa_offset {WORD}",
        ".cfi_rel_offset ebp, 0",
        "push ebx",
        ".cfi_adjust_cfa_offset {WORD}",
        ".cfi_rel_offset ebx, 0",
        "push edi",
        ".cfi_adjust_cfa_offset {WORD}",
        ".cfi_rel_offset edi, 0",
        "push esi",
        ".cfi_adjust_cfa_offset {WORD}",
        ".cfi_rel_offset esi, 0",
        "pushfd",
        ".cfi_adjust_cfa_offset {WORD}",
        // The switch back pops what lies here.
        "mov [edx], esp",
        "mov esp, ecx",
        ".globl kstack_switch_resume",
        "kstack_switch_resume:",
        "popfd",
        ".cfi_adjust_cfa_offset -{WORD}",
        "pop esi",
        ".cfi_adjust_cfa_offset -{WORD}",
        ".cfi_same_value esi",
        "pop edi",
        ".cfi_adjust_cfa_offset -{WORD}",
        ".cfi_same_value edi",
        "pop ebx",
        ".cfi_adjust_cfa_offset -{WORD}",
        ".cfi_same_value ebx",
        "pop ebp",
        ".cfi_adjust_cfa_offset -{WORD}",
        ".cfi_same_value ebp",
        "ret",
        ".cfi_endproc",
        WORD = const WORD,
    )
}

/// Where a stack starts that runs one function and knows nothing of the kernel: the switch returns
/// to here, interrupts as they were.
///
/// In: eax = the switch's message, ebx = function, edi = its argument.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_own")]
extern "C" fn bare_start() {
    naked_asm!(
        called!(),
        ".cfi_undefined 8",
        "and esp, -16",
        "sub esp, 2 * {WORD}",
        "push eax",
        "push edi",
        "call ebx",
        "ud2",
        ".cfi_endproc",
        WORD = const WORD,
    )
}
