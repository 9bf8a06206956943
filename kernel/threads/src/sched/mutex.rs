//! A sleeping lock. Its holder is known, so that what a dead thread held comes back.
//!
//! A guard on an abandoned stack is never dropped. So the mutex is written down in its holder's
//! list of held locks, and the overflow path lets go of all of them; the next owner can ask whether
//! the value may be half changed (`is_poisoned`).

use super::switch::current;
use super::thread::{RawMutex, Thread, WaitQueue};
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use machine::arch::cpu;

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
        // Free, most often.
        if !cpu::without_interrupts(|| self.take_if_free()) {
            self.wait_and_take();
        }
    }

    #[cold]
    #[inline(never)]
    fn wait_and_take(&self) {
        self.waiting.wait_uninterruptibly(|| self.take_if_free());
    }

    /// With interrupts off: a thread that is ended between taking it and writing that down would
    /// take the mutex along.
    #[inline(always)]
    fn take_if_free(&self) -> bool {
        let me = current();
        let free =
            self.holder.compare_exchange(0, me.id().get(), Ordering::Acquire, Ordering::Relaxed);
        if free.is_ok() {
            me.note_held(self);
        }
        free.is_ok()
    }

    fn unlock(&self) {
        cpu::without_interrupts(|| {
            current().forget_held(self);
            self.let_go();
        });
    }

    fn let_go(&self) {
        self.holder.store(0, Ordering::Release);
        self.waiting.wake_all();
    }

    /// Takes the mutex away from a thread that will never run again.
    fn force_release(&self) {
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

impl Thread {
    /// Writes down that it holds a sleeping lock.
    fn note_held(&self, mutex: &RawMutex) {
        let mutex = core::ptr::from_ref(mutex).cast_mut();
        let free = self.held.iter().find(|held| held.load(Ordering::Relaxed).is_null());
        free.expect("a thread holds at most eight sleeping locks").store(mutex, Ordering::Relaxed);
    }

    /// Strikes a sleeping lock out.
    fn forget_held(&self, mutex: &RawMutex) {
        let mutex = core::ptr::from_ref(mutex).cast_mut();
        if let Some(held) = self.held.iter().find(|held| held.load(Ordering::Relaxed) == mutex) {
            held.store(core::ptr::null_mut(), Ordering::Relaxed);
        }
    }

    /// Lets go of every sleeping lock it holds. By the overflow path, for a thread that will not
    /// run on. Returns how many.
    pub fn let_go_of_all_held(&self) -> usize {
        let mut count = 0;
        for held in &self.held {
            let mutex = held.swap(core::ptr::null_mut(), Ordering::Relaxed);
            if !mutex.is_null() {
                // SAFETY: (1) a held mutex is borrowed by a guard on the thread's stack, which has
                // not been given back.
                unsafe { &*mutex }.force_release();
                count += 1;
            }
        }
        count
    }
}
