//! The registers that every entry saves, in one layout, at the top of whatever stack the entry
//! landed on.
//!
//! ```text
//!   top of the thread stack                      (from user mode)
//!   | 8 bytes, never used |
//!   | cpsr | orig_r0 |                           ^ higher addresses
//!   | sp | lr | pc |                             the interrupted ones, whatever mode they belong to
//!   | r8 r9 r10 fp ip |
//!   | r0 r1 r2 r3 r4 r5 r6 r7 |  <- SavedRegs    80 bytes below the top, 72 of them used
//! ```
//!
//! The order is that of Linux' `pt_regs` for 32-bit ARM, so tools that know it can read it. An
//! entry from the kernel saves the same 18 words below the interrupted SP.

use core::arch::asm;
use core::mem::{offset_of, size_of};
use kstack_core::addr::{Addr, ByteSize};
use kstack_core::prologue::{self, FrameState};
use kstack_core::unwind::{self, FrameRules};

/// In CPSR: IRQ is masked.
pub(super) const IRQ_MASKED: u32 = 1 << 7;
/// In CPSR: Thumb state.
pub const THUMB: u32 = 1 << 5;
/// In CPSR: the processor mode.
pub const MODE: u32 = 0x1f;
/// User mode.
pub const USER_MODE: u32 = 0x10;
/// The mode in which the CPU takes an IRQ.
#[cfg(feature = "entry")]
pub(super) const IRQ_MODE: u32 = 0x12;
/// The mode that the kernel runs in.
pub const SVC_MODE: u32 = 0x13;

/// Bytes at the top of a thread stack that nothing uses: the saved user registers end there.
pub const FREE_AT_TOP: ByteSize = ByteSize::new(8);

/// Saved registers; see the module's drawing. 18 words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields are the registers of the same names")]
pub struct SavedRegs {
    pub r0: u32,
    pub r1: u32,
    pub r2: u32,
    pub r3: u32,
    pub r4: u32,
    pub r5: u32,
    pub r6: u32,
    pub r7: u32,
    pub r8: u32,
    pub r9: u32,
    pub r10: u32,
    pub fp: u32,
    pub ip: u32,
    pub sp: u32,
    pub lr: u32,
    pub pc: u32,
    pub cpsr: u32,
    /// r0 as it came, for a system call; the fault status, for an abort.
    pub orig_r0: u32,
}

const _: () = {
    assert!(size_of::<SavedRegs>() == 72);
    assert!(offset_of!(SavedRegs, sp) == 52);
    assert!(offset_of!(SavedRegs, pc) == 60);
    assert!(offset_of!(SavedRegs, orig_r0) == 68);
    // SP stays 8-aligned, as the procedure call standard wants it, if the top of the stack is.
    assert!((size_of::<SavedRegs>() + FREE_AT_TOP.get()).is_multiple_of(8));
};

impl SavedRegs {
    /// Whether the entry came from user mode.
    #[inline(always)]
    pub const fn from_user(&self) -> bool {
        self.cpsr & MODE == USER_MODE
    }

    /// Whether interrupts were on.
    #[inline(always)]
    pub const fn interrupts_are_on(&self) -> bool {
        self.cpsr & IRQ_MASKED == 0
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
        Addr::new(self.fp as usize)
    }
}

/// The frame pointer, here.
#[inline(always)]
pub fn frame_pointer() -> usize {
    let fp: usize;
    // SAFETY: (1) reading the register has no effect.
    unsafe { asm!("mov {}, r11", out(reg) fp, options(nomem, nostack, preserves_flags)) };
    fp
}

/// What frame pointers mean on this architecture: r11 points at {previous r11, return address}, or,
/// with bit 0 set, at [`SavedRegs`].
#[derive(Debug)]
pub struct Rules;

impl FrameRules for Rules {
    #[inline(always)]
    fn saved_regs_at(fp: Addr) -> Option<Addr> {
        if fp.get() & 3 == 1 { Some(Addr::new(fp.get() - 1)) } else { None }
    }

    const SAVED_REGS: ByteSize = ByteSize::new(size_of::<SavedRegs>());

    const FREE_AT_TOP: ByteSize = FREE_AT_TOP;

    fn read_saved_regs(
        at: Addr,
        read: &mut impl FnMut(Addr) -> Option<usize>,
    ) -> Option<unwind::SavedRegs> {
        let mut word = |offset: usize| read(at.wrapping_add(ByteSize::new(offset)));
        Some(unwind::SavedRegs {
            pc: Addr::new(word(offset_of!(SavedRegs, pc))?),
            sp: Addr::new(word(offset_of!(SavedRegs, sp))?),
            fp: Addr::new(word(offset_of!(SavedRegs, fp))?),
            link: Some(Addr::new(word(offset_of!(SavedRegs, lr))?)),
            from_user: word(offset_of!(SavedRegs, cpsr))? & MODE as usize == USER_MODE as usize,
        })
    }

    fn frame_state(code: &[u8], offset: usize) -> FrameState {
        prologue::arm32::state(code, offset)
    }

    fn keeps_frames(code: &[u8]) -> bool {
        prologue::arm32::keeps_frames(code)
    }
}
