//! What tests, benches and the console make an entry run, besides what it is for.

use machine::arch::regs::SavedRegs;
use machine::fn_cell::FnCell;

type Probe = FnCell<fn(&mut SavedRegs)>;

pub(super) static SOFTWARE: Probe = FnCell::new();
pub(super) static NMI: Probe = FnCell::new();
pub(super) static CALL: Probe = FnCell::new();
pub(super) static TIMER: Probe = FnCell::new();
static DEBUG: Probe = FnCell::new();
static BREAKPOINT: Probe = FnCell::new();

#[inline]
pub(super) fn run(probe: &Probe, regs: &mut SavedRegs) {
    if let Some(probe) = probe.get() {
        probe(regs);
    }
}

/// Sets what the software vector runs, besides returning.
pub fn set_probe(function: Option<fn(&mut SavedRegs)>) {
    SOFTWARE.set(function);
}

/// Sets what an NMI runs, where there are any.
pub fn set_nmi_probe(function: Option<fn(&mut SavedRegs)>) {
    NMI.set(function);
}

/// Sets what the timer's interrupt runs, besides what it is for.
pub fn set_timer_probe(function: Option<fn(&mut SavedRegs)>) {
    TIMER.set(function);
}

/// Sets what the next `vector::CALL` runs on the CPU it is sent to.
pub fn set_call(function: fn(&mut SavedRegs)) {
    CALL.set(Some(function));
}

/// Sets what a debug exception in the kernel runs.
pub fn set_debug_probe(function: Option<fn(&mut SavedRegs)>) {
    DEBUG.set(function);
}

/// Sets what a breakpoint in the kernel runs.
pub fn set_breakpoint_probe(function: Option<fn(&mut SavedRegs)>) {
    BREAKPOINT.set(function);
}

/// Forgets what was set: what a test leaves behind must not be the next one's.
pub fn forget_probes() {
    set_probe(None);
    set_nmi_probe(None);
    set_debug_probe(None);
    set_breakpoint_probe(None);
}

/// A debug exception in the kernel: tests set hardware breakpoints; nothing else does.
pub fn on_debug(regs: &mut SavedRegs) {
    run(&DEBUG, regs);
}

/// A breakpoint instruction in the kernel. A function of its own: what it calls is known by that.
#[inline(never)]
pub fn on_breakpoint(regs: &mut SavedRegs) {
    run(&BREAKPOINT, regs);
}
