//! A spin lock that holds interrupts off.

use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, Ordering};
use riscv::register::sstatus;

// kstack glue: begin
/// Locks that are held. There is one hart.
static HELD: AtomicU32 = AtomicU32::new(0);

/// How many locks this hart holds.
pub fn held() -> u32 {
    HELD.load(Ordering::Relaxed)
}
// kstack glue: end

pub struct Lock<T>(spin::Mutex<T>);

pub struct Guard<'a, T>(Option<spin::MutexGuard<'a, T>>, bool);

impl<T> Lock<T> {
    pub const fn new(value: T) -> Self {
        Self(spin::Mutex::new(value))
    }

    pub fn lock(&self) -> Guard<'_, T> {
        let were_on = off();
        let inner = Some(self.0.lock());
        HELD.fetch_add(1, Ordering::Relaxed); // kstack glue
        Guard(inner, were_on)
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

/// Turns interrupts off; says whether they were on.
pub fn off() -> bool {
    let were_on = sstatus::read().sie();
    // SAFETY: fewer interrupts break nothing.
    unsafe { sstatus::clear_sie() };
    were_on
}

/// Turns them on again if they were.
pub fn restore(were_on: bool) {
    if were_on {
        // SAFETY: as it was before `off`.
        unsafe { sstatus::set_sie() };
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.0.as_ref().unwrap()
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().unwrap()
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.0 = None;
        HELD.fetch_sub(1, Ordering::Relaxed); // kstack glue
        restore(self.1);
    }
}
