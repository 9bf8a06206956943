//! Backtraces on this machine: the core's unwinder, reading real stacks.
//!
//! A read happens only inside the bounds of a stack that the registry says is live, so it cannot fault: mapped parts of live
//! stacks stay mapped. A stack that is freed meanwhile stays mapped too (it is parked); what is read then is old, not wild.

use crate::arch::current::regs;
use crate::registry::Registry;
use core::mem::{offset_of, size_of};
use kstack_core::addr::{Addr, ByteSize};
use kstack_core::unwind::{Backtrace, FrameRules, SavedRegs, Step, Unwinder};

/// What frame pointers mean on this architecture.
#[derive(Debug)]
pub struct Rules;

impl FrameRules for Rules {
    #[inline(always)]
    fn saved_regs_at(fp: Addr) -> Option<Addr> {
        regs::saved_regs_at(fp)
    }

    const SAVED_REGS: ByteSize = ByteSize::new(size_of::<regs::SavedRegs>());

    fn read_saved_regs(
        at: Addr,
        read: &mut impl FnMut(Addr) -> Option<usize>,
    ) -> Option<SavedRegs> {
        let mut word = |offset: usize| read(at.wrapping_add(ByteSize::new(offset)));
        Some(SavedRegs {
            pc: Addr::new(word(offset_of!(regs::SavedRegs, rip))?),
            sp: Addr::new(word(offset_of!(regs::SavedRegs, rsp))?),
            fp: Addr::new(word(offset_of!(regs::SavedRegs, rbp))?),
            from_user: word(offset_of!(regs::SavedRegs, cs))? & 3 != 0,
        })
    }
}

/// Reads a word of a live stack.
#[inline(always)]
fn read(addr: Addr) -> Option<usize> {
    // SAFETY: (1) the unwinder asks only for aligned words inside the mapped part of stacks the registry knows.
    Some(unsafe { (addr.get() as *const usize).read_volatile() })
}

/// From an interrupted context outwards.
pub fn from_regs<const N: usize>(
    registry: &Registry,
    regs: &regs::SavedRegs,
    into: &mut Backtrace<N>,
) {
    let regs =
        SavedRegs { pc: regs.pc(), sp: regs.sp(), fp: regs.fp(), from_user: regs.from_user() };
    into.collect::<Rules, _, _>(&mut Unwinder::from_regs(registry, read, regs));
}

/// From a frame pointer outwards: one's own, or that of a thread that is not running.
pub fn from_fp<const N: usize>(registry: &Registry, fp: Addr, into: &mut Backtrace<N>) {
    into.collect::<Rules, _, _>(&mut Unwinder::new(registry, read, fp));
}

/// Calls `visit` with each step from a frame pointer outwards, the end included.
#[inline]
pub fn for_each(registry: &Registry, fp: Addr, mut visit: impl FnMut(Step)) {
    let mut unwinder = Unwinder::new(registry, read, fp);
    loop {
        let step = unwinder.step::<Rules>();
        visit(step);
        if let Step::End(_) = step {
            break;
        }
    }
}
