//! How deep stacks are used: samples of SP, lower bounds by nature.

use crate::arch::current::regs::SavedRegs;
use crate::local::CpuLocal;
use crate::registry;
use kstack_core::addr::Addr;
use kstack_core::arena::Place;

/// At an interrupt: where was SP? From user mode it says nothing.
#[inline(always)]
pub(crate) fn sample(local: &CpuLocal, regs: &SavedRegs) {
    if !regs.from_user() && !local.sample_thread(regs.sp()) {
        sample_sp(regs.sp());
    }
}

/// Notes an SP with the stack it lies on, whichever that is.
#[cold]
pub fn sample_sp(sp: Addr) {
    if let Some(registry) = registry::get()
        && let Place::Body { slot, .. } = registry.arena().place(sp)
    {
        registry.record(slot).watermark().sample(sp);
    }
}
