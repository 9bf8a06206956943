//! The registers that every entry saves, in one layout, at the top of whatever stack the entry
//! landed on.
//!
//! ```text
//!   top of the thread stack                      (from user mode)
//!   | orig_a0 | cause | badaddr | status |       the first argument again; scause, stval, sstatus
//!   | t6 t5 t4 t3 | s11 .. s2 | a7 .. a0 |
//!   | s1 s0 | t2 t1 t0 | tp gp sp ra |
//!   | epc |                       <- SavedRegs    288 bytes below the top
//! ```
//!
//! The order is that of Linux' `pt_regs` for riscv, so tools that know it can read it.

use core::arch::asm;
use core::mem::{offset_of, size_of};
use kstack_core::addr::{Addr, ByteSize};
use kstack_core::prologue::{self, FrameState};
use kstack_core::unwind::{self, FrameRules};

/// In sstatus: interrupts are on (SIE).
#[cfg(feature = "entry")]
pub(super) const INTERRUPTS_ON_NOW: u64 = 1 << 1;
/// In a saved status: interrupts were on (SPIE).
pub const INTERRUPTS_ON: u64 = 1 << 5;
/// In a saved status: the entry came from the kernel (SPP).
pub(super) const FROM_KERNEL: u64 = 1 << 8;
/// In a saved status: the program may use floating point, and has not yet (FS = initial).
pub const FLOAT_INITIAL: u64 = 1 << 13;
/// In a saved status: programs are 64-bit ones (UXL).
pub const USER_64_BIT: u64 = 2 << 32;

/// Saved registers; see the module's drawing. 288 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields are the registers of the same names")]
pub struct SavedRegs {
    pub epc: u64,
    pub ra: u64,
    pub sp: u64,
    pub gp: u64,
    pub tp: u64,
    pub t0: u64,
    pub t1: u64,
    pub t2: u64,
    pub s0: u64,
    pub s1: u64,
    pub a0: u64,
    pub a1: u64,
    pub a2: u64,
    pub a3: u64,
    pub a4: u64,
    pub a5: u64,
    pub a6: u64,
    pub a7: u64,
    pub s2: u64,
    pub s3: u64,
    pub s4: u64,
    pub s5: u64,
    pub s6: u64,
    pub s7: u64,
    pub s8: u64,
    pub s9: u64,
    pub s10: u64,
    pub s11: u64,
    pub t3: u64,
    pub t4: u64,
    pub t5: u64,
    pub t6: u64,
    /// sstatus at the entry.
    pub status: u64,
    /// stval: the address, for page faults.
    pub badaddr: u64,
    /// scause.
    pub cause: u64,
    /// a0 at the entry: a system call's first argument, when a0 is its result already.
    pub orig_a0: u64,
}

const _: () = {
    assert!(size_of::<SavedRegs>() == 288);
    assert!(offset_of!(SavedRegs, s0) == 64);
    assert!(offset_of!(SavedRegs, a0) == 80);
    assert!(offset_of!(SavedRegs, status) == 256);
    assert!(offset_of!(SavedRegs, orig_a0) == 280);
};

impl SavedRegs {
    /// Whether the entry came from user mode.
    #[inline(always)]
    pub const fn from_user(&self) -> bool {
        self.status & FROM_KERNEL == 0
    }

    /// Whether interrupts were on.
    #[inline(always)]
    pub const fn interrupts_are_on(&self) -> bool {
        self.status & INTERRUPTS_ON != 0
    }

    /// The interrupted instruction.
    #[inline(always)]
    pub const fn pc(&self) -> Addr {
        Addr::new(self.epc as usize)
    }

    /// The interrupted stack pointer.
    #[inline(always)]
    pub const fn sp(&self) -> Addr {
        Addr::new(self.sp as usize)
    }

    /// The interrupted frame pointer.
    #[inline(always)]
    pub const fn fp(&self) -> Addr {
        Addr::new(self.s0 as usize)
    }
}

/// The frame pointer, here.
#[inline(always)]
pub fn frame_pointer() -> usize {
    let fp: usize;
    // SAFETY: (1) reading the register has no effect.
    unsafe { asm!("mv {}, s0", out(reg) fp, options(nomem, nostack, preserves_flags)) };
    fp
}

/// What frame pointers mean on this architecture: s0 points 16 bytes above {previous s0, return
/// address}, or, with bit 0 set, at [`SavedRegs`].
#[derive(Debug)]
pub struct Rules;

impl FrameRules for Rules {
    #[inline(always)]
    fn saved_regs_at(fp: Addr) -> Option<Addr> {
        if fp.get() & 7 == 1 { Some(Addr::new(fp.get() - 1)) } else { None }
    }

    const SAVED_REGS: ByteSize = ByteSize::new(size_of::<SavedRegs>());

    const RECORD_BELOW: ByteSize = ByteSize::new(2 * size_of::<usize>());

    fn read_saved_regs(
        at: Addr,
        read: &mut impl FnMut(Addr) -> Option<usize>,
    ) -> Option<unwind::SavedRegs> {
        let mut word = |offset: usize| read(at.wrapping_add(ByteSize::new(offset)));
        Some(unwind::SavedRegs {
            pc: Addr::new(word(offset_of!(SavedRegs, epc))?),
            sp: Addr::new(word(offset_of!(SavedRegs, sp))?),
            fp: Addr::new(word(offset_of!(SavedRegs, s0))?),
            link: Some(Addr::new(word(offset_of!(SavedRegs, ra))?)),
            from_user: word(offset_of!(SavedRegs, status))? as u64 & FROM_KERNEL == 0,
        })
    }

    fn frame_state(code: &[u8], offset: usize) -> FrameState {
        prologue::riscv64::state(code, offset)
    }

    fn keeps_frames(code: &[u8]) -> bool {
        prologue::riscv64::keeps_frames(code)
    }
}
