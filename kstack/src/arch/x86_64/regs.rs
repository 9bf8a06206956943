//! The registers that every entry saves, in one layout, at the top of whatever stack the entry
//! landed on.
//!
//! ```text
//!   top of the thread stack                      (from user mode, or a system call)
//!   | ss | rsp | rflags | cs | rip |             pushed by the CPU (by the entry code for `syscall`)
//!   | error code, or the system call's number |
//!   | rdi rsi rdx rcx rax r8 r9 r10 r11 |        caller-saved
//!   | rbx rbp r12 r13 r14 r15 |  <- SavedRegs    168 bytes below the top
//! ```
//!
//! The order is that of Linux' `pt_regs` for x86_64, so tools that know it can read it.

use core::arch::asm;
use core::mem::{offset_of, size_of};
use kstack_core::addr::{Addr, ByteSize};
use kstack_core::prologue::{self, FrameState};
use kstack_core::unwind::{self, FrameRules};

/// In the flags: interrupts are on.
pub const INTERRUPTS_ON: u64 = 1 << 9;

/// Saved registers; see the module's drawing. 168 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields are the registers of the same names")]
pub struct SavedRegs {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    /// The exception's error code, or the number of the system call.
    pub orig_rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

const _: () = {
    assert!(size_of::<SavedRegs>() == 168);
    assert!(offset_of!(SavedRegs, rdi) == 112);
    assert!(offset_of!(SavedRegs, orig_rax) == 120);
    assert!(offset_of!(SavedRegs, rip) == 128);
};

impl SavedRegs {
    /// Whether the entry came from user mode.
    #[inline(always)]
    pub const fn from_user(&self) -> bool {
        self.cs & 3 != 0
    }

    /// Whether interrupts were on.
    #[inline(always)]
    pub const fn interrupts_are_on(&self) -> bool {
        self.rflags & INTERRUPTS_ON != 0
    }

    /// What the CPU says of an exception; of a system call, its number.
    #[inline(always)]
    pub const fn error_code(&self) -> u64 {
        self.orig_rax
    }

    /// The interrupted instruction.
    #[inline(always)]
    pub const fn pc(&self) -> Addr {
        Addr::new(self.rip as usize)
    }

    /// The interrupted stack pointer.
    #[inline(always)]
    pub const fn sp(&self) -> Addr {
        Addr::new(self.rsp as usize)
    }

    /// The interrupted frame pointer.
    #[inline(always)]
    pub const fn fp(&self) -> Addr {
        Addr::new(self.rbp as usize)
    }
}

/// The frame pointer, here.
#[inline(always)]
pub fn frame_pointer() -> usize {
    let fp: usize;
    // SAFETY: (1) reading the register has no effect.
    unsafe { asm!("mov {}, rbp", out(reg) fp, options(nomem, nostack, preserves_flags)) };
    fp
}

/// What frame pointers mean on this architecture: rbp points at {previous rbp, return address}, or,
/// with bit 0 set, at [`SavedRegs`].
#[derive(Debug)]
pub struct Rules;

impl FrameRules for Rules {
    #[inline(always)]
    fn saved_regs_at(fp: Addr) -> Option<Addr> {
        if fp.get() & 7 == 1 { Some(Addr::new(fp.get() - 1)) } else { None }
    }

    const SAVED_REGS: ByteSize = ByteSize::new(size_of::<SavedRegs>());

    fn read_saved_regs(
        at: Addr,
        read: &mut impl FnMut(Addr) -> Option<usize>,
    ) -> Option<unwind::SavedRegs> {
        let mut word = |offset: usize| read(at.wrapping_add(ByteSize::new(offset)));
        Some(unwind::SavedRegs {
            pc: Addr::new(word(offset_of!(SavedRegs, rip))?),
            sp: Addr::new(word(offset_of!(SavedRegs, rsp))?),
            fp: Addr::new(word(offset_of!(SavedRegs, rbp))?),
            link: None,
            from_user: word(offset_of!(SavedRegs, cs))? & 3 != 0,
        })
    }

    fn frame_state(code: &[u8], offset: usize) -> FrameState {
        prologue::x86::state(code, offset)
    }

    fn keeps_frames(code: &[u8]) -> bool {
        prologue::x86::keeps_frames(code)
    }
}
