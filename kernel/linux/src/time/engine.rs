//! Alarms: each is called when its time has come, by one thread, the earliest first.
//!
//! They stand in a binary heap, and each knows its place, so that setting one and taking one out
//! costs as many steps as the heap is deep. Room in the heap is made with the alarm
//! ([`Room::reserve`]): setting it needs no memory and cannot fail. How many there may be is
//! bounded.
//!
//! # Invariants
//!
//! 1. The heap has at most as many entries as there are [`Room`]s, and its list room for all of
//!    them: an alarm holds a room as long as it lives, and stands in the heap once at most.
//! 2. An alarm's place is that of its entry, or [`NOWHERE`]. Changes under the heap's lock.
//! 3. The thread sleeps no longer than until the first entry's time: what makes another entry
//!    the first wakes it.
//! 4. Order of locks: an alarm's own, then the heap's. An alarm is called without the heap's lock,
//!    and looks itself whether its time has come: it may have been set anew in between.

use crate::error::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use machine::spin::SpinLock;
use threads::sched::{self, WaitQueue};
use threads::time;

/// Alarms that there may be in all.
const MAX_ALARMS: usize = 1 << 16;
/// Not in the heap.
const NOWHERE: usize = usize::MAX;
/// No alarm is set.
const NEVER: u64 = u64::MAX;

/// What is called when its time has come.
pub(crate) trait Alarm: Send + Sync {
    /// Where it stands in the heap, and its right to stand there.
    fn room(&self) -> &Room;
    /// The time has come that it was set to, or the time of day was set.
    fn call(self: Arc<Self>);
}

/// Room in the heap for an alarm.
#[derive(Debug)]
pub(crate) struct Room {
    place: AtomicUsize,
}

impl Room {
    /// Room for one more. `EAGAIN`: there are as many as there may be.
    pub(crate) fn reserve() -> Result<Self, Errno> {
        let mut heap = HEAP.lock();
        if heap.rooms == MAX_ALARMS {
            return Err(Errno::EAGAIN);
        }
        let needed = heap.rooms + 1 - heap.entries.len();
        heap.entries.try_reserve(needed).map_err(|_| Errno::EAGAIN)?;
        heap.rooms += 1;
        Ok(Self { place: AtomicUsize::new(NOWHERE) })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        HEAP.lock().rooms -= 1;
    }
}

/// How many alarms there are, set or not.
pub fn count() -> usize {
    HEAP.lock().rooms
}

struct Entry {
    when: u64,
    alarm: Arc<dyn Alarm>,
}

impl Entry {
    fn set_place(&self, place: usize) {
        self.alarm.room().place.store(place, Ordering::Relaxed);
    }
}

/// The entry at 0 is the earliest; none is earlier than the one at half its place.
struct Heap {
    entries: Vec<Entry>,
    rooms: usize,
}

static HEAP: SpinLock<Heap> = SpinLock::new(Heap { entries: Vec::new(), rooms: 0 });
/// The thread that calls.
static CALLER: WaitQueue = WaitQueue::new();

impl Heap {
    fn first(&self) -> u64 {
        self.entries.first().map_or(NEVER, |entry| entry.when)
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.entries.swap(one, other);
        self.entries[one].set_place(one);
        self.entries[other].set_place(other);
    }

    /// Moves an entry to where it belongs, up or down.
    fn settle(&mut self, mut at: usize) {
        while at > 0 && self.entries[at].when < self.entries[(at - 1) / 2].when {
            self.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
        loop {
            let children = 2 * at + 1..(2 * at + 3).min(self.entries.len());
            let Some(least) = children.min_by_key(|&child| self.entries[child].when) else { break };
            if self.entries[least].when >= self.entries[at].when {
                break;
            }
            self.swap(at, least);
            at = least;
        }
    }

    /// Takes out the entry at a place: to be dropped without the lock.
    fn remove(&mut self, at: usize) -> Option<Entry> {
        if at >= self.entries.len() {
            return None;
        }
        let gone = self.entries.swap_remove(at);
        gone.set_place(NOWHERE);
        if at < self.entries.len() {
            self.entries[at].set_place(at);
            self.settle(at);
        }
        Some(gone)
    }
}

/// Sets an alarm to a time (nanoseconds since boot), whether it was set or not.
pub(crate) fn set(alarm: Arc<dyn Alarm>, when: u64) {
    let is_first = {
        let mut heap = HEAP.lock();
        let before = heap.first();
        match alarm.room().place.load(Ordering::Relaxed) {
            NOWHERE => {
                let at = heap.entries.len();
                let entry = Entry { when, alarm };
                entry.set_place(at);
                // CANNOT FAIL: there is room for all.
                heap.entries.push(entry);
                heap.settle(at);
            }
            at => {
                heap.entries[at].when = when;
                heap.settle(at);
            }
        }
        heap.first() < before
    };
    if is_first {
        CALLER.wake_all();
    }
}

/// Takes an alarm out, if it is set.
pub(crate) fn cancel(alarm: &dyn Alarm) {
    let gone = {
        let mut heap = HEAP.lock();
        let at = alarm.room().place.load(Ordering::Relaxed);
        heap.remove(at)
    };
    drop(gone);
}

/// Has all alarms called that are set: each looks whether it is time.
pub(super) fn call_all() {
    {
        let mut heap = HEAP.lock();
        // Equal times are a heap in any order.
        heap.entries.iter_mut().for_each(|entry| entry.when = 0);
    }
    CALLER.wake_all();
}

/// Starts the thread.
pub(super) fn start() {
    let started = sched::spawn_kernel("timerd", |_| run(), 0);
    started.expect("a thread at boot");
}

fn run() {
    loop {
        let first = HEAP.lock().first();
        let deadline = (first != NEVER).then_some(first);
        // A thread of the kernel has no signals.
        let _woken = CALLER.wait_deadline(|| HEAP.lock().first() < first, deadline);
        while let Some(due) = take_due() {
            due.alarm.call();
        }
    }
}

/// Takes out the first alarm, if it is due.
fn take_due() -> Option<Entry> {
    let now = time::nanoseconds();
    let mut heap = HEAP.lock();
    if heap.first() <= now { heap.remove(0) } else { None }
}
