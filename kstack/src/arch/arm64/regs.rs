//! The registers that every entry saves, in one layout, at the top of whatever stack the entry
//! chose.
//!
//! ```text
//!   top of the thread stack                      (from user mode, or a system call)
//!   | orig_x0 | esr |                            x0 as a system call found it; why a synchronous exception was taken
//!   | sp | pc | pstate |                         SP_EL0, ELR_EL1, SPSR_EL1
//!   | x0 x1 ... x30 |  <- SavedRegs              288 bytes below the top
//! ```
//!
//! The order is that of Linux' `user_pt_regs` for arm64, so tools that know it can read it.

use core::arch::asm;
use core::mem::{offset_of, size_of};
use kstack_core::addr::{Addr, ByteSize};
use kstack_core::prologue::{self, FrameState};
use kstack_core::unwind::{self, FrameRules};

/// In PSTATE: interrupts are masked.
pub(super) const INTERRUPTS_OFF: u64 = 1 << 7;

/// In PSTATE: exception level and choice of SP. Zero in user mode.
const MODE: u64 = 0xf;

/// Saved registers; see the module's drawing. 288 bytes, a multiple of 16 as SP must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SavedRegs {
    /// x0 to x30.
    pub x: [u64; 31],
    /// SP_EL0.
    pub sp: u64,
    /// Where the entry came from.
    pub pc: u64,
    /// Flags, masks and mode there.
    pub pstate: u64,
    /// x0 on entry: a system call's result replaces it in `x`.
    pub orig_x0: u64,
    /// Of a synchronous exception: what it was (ESR_EL1). Zero after an interrupt.
    pub esr: u64,
}

const _: () = {
    assert!(size_of::<SavedRegs>() == 288);
    assert!(size_of::<SavedRegs>().is_multiple_of(16));
    assert!(offset_of!(SavedRegs, sp) == 248);
    assert!(offset_of!(SavedRegs, pc) == 256);
    assert!(offset_of!(SavedRegs, pstate) == 264);
};

impl SavedRegs {
    /// Whether the entry came from user mode.
    #[inline(always)]
    pub const fn from_user(&self) -> bool {
        self.pstate & MODE == 0
    }

    /// Whether interrupts were on.
    #[inline(always)]
    pub const fn interrupts_are_on(&self) -> bool {
        self.pstate & INTERRUPTS_OFF == 0
    }

    /// The interrupted instruction.
    #[inline(always)]
    pub const fn pc(&self) -> Addr {
        Addr::new(self.pc as usize)
    }

    /// The interrupted stack pointer.
    #[inline(always)]
    pub const fn sp(&self) -> Addr {
        Addr::new(self.sp as usize)
    }

    /// The interrupted frame pointer.
    #[inline(always)]
    pub const fn fp(&self) -> Addr {
        Addr::new(self.x[29] as usize)
    }
}

/// The frame pointer, here.
#[inline(always)]
pub fn frame_pointer() -> usize {
    let fp: usize;
    // SAFETY: (1) reading the register has no effect.
    unsafe { asm!("mov {}, x29", out(reg) fp, options(nomem, nostack, preserves_flags)) };
    fp
}

/// What frame pointers mean on this architecture: x29 points at {previous x29, return address}, or,
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
        const FP: usize = offset_of!(SavedRegs, x) + 29 * size_of::<u64>();
        const LINK: usize = FP + size_of::<u64>();
        let mut word = |offset: usize| read(at.wrapping_add(ByteSize::new(offset)));
        Some(unwind::SavedRegs {
            pc: Addr::new(word(offset_of!(SavedRegs, pc))?),
            sp: Addr::new(word(offset_of!(SavedRegs, sp))?),
            fp: Addr::new(word(FP)?),
            link: Some(Addr::new(word(LINK)?)),
            from_user: word(offset_of!(SavedRegs, pstate))? as u64 & MODE == 0,
        })
    }

    fn frame_state(code: &[u8], offset: usize) -> FrameState {
        prologue::arm64::state(code, offset)
    }

    fn keeps_frames(code: &[u8]) -> bool {
        prologue::arm64::keeps_frames(code)
    }
}
