//! How deep stacks are used: samples of SP, lower bounds by nature.

#[cfg(feature = "entry")]
use crate::{arch::current::regs::SavedRegs, local::CpuLocal, registry};
pub use kstack_core::meter::Watermark;
#[cfg(feature = "entry")]
use kstack_core::{addr::Addr, arena::Place};

/// At an interrupt: where was SP? From user mode it says nothing.
#[cfg(feature = "entry")]
#[inline(always)]
pub(crate) fn sample(local: &CpuLocal, regs: &SavedRegs) {
    if !regs.from_user() && !local.sample_thread(regs.sp()) {
        sample_sp(regs.sp());
    }
}

/// Notes an SP with the stack it lies on, whichever that is.
#[cfg(feature = "entry")]
#[cold]
pub fn sample_sp(sp: Addr) {
    for registry in registry::all() {
        if let Place::Body { slot, .. } = registry.arena().place(sp) {
            return registry.record(slot).watermark().sample(sp);
        }
    }
}
