//! Interrupts off and on.

use kstack::arch::current::interrupts;
pub use kstack::arch::current::interrupts::{are_on as interrupts_are_on, on as interrupts_on};
use kstack::room;

/// Turns interrupts off and says whether they were on. A thread that has too little left of its stack for what may follow is ended
/// instead, before anything has begun: see [`kstack::room`].
#[inline(always)]
pub fn interrupts_off() -> bool {
    let were_on = interrupts::off();
    if were_on {
        room::make_sure();
    }
    were_on
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
