//! The lock around what the CPUs share of a pool.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// A value that one CPU at a time may touch, for a few instructions with interrupts off.
#[derive(Debug)]
pub(crate) struct SpinLock<T> {
    held: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: (1) the value is reachable through `with` alone, which lets one in at a time.
unsafe impl<T: Send> Sync for SpinLock<T> {}

/// Opens the lock at the end of `with`, also when the closure unwinds.
struct Open<'l>(&'l AtomicBool);

impl Drop for Open<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl<T> SpinLock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { held: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Runs `body` on the value. Interrupts are off: a handler on this CPU that wanted the same
    /// would wait for itself. `relax` is called over and over while another CPU has the lock.
    #[inline(always)]
    pub(crate) fn with<R>(&self, relax: impl Fn(), body: impl FnOnce(&mut T) -> R) -> R {
        while self.held.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_err()
        {
            while self.held.load(Ordering::Relaxed) {
                relax();
            }
        }
        let _open = Open(&self.held);
        // SAFETY: (1) the exchange let us in, and `_open` lets the next one in only after `body`.
        body(unsafe { &mut *self.value.get() })
    }
}
