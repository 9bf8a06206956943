//! Interrupts off and on.

pub use kstack::arch::current::interrupts::{
    are_on as interrupts_are_on, off as interrupts_off, on as interrupts_on,
};

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
