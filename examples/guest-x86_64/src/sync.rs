//! A spin lock that holds interrupts off, so that a handler can use what a thread uses.

use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, Ordering};
use x86_64::instructions::interrupts;

// kstack glue: begin
/// Locks that are held. There is one CPU.
static HELD: AtomicU32 = AtomicU32::new(0);

/// How many locks this CPU holds.
pub fn held() -> u32 {
    HELD.load(Ordering::Relaxed)
}
// kstack glue: end

/// A value that one at a time may use.
pub struct Lock<T>(spin::Mutex<T>);

/// The right to use it.
pub struct Guard<'a, T> {
    inner: Option<spin::MutexGuard<'a, T>>,
    interrupts_were_on: bool,
}

impl<T> Lock<T> {
    pub const fn new(value: T) -> Self {
        Self(spin::Mutex::new(value))
    }

    pub fn lock(&self) -> Guard<'_, T> {
        let interrupts_were_on = interrupts::are_enabled();
        interrupts::disable();
        let inner = Some(self.0.lock());
        HELD.fetch_add(1, Ordering::Relaxed); // kstack glue
        Guard { inner, interrupts_were_on }
    }

    /// Unlocks it while something holds it.
    ///
    /// # Safety
    ///
    /// The holder does not continue.
    pub unsafe fn force_unlock(&self) {
        // SAFETY: the caller's.
        unsafe { self.0.force_unlock() };
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.inner.as_ref().unwrap()
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_mut().unwrap()
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.inner = None;
        HELD.fetch_sub(1, Ordering::Relaxed); // kstack glue
        if self.interrupts_were_on {
            interrupts::enable();
        }
    }
}
