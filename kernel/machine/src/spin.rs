//! A spinning lock that keeps interrupts off while it is held.
//!
//! Interrupts off means: no handler on this CPU can want the same lock, and no thread preempts the
//! holder. Each CPU counts the spinning locks it holds: a thread whose stack overflows while it
//! holds one cannot be abandoned, because what the lock guards may be half changed. The verdict
//! then is to stop the system.

use crate::arch::cpu;
use crate::cpus;
use crate::fn_cell::FnCell;
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

/// What a CPU does while it waits for another.
static WHILE_WAITING: FnCell<fn()> = FnCell::new();

/// Sets what a CPU does again and again while it waits for a lock: what others wait for in turn.
/// Once, at boot, before there is a second CPU.
pub fn set_while_waiting(work: fn()) {
    WHILE_WAITING.set(Some(work));
}

/// Takes a lock that another CPU holds.
#[cold]
#[inline(never)]
fn spin(held: &AtomicBool) {
    loop {
        while held.load(Ordering::Relaxed) {
            if let Some(work) = WHILE_WAITING.get() {
                work();
            }
            core::hint::spin_loop();
        }
        if held.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            return;
        }
    }
}

/// A value that one CPU at a time may touch. The value first: a lock that is made is then not
/// copied with the bytes between the two.
#[derive(Debug)]
#[repr(C)]
pub struct SpinLock<T> {
    value: UnsafeCell<T>,
    held: AtomicBool,
}

// SAFETY: (1) the value is only reachable through a guard, and there is one guard at a time.
unsafe impl<T: Send> Sync for SpinLock<T> {}
// SAFETY: (1) owning the lock is owning the value.
unsafe impl<T: Send> Send for SpinLock<T> {}

/// Holds the lock; gives it back when dropped, and interrupts if they were on.
#[derive(Debug)]
pub struct SpinGuard<'l, T> {
    lock: &'l SpinLock<T>,
    interrupts_were_on: bool,
}

impl<T> SpinLock<T> {
    /// An open lock.
    pub const fn new(value: T) -> Self {
        Self { value: UnsafeCell::new(value), held: AtomicBool::new(false) }
    }

    /// Takes the lock; spins while another CPU holds it.
    #[inline]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        self.take(cpu::interrupts_off())
    }

    /// The same where interrupts are off already, and stay off until the guard is gone. A caller
    /// that is wrong about that may wait for itself, in an interrupt; the value is one CPU's at a
    /// time all the same.
    #[inline]
    pub fn lock_uninterrupted(&self) -> SpinGuard<'_, T> {
        debug_assert!(!cpu::interrupts_are_on());
        self.take(false)
    }

    #[inline(always)]
    fn take(&self, interrupts_were_on: bool) -> SpinGuard<'_, T> {
        if self.held.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            spin(&self.held);
        }
        cpus::spin_count_up();
        SpinGuard { lock: self, interrupts_were_on }
    }
}

impl<T> Deref for SpinGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: (1) we hold the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for SpinGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: (1) we hold the lock.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for SpinGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        cpus::spin_count_down();
        self.lock.held.store(false, Ordering::Release);
        if self.interrupts_were_on {
            cpu::interrupts_on();
        }
    }
}
