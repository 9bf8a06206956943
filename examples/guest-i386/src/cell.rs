//! A value of a machine with one CPU.

use core::cell::UnsafeCell;

pub struct OneCpu<T>(UnsafeCell<T>);
// SAFETY: one CPU, and interrupt handlers use none of these but through `without`.
unsafe impl<T> Sync for OneCpu<T> {}

impl<T> OneCpu<T> {
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Runs `body` on the value. `body` does not come here again, and does not switch.
    pub fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: one CPU; the callers' promise.
        body(unsafe { &mut *self.0.get() })
    }
}
