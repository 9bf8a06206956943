//! A first-in, first-out list of what is linked through itself: it never allocates, so it works in
//! interrupts.
//!
//! A thread has three links: one for the run queue, one for a wait queue, one for the list of
//! deadlines. It can be in one list of each kind at a time (a thread that is killed in its sleep is
//! made ready while it still stands in the wait queue). The list owns a reference to each thread in
//! it.

use alloc::sync::Arc;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

/// The run queue's links.
pub(super) const RUN: usize = 0;
/// Wait queues' links.
pub(super) const WAIT: usize = 1;
/// Links of the list of threads that wait with a deadline.
pub(super) const TIMED: usize = 2;
/// Kinds of links.
pub(super) const LINKS: usize = 3;

/// What a list links: it has a link of each kind.
pub(super) trait Linked: Sized + Send + Sync {
    /// The links, by kind. Only the lists use them.
    fn links(&self) -> &[AtomicPtr<Self>; LINKS];
}

/// The list, linked through the links of one kind; its users have it behind a lock.
#[derive(Debug)]
pub(super) struct List<T, const LINK: usize> {
    first: *const T,
    last: *const T,
}

// SAFETY: (1) the pointers are owned references to what may be used from any CPU.
unsafe impl<T: Linked, const LINK: usize> Send for List<T, LINK> {}

impl<T, const LINK: usize> List<T, LINK> {
    pub(super) const fn new() -> Self {
        Self { first: ptr::null(), last: ptr::null() }
    }
}

fn link<T: Linked, const LINK: usize>(one: &T) -> &AtomicPtr<T> {
    &one.links()[LINK]
}

impl<T: Linked, const LINK: usize> List<T, LINK> {
    pub(super) fn push(&mut self, thread: Arc<T>) {
        link::<T, LINK>(&thread).store(ptr::null_mut(), Ordering::Relaxed);
        let thread = Arc::into_raw(thread);
        if self.last.is_null() {
            self.first = thread;
        } else {
            // SAFETY: (1) the list owns a reference to its last thread.
            link::<T, LINK>(unsafe { &*self.last }).store(thread.cast_mut(), Ordering::Relaxed);
        }
        self.last = thread;
    }

    pub(super) fn pop(&mut self) -> Option<Arc<T>> {
        if self.first.is_null() {
            return None;
        }
        // SAFETY: (1) the list owns this reference, made by `into_raw` in `push`, and gives it up
        // here.
        let thread = unsafe { Arc::from_raw(self.first) };
        self.first = link::<T, LINK>(&thread).load(Ordering::Relaxed);
        if self.first.is_null() {
            self.last = ptr::null();
        }
        Some(thread)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// Takes one thread out, wherever it stands. Says whether it was there.
    pub(super) fn remove(&mut self, thread: &T) -> bool {
        let mut rest = Self::new();
        let mut found = false;
        while let Some(next) = self.pop() {
            if ptr::eq(&*next, thread) {
                found = true;
            } else {
                rest.push(next);
            }
        }
        *self = rest;
        found
    }

    /// Whether one of them is as asked for. Under the list's lock.
    pub(super) fn any(&self, mut holds: impl FnMut(&T) -> bool) -> bool {
        let mut next = self.first;
        while !next.is_null() {
            // SAFETY: (1) the list owns a reference to each thread in it, and does not change while
            // it is borrowed.
            let thread = unsafe { &*next };
            if holds(thread) {
                return true;
            }
            next = link::<T, LINK>(thread).load(Ordering::Relaxed);
        }
        false
    }
}
