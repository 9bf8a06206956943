//! A sleeping lock. Its holder is known, so that what a dead thread held comes back.
//!
//! A guard on an abandoned stack is never dropped. So the mutex is written down in its holder's list of held locks, and
//! the overflow path lets go of all of them; the next owner can ask whether the value may be half changed (`is_poisoned`).

use crate::arch::cpu;
use crate::sched::{self, WaitQueue};
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The part of a mutex that does not depend on its value.
#[derive(Debug)]
pub struct RawMutex {
    /// The thread that holds it; 0: nobody.
    holder: AtomicU64,
    poisoned: AtomicBool,
    waiting: WaitQueue,
}

/// A value that one thread at a time may touch; others sleep.
#[derive(Debug)]
pub struct Mutex<T> {
    raw: RawMutex,
    value: UnsafeCell<T>,
}

// SAFETY: (1) the value is only reachable through a guard, and there is one guard at a time.
unsafe impl<T: Send> Sync for Mutex<T> {}
// SAFETY: (1) owning the mutex is owning the value.
unsafe impl<T: Send> Send for Mutex<T> {}

/// Holds the mutex.
#[derive(Debug)]
pub struct MutexGuard<'m, T> {
    mutex: &'m Mutex<T>,
}

impl RawMutex {
    fn lock(&self) {
        let me = sched::current();
        self.waiting.wait_uninterruptibly(|| {
            let free =
                self.holder.compare_exchange(0, me.id(), Ordering::Acquire, Ordering::Relaxed);
            if free.is_ok() {
                // In the same section: a thread that is ended in between would take the mutex along.
                me.note_held(self);
            }
            free.is_ok()
        });
    }

    fn unlock(&self) {
        cpu::without_interrupts(|| {
            sched::current().forget_held(self);
            self.let_go();
        });
    }

    fn let_go(&self) {
        self.holder.store(0, Ordering::Release);
        self.waiting.wake_all();
    }

    /// Takes the mutex away from a thread that will never run again.
    pub fn take_from_the_dead(&self) {
        self.poisoned.store(true, Ordering::Relaxed);
        self.let_go();
    }
}

impl<T> Mutex<T> {
    /// An open mutex.
    pub const fn new(value: T) -> Self {
        let raw = RawMutex {
            holder: AtomicU64::new(0),
            poisoned: AtomicBool::new(false),
            waiting: WaitQueue::new(),
        };
        Self { raw, value: UnsafeCell::new(value) }
    }

    /// Takes the mutex; sleeps while another thread holds it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.raw.lock();
        MutexGuard { mutex: self }
    }

    /// Whether a thread was ended while it held the mutex.
    pub fn is_poisoned(&self) -> bool {
        self.raw.poisoned.load(Ordering::Relaxed)
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: (1) we hold the mutex.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: (1) we hold the mutex.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.mutex.raw.unlock();
    }
}
