//! What threads have asked for of system calls that a program carries out itself, and how many
//! have asked for anything that each call has to be looked at for.

use core::sync::atomic::{AtomicUsize, Ordering};
use machine::spin::SpinLock;

/// Where calls are the kernel's.
#[derive(Debug, Clone, Copy)]
pub(in crate::process) struct UserDispatch {
    /// Calls from here are always the kernel's.
    pub(in crate::process) first: u64,
    pub(in crate::process) length: u64,
    /// The byte; 0: there is none, and all other calls are the program's.
    pub(super) selector: u64,
}

/// Threads that have asked: while there are none, a system call costs a load more.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Whether a thread has asked.
#[inline(always)]
pub(super) fn are_there() -> bool {
    COUNT.load(Ordering::Relaxed) != 0
}

/// A thread whose calls are to be looked at, for as long as this is there.
#[derive(Debug)]
pub(crate) struct Counted(());

impl Counted {
    pub(in crate::process) fn new() -> Self {
        COUNT.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        COUNT.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What one thread has asked for; counted for as long as it has.
#[derive(Debug)]
pub(in crate::process) struct Asked(SpinLock<Option<UserDispatch>>);

impl Asked {
    /// Nothing.
    pub(in crate::process) const fn new() -> Self {
        Self(SpinLock::new(None))
    }

    pub(in crate::process) fn get(&self) -> Option<UserDispatch> {
        *self.0.lock()
    }

    pub(in crate::process) fn set(&self, to: Option<UserDispatch>) {
        let before = core::mem::replace(&mut *self.0.lock(), to);
        match (before, to) {
            (None, Some(_)) => COUNT.fetch_add(1, Ordering::SeqCst),
            (Some(_), None) => COUNT.fetch_sub(1, Ordering::SeqCst),
            _ => 0,
        };
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.set(None);
    }
}
