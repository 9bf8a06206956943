//! Sampled depth of a stack: a lower bound, and called that.
//!
//! An interrupt's handler knows the SP that it interrupted and may [`Watermark::sample`] it. The
//! stack has certainly been as deep as the deepest sample; it may have been deeper between two
//! samples. So a sample serves displays and warnings and **never** decides what needs no erasing
//! ([`crate::erase`] does, from dirty bits).
//!
//! Only the CPU that runs on a stack samples it, so a sample is a load, a comparison and at most
//! one store. An NMI that samples between the load and the store of the code it interrupted may
//! have its deeper sample overwritten by that store; the value stays a lower bound.
//!
//! Neighbours: [`crate::record`] holds one [`Watermark`] per slot.

#[cfg(not(all(test, loom)))]
use core::sync::atomic::{AtomicUsize, Ordering};
#[cfg(all(test, loom))]
use loom::sync::atomic::{AtomicUsize, Ordering};

use crate::addr::{Addr, ByteSize};

/// The lowest SP sampled in the present life of a stack.
#[derive(Debug)]
#[repr(transparent)]
pub struct Watermark(AtomicUsize);

impl Default for Watermark {
    fn default() -> Self {
        Self::new()
    }
}

impl Watermark {
    /// No sample yet.
    #[cfg(not(all(test, loom)))]
    pub const fn new() -> Self {
        Self(AtomicUsize::new(usize::MAX))
    }

    /// The same for the models, whose atomics are made at run time.
    #[cfg(all(test, loom))]
    pub fn new() -> Self {
        Self(AtomicUsize::new(usize::MAX))
    }

    /// Forgets all samples: a new life begins. After a release fence, like every write to a record
    /// in a new life: see `record`.
    #[inline(always)]
    pub(crate) fn reset(&self) {
        self.0.store(usize::MAX, Ordering::Relaxed);
    }

    /// Whether SP is deeper than all samples.
    #[inline(always)]
    pub fn is_above(&self, sp: Addr) -> bool {
        sp.get() < self.0.load(Ordering::Relaxed)
    }

    /// Takes SP into account.
    #[inline(always)]
    pub fn sample(&self, sp: Addr) {
        if self.is_above(sp) {
            self.0.store(sp.get(), Ordering::Relaxed);
        }
    }

    /// The lowest SP sampled, or `None` without a sample.
    #[inline(always)]
    pub fn lowest_sample(&self) -> Option<Addr> {
        match self.0.load(Ordering::Acquire) {
            usize::MAX => None,
            sp => Some(Addr::new(sp)),
        }
    }

    /// How deep the stack that ends at `top` has been, at least. Zero without a sample.
    #[inline(always)]
    pub fn depth_at_least(&self, top: Addr) -> ByteSize {
        let sp = self.0.load(Ordering::Relaxed);
        if sp >= top.get() { ByteSize::ZERO } else { top.bytes_above(Addr::new(sp)) }
    }
}
