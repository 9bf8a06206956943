//! Backtraces on this machine: the core's unwinder, reading real stacks.
//!
//! A read happens only inside the bounds of a stack that the registry says is live, so it cannot fault: mapped parts of live
//! stacks stay mapped. A stack that is freed meanwhile stays mapped too (it is parked); what is read then is old, not wild.

use crate::arch::current::regs::{self, Rules};
use crate::registry::Registry;
use kstack_core::addr::Addr;
use kstack_core::unwind::{Backtrace, SavedRegs, Step, Unwinder};

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
    into.collect::<Rules, _, _>(&mut Unwinder::from_regs(registry, read, reduced(regs)));
}

/// From a frame pointer outwards: one's own, or that of a thread that is not running.
pub fn from_fp<const N: usize>(registry: &Registry, fp: Addr, into: &mut Backtrace<N>) {
    into.collect::<Rules, _, _>(&mut Unwinder::new(registry, read, fp));
}

/// Calls `visit` with each step from a frame pointer outwards, the end included.
#[inline]
pub fn for_each(registry: &Registry, fp: Addr, visit: impl FnMut(Step)) {
    visit_all(Unwinder::new(registry, read, fp), visit);
}

/// The same from an interrupted context outwards.
pub fn for_each_from_regs(registry: &Registry, regs: &regs::SavedRegs, visit: impl FnMut(Step)) {
    visit_all(Unwinder::from_regs(registry, read, reduced(regs)), visit);
}

/// What the unwinder needs to know of an interrupted context.
fn reduced(regs: &regs::SavedRegs) -> SavedRegs {
    SavedRegs { pc: regs.pc(), sp: regs.sp(), fp: regs.fp(), from_user: regs.from_user() }
}

#[inline(always)]
fn visit_all(
    mut unwinder: Unwinder<'_, Registry, impl FnMut(Addr) -> Option<usize>>,
    mut visit: impl FnMut(Step),
) {
    loop {
        let step = unwinder.step::<Rules>();
        visit(step);
        if let Step::End(_) = step {
            break;
        }
    }
}
