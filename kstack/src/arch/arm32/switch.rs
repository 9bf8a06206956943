//! The switch between two stacks. Everything else about a context switch is bookkeeping.
//!
//! ```text
//!   a stack that is switched away                     a stack that never ran
//!   | pc: into the scheduler        |                 | 8 bytes, never used |
//!   | sp: above this frame          |                 | SavedRegs for user mode | 72 bytes
//!   | r4-r9 sl fp                   |                 | pc: first_return | sp: at SavedRegs |
//!   | domain                        |                 | r4=argument r5=function r6-r9 sl fp |
//!   | unused                        | <- saved SP     | domain | unused |  <- saved SP
//! ```
//!
//! Saved is what the procedure call standard makes the callee save, in the order of Linux' saved
//! context: r4 to r9, sl, fp, sp, pc; one load of many registers brings the other thread back.
//! Below it, as there, the domain access register: each thread has a value of its own, and the
//! register is written only if it differs. (Under the long-descriptor tables that this project's
//! kernel uses, the MMU does not look at domains.) The kernel is built without floating point, so
//! that state is the kernel's business, apart from the switch.
//!
//! The switch also makes the other thread `current`, in TPIDRURO. See [`super::local`].

use crate::arch::cfi::called;
#[cfg(feature = "entry")]
use crate::arch::current::return_path;
use crate::local::CpuLocal;
use core::arch::naked_asm;
use core::mem::{offset_of, size_of};
use kstack_core::addr::Addr;

/// What [`switch`] leaves on a stack, lowest address first.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields are the registers of the same names")]
pub struct SwitchFrame {
    /// Keeps SP 8-aligned.
    pub unused: u32,
    /// The domain access register.
    pub domain: u32,
    pub r4: u32,
    pub r5: u32,
    pub r6: u32,
    pub r7: u32,
    pub r8: u32,
    pub r9: u32,
    pub sl: u32,
    pub fp: u32,
    /// SP after the switch back.
    pub sp: u32,
    /// Where the switch returns to.
    pub pc: u32,
}

const _: () = {
    assert!(size_of::<SwitchFrame>() == 48);
    assert!(offset_of!(SwitchFrame, domain) + size_of::<u32>() == offset_of!(SwitchFrame, r4));
};

/// The domains of a new thread: client in domain 0, which everything belongs to; no access to the
/// others.
pub const DOMAIN: u32 = 1;

impl SwitchFrame {
    /// What [`switch`] finds on a stack that never ran, below the saved user registers at
    /// `regs_at`: frame pointer, and function and argument of a kernel thread or 0, for
    /// `return_path::first_return`.
    #[cfg(feature = "entry")]
    pub(crate) fn first(regs_at: Addr, fp: usize, function: usize, argument: usize) -> Self {
        Self {
            domain: DOMAIN,
            r4: argument as u32,
            r5: function as u32,
            fp: fp as u32,
            sp: regs_at.get() as u32,
            pc: return_path::first_return as *const () as u32,
            ..Self::default()
        }
    }

    /// The same for a stack that calls `function(argument, message)` and nothing else; see
    /// [`bare_start`].
    pub(crate) fn bare(regs_at: Addr, fp: usize, function: usize, argument: usize) -> Self {
        Self {
            domain: DOMAIN,
            r4: argument as u32,
            r5: function as u32,
            fp: fp as u32,
            sp: regs_at.get() as u32,
            pc: bare_start as *const () as u32,
            ..Self::default()
        }
    }

    /// The frame pointer of the thread that was switched away.
    pub const fn fp(&self) -> Addr {
        Addr::new(self.fp as usize)
    }

    /// In the first frame of a kernel thread: its function. 0 for a thread that starts in user
    /// mode.
    pub const fn function(&self) -> usize {
        self.r5 as usize
    }

    /// In the first frame of a kernel thread: its argument.
    pub const fn argument(&self) -> usize {
        self.r4 as usize
    }

    /// Where it continues.
    pub const fn return_address(&self) -> Addr {
        Addr::new(self.pc as usize)
    }
}

/// Leaves the current stack for the one whose saved SP is `to`, and stores the current SP to
/// `*from`.
///
/// Returns, on the *other* stack, the `message` that was passed by the switch to it. In: r0 =
/// from, r1 = to, r2 = message. Out: r0 = message. The instruction `mov sp, r1` is the switch.
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
        "mrc p15, 0, r12, c3, c0, 0",
        "mov r3, sp",
        "sub sp, sp, #{frame}",
        ".cfi_def_cfa_offset {frame}",
        "str r3, [sp, #{sp_at}]",
        "str lr, [sp, #{pc_at}]",
        "str r12, [sp, #{domain_at}]",
        "add r3, sp, #{r4_at}",
        "stm r3, {{r4-r11}}",
        ".cfi_rel_offset lr, {pc_at}",
        ".cfi_rel_offset sp, {sp_at}",
        ".cfi_rel_offset r4, {r4_at} + 0 * 4",
        ".cfi_rel_offset r5, {r4_at} + 1 * 4",
        ".cfi_rel_offset r6, {r4_at} + 2 * 4",
        ".cfi_rel_offset r7, {r4_at} + 3 * 4",
        ".cfi_rel_offset r8, {r4_at} + 4 * 4",
        ".cfi_rel_offset r9, {r4_at} + 5 * 4",
        ".cfi_rel_offset r10, {r4_at} + 6 * 4",
        ".cfi_rel_offset r11, {r4_at} + 7 * 4",
        // The switch back loads what lies here.
        "str sp, [r0]",
        "mov sp, r1",
        ".globl kstack_switch_resume",
        "kstack_switch_resume:",
        "ldr r3, [sp, #{domain_at}]",
        "cmp r3, r12",
        "mcrne p15, 0, r3, c3, c0, 0",
        // From here on the other thread is current.
        "mrc p15, 0, r12, c13, c0, 4",
        "ldr r12, [r12, #{thread}]",
        "mcr p15, 0, r12, c13, c0, 3",
        "mov r0, r2",
        "add r3, sp, #{r4_at}",
        "ldm r3, {{r4-r11, sp, pc}}",
        ".cfi_endproc",
        frame = const size_of::<SwitchFrame>(),
        sp_at = const offset_of!(SwitchFrame, sp),
        pc_at = const offset_of!(SwitchFrame, pc),
        domain_at = const offset_of!(SwitchFrame, domain),
        r4_at = const offset_of!(SwitchFrame, r4),
        thread = const CpuLocal::THREAD,
    )
}

/// Where a stack starts that runs one function and knows nothing of the kernel: the switch returns
/// to here, interrupts as they were.
///
/// In: r0 = the switch's message, r4 = argument, r5 = function.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_own")]
extern "C" fn bare_start() {
    naked_asm!(
        called!(),
        ".cfi_undefined lr",
        "mov r1, r0",
        "mov r0, r4",
        "blx r5",
        "udf #0",
        ".cfi_endproc",
    )
}
