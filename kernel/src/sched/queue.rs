//! A first-in, first-out list of threads, linked through the threads: it never allocates, so it works in interrupts.
//!
//! A thread has two links: one for the run queue, one for a wait queue. It can be in one list of each kind at a time (a
//! thread that is killed in its sleep is made ready while it still stands in the wait queue). The list owns a reference
//! to each thread in it.

use super::thread::Thread;
use alloc::sync::Arc;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

/// The run queue's links.
pub(super) const RUN: usize = 0;
/// Wait queues' links.
pub(super) const WAIT: usize = 1;

/// The list, linked through the threads' links of one kind; whoever uses it has it behind a lock.
#[derive(Debug)]
pub(super) struct ThreadList<const LINK: usize> {
    first: *const Thread,
    last: *const Thread,
}

// SAFETY: (1) the pointers are owned references to threads, which may be used from any CPU.
unsafe impl<const LINK: usize> Send for ThreadList<LINK> {}

fn link<const LINK: usize>(thread: &Thread) -> &AtomicPtr<Thread> {
    &thread.links[LINK]
}

impl<const LINK: usize> ThreadList<LINK> {
    pub(super) const fn new() -> Self {
        Self { first: ptr::null(), last: ptr::null() }
    }

    pub(super) fn push(&mut self, thread: Arc<Thread>) {
        link::<LINK>(&thread).store(ptr::null_mut(), Ordering::Relaxed);
        let thread = Arc::into_raw(thread);
        if self.last.is_null() {
            self.first = thread;
        } else {
            // SAFETY: (1) the list owns a reference to its last thread.
            link::<LINK>(unsafe { &*self.last }).store(thread.cast_mut(), Ordering::Relaxed);
        }
        self.last = thread;
    }

    pub(super) fn pop(&mut self) -> Option<Arc<Thread>> {
        if self.first.is_null() {
            return None;
        }
        // SAFETY: (1) the list owns this reference, made by `into_raw` in `push`, and gives it up here.
        let thread = unsafe { Arc::from_raw(self.first) };
        self.first = link::<LINK>(&thread).load(Ordering::Relaxed);
        if self.first.is_null() {
            self.last = ptr::null();
        }
        Some(thread)
    }

    /// Takes one thread out, wherever it stands. Says whether it was there.
    pub(super) fn remove(&mut self, thread: &Thread) -> bool {
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

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_null()
    }
}
