//! Interrupts off and on, for the CPU this runs on, and the proof that they are off.

use crate::room;
use core::marker::PhantomData;

pub use crate::arch::current::interrupts::{are_on, off, on};

/// Interrupts are off on this CPU for as long as this is borrowed. It costs nothing, and stays on
/// the CPU it was made on.
#[derive(Debug)]
pub struct InterruptsOff(PhantomData<*const ()>);

impl InterruptsOff {
    /// The proof, for code that knows it from elsewhere: an interrupt handler, a CPU that has not
    /// turned them on yet.
    ///
    /// # Safety
    ///
    /// 1. Interrupts are off on this CPU, and stay off while the proof lives.
    #[inline(always)]
    pub const unsafe fn assume() -> Self {
        Self(PhantomData)
    }
}

/// Runs `body` with interrupts off; turns them on again if they were on. A thread that has too
/// little left of its stack for that is ended first, with a report ([`crate::room`]).
///
/// # Safety
///
/// 1. The CPU is in the kernel's mode and has loaded its block
///    ([`CpuLocal::load`](crate::local::CpuLocal::load)).
#[inline(always)]
pub unsafe fn without<R>(body: impl FnOnce(&InterruptsOff) -> R) -> R {
    // SAFETY: (1) by the caller's promise; (2) turned on again below.
    let were_on = unsafe { off() };
    room::make_sure(were_on);
    let result = body(&InterruptsOff(PhantomData));
    if were_on {
        // SAFETY: (1) by the caller's promise, and they were on; (2) `body` is over.
        unsafe { on() };
    }
    result
}
