//! Locks on files that programs keep to among themselves: flock(2), and the ranges of fcntl(2), of
//! processes and of open files.
//!
//! # Invariants
//!
//! 1. No two locks of one file and family conflict: they overlap, one of them is exclusive, and
//!    their owners differ.
//! 2. The ranges that one owner has of one file do not overlap; neighbours of one kind are one
//!    range.
//! 3. Who sleeps for a range is among [`State::sleepers`] with what was asked for. A circle of
//!    sleepers is looked for under the same lock, by what holds each of them up at that moment: a
//!    circle that has been opened is never reported.
//! 4. Locks go with their owner: those of an open file when that is dropped, those of a process
//!    when it closes any descriptor of the file, or with its table of descriptors. Where none were
//!    ever taken, that costs one load.

use crate::error::Errno;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicUsize, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched::WaitQueue;

/// All locks that there can be: they are looked through one by one, with interrupts off.
const MOST: usize = 4096;
/// Sleepers in a row that are looked at for a circle, as in Linux.
const MAX_STEPS: usize = 10;

/// The file: its file system and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) &'static str, pub(crate) u64);

/// Whose a lock is: an open file by its place in memory, or a table of descriptors by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// flock.
    File(usize),
    /// A range of an open file (`F_OFD_SETLK`).
    RangeOfFile(usize),
    /// A range of a process (`F_SETLK`).
    Process(u64),
}

impl Owner {
    /// flock knows nothing of ranges, and ranges nothing of it.
    const fn is_whole(self) -> bool {
        matches!(self, Self::File(_))
    }
}

/// A lock, or what is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lock {
    pub(crate) key: Key,
    pub(crate) owner: Owner,
    pub(crate) is_exclusive: bool,
    /// The first byte and the last one.
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// The process that took it.
    pub(crate) process: u64,
}

/// The last byte of a range that has no end.
pub(crate) const NO_END: u64 = i64::MAX as u64;

impl Lock {
    fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    fn conflicts(&self, other: &Self) -> bool {
        self.key == other.key
            && self.owner != other.owner
            && self.owner.is_whole() == other.owner.is_whole()
            && (self.is_exclusive || other.is_exclusive)
            && self.overlaps(other)
    }
}

struct State {
    locks: Vec<Lock>,
    /// What processes sleep for.
    sleepers: Vec<Lock>,
}

static STATE: SpinLock<State> = SpinLock::new(State { locks: Vec::new(), sleepers: Vec::new() });
static FREED: WaitQueue = WaitQueue::new();
/// How many there are.
static COUNT: AtomicUsize = AtomicUsize::new(0);

impl State {
    fn conflict(&self, wanted: &Lock) -> Option<&Lock> {
        self.locks.iter().find(|lock| lock.conflicts(wanted))
    }

    /// Whether a sleeper for this would never wake: who holds it up sleeps, through others, for its
    /// owner.
    fn is_circle(&self, wanted: &Lock) -> bool {
        let mut holder = self.conflict(wanted);
        for _ in 0..MAX_STEPS {
            let Some(owner) = holder.map(|lock| lock.owner) else { return false };
            if owner == wanted.owner {
                return true;
            }
            let sleeps = self.sleepers.iter().find(|sleeper| sleeper.owner == owner);
            holder = sleeps.and_then(|sleeper| self.conflict(sleeper));
        }
        false
    }

    /// Takes a range away from what its owner has: of one lock, two may be left.
    fn cut(&mut self, from: &Lock) -> Result<(), Errno> {
        self.locks.try_reserve(1).map_err(|_| Errno::ENOLCK)?;
        let mut at = 0;
        while at < self.locks.len() {
            let lock = self.locks[at];
            let is_own = lock.key == from.key && lock.owner == from.owner;
            if !is_own || !lock.overlaps(from) {
                at += 1;
                continue;
            }
            let below = (lock.first < from.first).then(|| Lock { last: from.first - 1, ..lock });
            let above = (lock.last > from.last).then(|| Lock { first: from.last + 1, ..lock });
            match (below, above) {
                (Some(below), Some(above)) => {
                    self.locks[at] = below;
                    // CANNOT FAIL: reserved above. Only one lock can reach beyond both ends.
                    self.locks.push(above);
                }
                (Some(part), None) | (None, Some(part)) => self.locks[at] = part,
                (None, None) => {
                    self.locks.swap_remove(at);
                    continue;
                }
            }
            at += 1;
        }
        Ok(())
    }

    /// Adds a range of which its owner has nothing; it takes in neighbours of its kind.
    fn add(&mut self, mut new: Lock) -> Result<(), Errno> {
        let is_neighbour = |lock: &Lock, new: &Lock| {
            lock.key == new.key
                && lock.owner == new.owner
                && lock.is_exclusive == new.is_exclusive
                && (lock.last.checked_add(1) == Some(new.first)
                    || new.last.checked_add(1) == Some(lock.first))
        };
        while let Some(at) = self.locks.iter().position(|lock| is_neighbour(lock, &new)) {
            let lock = self.locks.swap_remove(at);
            (new.first, new.last) = (lock.first.min(new.first), lock.last.max(new.last));
        }
        Ok(fallible::push(&mut self.locks, new)?)
    }

    /// Sets a lock where nothing conflicts with it.
    fn set(&mut self, wanted: Lock) -> Result<(), Errno> {
        if self.locks.len() + 2 > MOST {
            return Err(Errno::ENOLCK);
        }
        // One for what is cut in two, one for the new one.
        self.locks.try_reserve(2).map_err(|_| Errno::ENOLCK)?;
        self.cut(&wanted)?;
        self.add(wanted)
    }

    fn note_count(&self) {
        COUNT.store(self.locks.len(), Ordering::SeqCst);
    }
}

/// The lock that stands in the way of one.
pub(crate) fn conflict(wanted: &Lock) -> Option<Lock> {
    STATE.lock().conflict(wanted).copied()
}

/// A lock of the same owner that has something of a range.
pub(crate) fn own_within(range: &Lock) -> Option<Lock> {
    let is_it =
        |lock: &&Lock| lock.key == range.key && lock.owner == range.owner && lock.overlaps(range);
    STATE.lock().locks.iter().find(is_it).copied()
}

/// Sets a lock; sleeps until nothing conflicts with it, if it may. `EDEADLK`: it would sleep
/// without end.
pub(crate) fn set(wanted: Lock, may_sleep: bool) -> Result<(), Errno> {
    let mut result = Ok(());
    let mut try_once = || {
        let mut state = STATE.lock();
        state.sleepers.retain(|sleeper| sleeper.owner != wanted.owner);
        if state.conflict(&wanted).is_none() {
            result = state.set(wanted);
            state.note_count();
            return true;
        }
        if !may_sleep {
            result = Err(Errno::EAGAIN);
            return true;
        }
        if let Owner::Process(_) = wanted.owner {
            if state.is_circle(&wanted) {
                result = Err(Errno::EDEADLK);
                return true;
            }
            if fallible::push(&mut state.sleepers, wanted).is_err() {
                result = Err(Errno::ENOLCK);
                return true;
            }
        }
        false
    };
    let waited = FREED.wait_until(&mut try_once);
    if waited.is_err() {
        STATE.lock().sleepers.retain(|sleeper| sleeper.owner != wanted.owner);
    }
    waited?;
    // What it had of another kind may have been what others sleep for.
    FREED.wake_all();
    result
}

/// Gives a range back.
pub(crate) fn release(range: &Lock) -> Result<(), Errno> {
    {
        let mut state = STATE.lock();
        state.cut(range)?;
        state.note_count();
    }
    FREED.wake_all();
    Ok(())
}

fn release_where(is_meant: impl Fn(&Lock) -> bool) {
    if COUNT.load(Ordering::SeqCst) == 0 {
        return;
    }
    let were_any = {
        let mut state = STATE.lock();
        let before = state.locks.len();
        state.locks.retain(|lock| !is_meant(lock));
        state.sleepers.retain(|lock| !is_meant(lock));
        state.note_count();
        state.locks.len() != before
    };
    if were_any {
        FREED.wake_all();
    }
}

/// An open file has no users any more.
pub(crate) fn file_is_dropped(file: usize) {
    release_where(
        |lock| matches!(lock.owner, Owner::File(own) | Owner::RangeOfFile(own) if own == file),
    );
}

/// Whether there are locks: a file that is closed is looked for among them.
pub(crate) fn are_there() -> bool {
    COUNT.load(Ordering::SeqCst) != 0
}

/// A process closes a descriptor of a file: its ranges of it go, whichever descriptor it took them
/// by.
pub(crate) fn descriptor_is_closed(table: u64, key: Key) {
    release_where(|lock| lock.owner == Owner::Process(table) && lock.key == key);
}

/// A table of descriptors goes.
pub(crate) fn table_is_dropped(table: u64) {
    release_where(|lock| lock.owner == Owner::Process(table));
}

/// /proc/locks.
pub(crate) fn write_all(to: &mut dyn Write) -> fmt::Result {
    let state = STATE.lock();
    for (number, lock) in state.locks.iter().enumerate() {
        let family = match lock.owner {
            Owner::File(_) => "FLOCK ",
            Owner::RangeOfFile(_) => "OFDLCK",
            Owner::Process(_) => "POSIX ",
        };
        let kind = if lock.is_exclusive { "WRITE" } else { "READ " };
        let process = match lock.owner {
            Owner::RangeOfFile(_) => -1,
            _ => lock.process as i64,
        };
        write!(
            to,
            "{}: {family} ADVISORY  {kind} {process} 00:01:{} {} ",
            number + 1,
            lock.key.1,
            lock.first
        )?;
        match lock.last {
            NO_END => writeln!(to, "EOF")?,
            last => writeln!(to, "{last}")?,
        }
    }
    Ok(())
}
