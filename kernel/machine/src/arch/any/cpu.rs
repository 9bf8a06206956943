//! Interrupts off and on.

use kstack::arch::current::interrupts;
use kstack::room;

pub use interrupts::are_on as interrupts_are_on;

/// Turns interrupts off and returns whether they were on. A thread that has too little left of its
/// stack for what may follow is ended instead, before anything has begun: see [`kstack::room`].
#[inline(always)]
pub fn interrupts_off() -> bool {
    // SAFETY: (1) this is the kernel; (2) its callers turn them on again, or stop the CPU.
    let were_on = unsafe { interrupts::off() };
    room::make_sure(were_on);
    were_on
}

/// Turns interrupts on.
#[inline(always)]
pub fn interrupts_on() {
    // SAFETY: (1) this is the kernel, and its callers come after `load`; (2) they hold nothing that
    // an interrupt must not meet: spinning locks and the CPU's cache are used inside
    // `without_interrupts`, which turns on only what it turned off.
    unsafe { interrupts::on() }
}

/// Turns interrupts off for the length of `body`.
#[inline(always)]
pub fn without_interrupts<R>(body: impl FnOnce() -> R) -> R {
    let were_on = interrupts_off();
    let result = body();
    if were_on {
        interrupts_on();
    }
    result
}
