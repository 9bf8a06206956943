//! The threads that sleep on words: a table of queues, by a hash of what a word is known by.
//!
//! # Invariants
//!
//! 1. An entry is in the queue of its key, and moves to another key with the locks of both queues
//!    held, lower place first.
//! 2. Who takes an entry out to wake its thread says so to the thread under the queue's lock. A
//!    thread that takes its own entry out therefore knows whether it was woken: it finds its entry,
//!    or it was.
//! 3. A thread has one [`Waiter`], for all words it sleeps on at once, and only while it sleeps.
//! 4. [`Waiter::places`] counts its entries. It rises and falls under the lock of the entry's
//!    queue, and falls after the thread was told that it is woken. So a thread for which it is 0 is
//!    out of all queues; only the thread itself makes it rise from there.

use crate::error::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use machine::memory::fallible;
use machine::mix::mix;
use machine::spin::SpinLock;
use threads::sched::{self, WaitQueue};

/// What a word is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// One of an address space, and where in it.
    Private(usize, u64),
    /// One of a shared mapping: the number of what is mapped, and where in it.
    Shared(u64, u64),
}

/// A thread that sleeps on words.
#[derive(Debug)]
pub(crate) struct Waiter {
    /// The thread's number, as programs know it.
    pub(super) number: u32,
    /// Its rank when it fell asleep: who is of real time is woken first.
    rank: u8,
    /// [`ASLEEP`], or which of its words woke it.
    woken_by: AtomicU32,
    /// Entries of its.
    places: AtomicU32,
    pub(super) queue: WaitQueue,
}

const ASLEEP: u32 = u32::MAX;

impl Waiter {
    pub(super) fn new(number: u32) -> Result<Arc<Self>, Errno> {
        let (woken_by, places) = (AtomicU32::new(ASLEEP), AtomicU32::new(0));
        let rank = sched::rank(sched::current()).0;
        Ok(fallible::shared(Self { number, rank, woken_by, places, queue: WaitQueue::new() })?)
    }

    /// Which of its words woke it.
    pub(super) fn woken_by(&self) -> Option<u32> {
        let by = self.woken_by.load(Ordering::Acquire);
        (by != ASLEEP).then_some(by)
    }

    /// Wakes it for an entry that is taken out, under the lock of its queue.
    fn wake(&self, by: u32) {
        self.woken_by.store(by, Ordering::Release);
        self.places.fetch_sub(1, Ordering::Release);
        self.queue.wake_all();
    }
}

/// What a sleeping thread is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be woken.
    Wake,
    /// To be given the lock that the word is.
    Lock,
    /// To be moved to the lock that another word is (`FUTEX_WAIT_REQUEUE_PI`).
    LockLater(Key),
}

/// One thread asleep on one word.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) bits: u32,
    /// Which of the thread's words it is.
    pub(super) index: u32,
    pub(super) purpose: Purpose,
    pub(super) waiter: Arc<Waiter>,
}

/// A power of two.
const QUEUES: usize = 256;

type Queue = SpinLock<Vec<Entry>>;

static TABLE: [Queue; QUEUES] = [const { SpinLock::new(Vec::new()) }; QUEUES];

fn place(key: Key) -> usize {
    let (whose, address) = match key {
        Key::Private(space, address) => (space as u64, address),
        Key::Shared(node, offset) => (!node, offset),
    };
    mix(whose ^ mix(address)) as usize % QUEUES
}

/// Puts an entry where there is room for one: behind those of its rank, before those of lower ones.
fn insert(queue: &mut Vec<Entry>, entry: Entry) {
    let at = queue.partition_point(|other| other.waiter.rank >= entry.waiter.rank);
    // CANNOT FAIL: callers have reserved the room.
    queue.insert(at, entry);
}

/// Puts a thread to a word's queue, behind those of its rank.
pub(super) fn enter(entry: Entry) -> Result<(), Errno> {
    let mut queue = TABLE[place(entry.key)].lock();
    queue.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
    // Under the lock: before it can be taken out.
    entry.waiter.places.fetch_add(1, Ordering::Relaxed);
    insert(&mut queue, entry);
    Ok(())
}

/// Takes a thread out of all queues that it is in, `from` first. Afterwards it has been woken or
/// will not be.
pub(super) fn leave(waiter: &Arc<Waiter>, from: Option<Key>) {
    let take_out = |queue: &Queue| {
        let mut queue = queue.lock();
        let before = queue.len();
        queue.retain(|entry| !Arc::ptr_eq(&entry.waiter, waiter));
        waiter.places.fetch_sub((before - queue.len()) as u32, Ordering::Release);
    };
    let is_counted = || waiter.places.load(Ordering::Acquire) > 0;
    if let Some(key) = from.filter(|_| is_counted()) {
        take_out(&TABLE[place(key)]);
    }
    // Moved, or in several: one that is being moved right now is met in a later round.
    while is_counted() {
        TABLE.iter().for_each(take_out);
        if is_counted() && !is_anywhere(waiter) {
            // A thread whose stack overflowed while it held the queue took the entry with it.
            return;
        }
    }
}

fn is_anywhere(waiter: &Arc<Waiter>) -> bool {
    TABLE.iter().any(|queue| queue.lock().iter().any(|entry| Arc::ptr_eq(&entry.waiter, waiter)))
}

/// Wakes up to `most` threads that sleep on a word with one of these bits; how many.
pub(super) fn wake(key: Key, bits: u32, most: usize) -> usize {
    let mut queue = TABLE[place(key)].lock();
    let mut woken = 0;
    queue.retain(|entry| {
        let is_meant = woken < most
            && entry.key == key
            && entry.bits & bits != 0
            && entry.purpose == Purpose::Wake;
        if is_meant {
            entry.waiter.wake(entry.index);
            woken += 1;
        }
        !is_meant
    });
    woken
}

/// Whether a thread waits at a word for anything but to be woken.
pub(super) fn has_lockers(key: Key) -> bool {
    TABLE[place(key)].lock().iter().any(|entry| entry.key == key && entry.purpose != Purpose::Wake)
}

/// Wakes up to `wake` threads that sleep on a word and has up to `move_on` more sleep on another
/// one; how many in all.
pub(super) fn requeue(from: Key, to: Key, wake: usize, move_on: usize) -> Result<usize, Errno> {
    let (first, second) = (place(from), place(to));
    if first == second {
        let mut queue = TABLE[first].lock();
        let mut done = 0;
        queue.retain_mut(|entry| {
            if entry.key != from || done >= wake.saturating_add(move_on) {
                return true;
            }
            done += 1;
            if done > wake {
                entry.key = to;
                return true;
            }
            entry.waiter.wake(entry.index);
            false
        });
        return Ok(done);
    }
    let (mut low, mut high) = (TABLE[first.min(second)].lock(), TABLE[first.max(second)].lock());
    let (source, target) =
        if first < second { (&mut *low, &mut *high) } else { (&mut *high, &mut *low) };
    let meant = source.iter().filter(|entry| entry.key == from).count();
    let moved = meant.saturating_sub(wake).min(move_on);
    target.try_reserve(moved).map_err(|_| Errno::ENOMEM)?;
    let mut done = 0;
    source.retain(|entry| {
        if entry.key != from || done >= wake.saturating_add(moved) {
            return true;
        }
        done += 1;
        if done <= wake {
            entry.waiter.wake(entry.index);
        } else {
            insert(target, Entry { key: to, ..entry.clone() });
        }
        false
    });
    Ok(done)
}

/// The first thread at a word that waits to be given a lock, without taking it out; and whether
/// there are more.
pub(super) fn first_locker(key: Key) -> Option<(Arc<Waiter>, bool)> {
    let queue = TABLE[place(key)].lock();
    let mut lockers =
        queue.iter().filter(|entry| entry.key == key && entry.purpose == Purpose::Lock);
    let first = lockers.next()?.waiter.clone();
    Some((first, lockers.next().is_some()))
}

/// Takes a thread out of a word's queue and wakes it. Whether it was there.
pub(super) fn wake_this(key: Key, waiter: &Arc<Waiter>) -> bool {
    let mut queue = TABLE[place(key)].lock();
    let at = queue.iter().position(|e| e.key == key && Arc::ptr_eq(&e.waiter, waiter));
    let taken = at.map(|at| queue.remove(at));
    if let Some(entry) = &taken {
        entry.waiter.wake(entry.index);
    }
    drop(queue);
    taken.is_some()
}

/// The first thread at a word that waits to be moved to that lock.
pub(super) fn first_to_move(from: Key, to: Key) -> Option<Arc<Waiter>> {
    let queue = TABLE[place(from)].lock();
    let is_meant = |e: &&Entry| e.key == from && e.purpose == Purpose::LockLater(to);
    queue.iter().find(is_meant).map(|entry| entry.waiter.clone())
}

/// Whether a thread at a word waits for anything but to be moved to that lock.
pub(super) fn has_others(from: Key, to: Key) -> bool {
    let queue = TABLE[place(from)].lock();
    queue.iter().any(|e| e.key == from && e.purpose != Purpose::LockLater(to))
}

/// Whether a thread waits for a lock by now.
pub(super) fn waits_for_lock(key: Key, waiter: &Arc<Waiter>) -> bool {
    let queue = TABLE[place(key)].lock();
    let is_it = |e: &Entry| e.purpose == Purpose::Lock && Arc::ptr_eq(&e.waiter, waiter);
    queue.iter().any(is_it)
}

/// Has a thread wait for a lock now, last. Without memory it stays where it is.
pub(super) fn move_to_lock(from: Key, to: Key, waiter: &Arc<Waiter>) -> Result<(), Errno> {
    let is_meant = |e: &Entry| e.key == from && Arc::ptr_eq(&e.waiter, waiter);
    let moved = |entry: Entry| Entry { key: to, purpose: Purpose::Lock, ..entry };
    let (first, second) = (place(from), place(to));
    if first == second {
        let mut queue = TABLE[first].lock();
        if let Some(at) = queue.iter().position(is_meant) {
            let entry = queue.remove(at);
            // It takes the room that it had.
            insert(&mut queue, moved(entry));
        }
        return Ok(());
    }
    let (mut low, mut high) = (TABLE[first.min(second)].lock(), TABLE[first.max(second)].lock());
    let (source, target) =
        if first < second { (&mut *low, &mut *high) } else { (&mut *high, &mut *low) };
    if let Some(at) = source.iter().position(is_meant) {
        target.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        insert(target, moved(source.remove(at)));
    }
    Ok(())
}

/// How many there are in all.
pub(super) fn count() -> usize {
    TABLE.iter().map(|queue| queue.lock().len()).sum()
}
