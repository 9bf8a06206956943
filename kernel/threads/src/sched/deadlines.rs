//! Threads that wait with a deadline, and the timer that wakes them.
//!
//! # Invariants
//!
//! 1. A thread stands in [`TIMED`] only inside its wait, with interrupts off or asleep; `is_timed`
//!    says so, under the list's lock.
//! 2. [`NEXT`] is no later than the earliest deadline in the list, once both sides below are
//!    through: the sleeper enters the list and then lowers `NEXT`; the waker first raises `NEXT` to
//!    "never", then goes through the list and lowers `NEXT` to what it leaves. The list's lock
//!    orders the two, so that one of them lowers it after it was raised.

use super::list::{List, TIMED as LINK};
use super::run_queue::make_ready;
use super::switch::current_arc;
use super::thread::Thread;
use crate::clock;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::spin::SpinLock;

static TIMED: SpinLock<List<Thread, LINK>> = SpinLock::new(List::new());
/// The earliest deadline, in nanoseconds since boot.
static NEXT: AtomicU64 = AtomicU64::new(u64::MAX);

/// Puts the running thread, which is blocked already, into the list.
pub(super) fn enter(me: &Thread, deadline: u64) {
    me.deadline.store(deadline, Ordering::Relaxed);
    {
        let mut timed = TIMED.lock();
        me.is_timed.store(true, Ordering::Relaxed);
        timed.push(current_arc());
    }
    NEXT.fetch_min(deadline, Ordering::SeqCst);
    clock::ask_for(deadline);
}

/// Takes the running thread out, if it is in.
pub(super) fn leave(me: &Thread) {
    // Only a waker changes it meanwhile, and only from true to false, after it has taken the thread
    // out.
    if me.is_timed.load(Ordering::Acquire) {
        let mut timed = TIMED.lock();
        if me.is_timed.swap(false, Ordering::Relaxed) {
            timed.remove(me);
        }
    }
}

/// The earliest deadline.
pub fn next() -> u64 {
    NEXT.load(Ordering::Relaxed)
}

/// Wakes the threads whose deadline has passed. Costs a look at each thread that waits with a
/// deadline.
pub fn wake_due(now: u64) {
    NEXT.store(u64::MAX, Ordering::SeqCst);
    let mut timed = TIMED.lock();
    let mut rest = List::new();
    let mut next = u64::MAX;
    while let Some(thread) = timed.pop() {
        let deadline = thread.deadline.load(Ordering::Relaxed);
        if deadline <= now {
            thread.is_timed.store(false, Ordering::Release);
            make_ready(thread);
        } else {
            next = next.min(deadline);
            rest.push(thread);
        }
    }
    *timed = rest;
    NEXT.fetch_min(next, Ordering::SeqCst);
    clock::ask_for(next);
}
