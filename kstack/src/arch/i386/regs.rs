//! The registers that every entry saves, in one layout, at the top of whatever stack the entry
//! landed on.
//!
//! ```text
//!   top of the thread stack                      (from user mode, or a system call)
//!   | ss | esp | eflags | cs | eip |             pushed by the CPU (by the entry code for `sysenter`)
//!   | error code, or the system call's number |
//!   | gs fs es ds |
//!   | eax ebp edi esi edx ecx ebx |  <- SavedRegs    68 bytes below the top
//! ```
//!
//! The order is that of Linux' `pt_regs` for i386, so tools that know it can read it.
//!
//! # Entries from the kernel
//!
//! The CPU pushes only eflags, cs and eip then: no ss, no esp. The entry code moves those three
//! words down by two and fills the gap, so that SavedRegs is whole wherever it came from: a copy of
//! it knows the interrupted stack pointer, and nothing of the interrupted frame lies inside it. The
//! return path moves them up again, below whatever `esp` says then. The other way, to compute esp
//! from the place where the registers lie, saves a dozen instructions and breaks with the first
//! copy.

use core::arch::asm;
use core::mem::{offset_of, size_of};
use kstack_core::addr::{Addr, ByteSize};
use kstack_core::prologue::{self, FrameState};
use kstack_core::unwind::{self, FrameRules};

/// In the flags: interrupts are on.
pub const INTERRUPTS_ON: u32 = 1 << 9;

/// What entry code adds to the address of saved registers, in the frame pointer: they are no frame
/// record.
pub(super) const MARK: usize = 1;

/// Saved registers; see the module's drawing. 68 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields are the registers of the same names")]
pub struct SavedRegs {
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
    pub esi: u32,
    pub edi: u32,
    pub ebp: u32,
    pub eax: u32,
    pub ds: u32,
    pub es: u32,
    pub fs: u32,
    pub gs: u32,
    /// The exception's error code, or the number of the system call.
    pub orig_eax: u32,
    pub eip: u32,
    pub cs: u32,
    pub eflags: u32,
    pub esp: u32,
    pub ss: u32,
}

const _: () = {
    assert!(size_of::<SavedRegs>() == 68);
    assert!(offset_of!(SavedRegs, eax) == 24);
    assert!(offset_of!(SavedRegs, orig_eax) == 44);
    assert!(offset_of!(SavedRegs, eip) == 48);
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
        self.eflags & INTERRUPTS_ON != 0
    }

    /// What the CPU says of an exception; of a system call, its number.
    #[inline(always)]
    pub const fn error_code(&self) -> u32 {
        self.orig_eax
    }

    /// The interrupted instruction.
    #[inline(always)]
    pub const fn pc(&self) -> Addr {
        Addr::new(self.eip as usize)
    }

    /// The interrupted stack pointer.
    #[inline(always)]
    pub const fn sp(&self) -> Addr {
        Addr::new(self.esp as usize)
    }

    /// The interrupted frame pointer.
    #[inline(always)]
    pub const fn fp(&self) -> Addr {
        Addr::new(self.ebp as usize)
    }
}

/// The frame pointer, here.
#[inline(always)]
pub fn frame_pointer() -> usize {
    let fp: usize;
    // SAFETY: (1) reading the register has no effect.
    unsafe { asm!("mov {}, ebp", out(reg) fp, options(nomem, nostack, preserves_flags)) };
    fp
}

/// What frame pointers mean on this architecture: ebp points at {previous ebp, return address}, or,
/// with bit 0 set, at [`SavedRegs`].
#[derive(Debug)]
pub struct Rules;

impl FrameRules for Rules {
    #[inline(always)]
    fn saved_regs_at(fp: Addr) -> Option<Addr> {
        if fp.get() & 3 == MARK { Some(Addr::new(fp.get() - MARK)) } else { None }
    }

    const SAVED_REGS: ByteSize = ByteSize::new(size_of::<SavedRegs>());

    fn read_saved_regs(
        at: Addr,
        read: &mut impl FnMut(Addr) -> Option<usize>,
    ) -> Option<unwind::SavedRegs> {
        let mut word = |offset: usize| read(at.wrapping_add(ByteSize::new(offset)));
        Some(unwind::SavedRegs {
            pc: Addr::new(word(offset_of!(SavedRegs, eip))?),
            sp: Addr::new(word(offset_of!(SavedRegs, esp))?),
            fp: Addr::new(word(offset_of!(SavedRegs, ebp))?),
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
