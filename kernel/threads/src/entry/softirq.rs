//! The kernel's softirqs: work that an interrupt leaves for right after it, with interrupts on
//! again.
//!
//! Where they run is the library's decision (`kstack::irq`): on the way out of an interrupt on the
//! stack the interrupt ran on, or, raised by a thread, on the IRQ stack when bottom halves are
//! enabled again. What is too much for that is left to a thread ([`super::ksoftirqd`]).

use kstack::irq;
use machine::fn_cell::FnCell;

/// The kinds, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Softirq {
    /// Sleepers are due.
    Timer = 0,
    /// What a test or the console has set with [`set_probe`].
    Probe = 1,
    /// Tasklets are scheduled.
    Tasklet = 2,
}

pub(super) static PROBE: FnCell<fn()> = FnCell::new();

/// What [`Softirq::Probe`] runs.
pub fn set_probe(function: fn()) {
    PROBE.set(Some(function));
}

/// Marks a softirq as pending on this CPU. Interrupts off, or in an interrupt.
pub fn raise(softirq: Softirq) {
    // SAFETY: (1) by the callers, which are interrupt handlers or have interrupts off; (2) they run
    // on CPUs that are up.
    unsafe { irq::raise_softirq(softirq as u32) };
}

/// Keeps softirqs from running on this CPU until [`enable_bottom_halves`]; nests. Threads only; the
/// thread must not sleep.
#[inline(always)]
pub fn disable_bottom_halves() {
    // SAFETY: (1) threads only, see above; (2) threads run on CPUs that are up.
    unsafe { irq::disable_bottom_halves() };
}

/// The reverse. The outermost one runs what became pending.
#[inline(always)]
pub fn enable_bottom_halves() {
    // SAFETY: (1) (2) as for `disable_bottom_halves`.
    unsafe { irq::enable_bottom_halves() };
}

/// The same from a thread, which has bottom halves disabled: it runs when they are enabled again.
#[inline(always)]
pub fn raise_from_thread(softirq: Softirq) {
    // SAFETY: (1) by the caller; (2) threads run on CPUs that are up.
    unsafe { irq::raise_softirq_from_thread(softirq as u32) };
}
