//! Sets of semaphores (semop(2)).
//!
//! # Invariants
//!
//! 1. The operations of one call are carried out all together, or none of them.
//! 2. A set that was removed is in the table no more, and says so to those who wait for it.
//! 3. What is to be undone at a process's end is kept with the set, sorted by process and
//!    semaphore: one entry for both at most.
//! 4. The set's lock is a leaf. It is not held while its table's is taken; sets are looked at with
//!    the table's held.

use super::table::{Access, Kept, Table};
use crate::error::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched::{WaitQueue, Waited};

/// Sets, semaphores of one, and operations of one call, at most (`kernel.sem`).
pub(crate) static MAX_SETS: AtomicU64 = AtomicU64::new(32_000);
pub(crate) const MAX_IN_SET: u64 = 32_000;
pub(crate) const MAX_OPERATIONS: u64 = 500;
/// What a semaphore can be.
pub(crate) const MAX_VALUE: i32 = 32_767;

/// Of an operation: the call does not wait for it; it is undone at the process's end.
pub(crate) const NO_WAIT: u16 = 0o4000;
pub(crate) const UNDO: u16 = 0x1000;

/// One operation (`struct sembuf`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) number: u16,
    pub(crate) change: i16,
    pub(crate) flags: u16,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Semaphore {
    pub(crate) value: i32,
    /// The process that changed it last.
    pub(crate) process: u64,
}

/// What is added to a semaphore at a process's end.
#[derive(Debug, Clone, Copy)]
struct Undone {
    process: u64,
    number: u16,
    change: i32,
}

/// A call that waits, and for what.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    call: usize,
    number: u16,
    for_zero: bool,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) access: Access,
    pub(crate) semaphores: Vec<Semaphore>,
    /// When operations were carried out last, in seconds of the day.
    pub(crate) operated: u64,
    undone: Vec<Undone>,
    waiting: Vec<Waiting>,
    is_removed: bool,
}

/// A set.
#[derive(Debug)]
pub(crate) struct Set {
    state: SpinLock<State>,
    changed: WaitQueue,
}

/// A set in the table: what tells it from others is there, too.
#[derive(Debug)]
struct Row {
    access: Access,
    set: Arc<Set>,
}

impl Kept for Row {
    fn access(&self) -> &Access {
        &self.access
    }

    fn set_number(&mut self, number: i32) {
        self.access.number = number;
        self.set.state.lock().access.number = number;
    }
}

static TABLE: SpinLock<Table<Row>> = SpinLock::new(Table::new(&MAX_SETS));
/// How many entries there are of what is to be undone: most processes end without a look.
static UNDONE: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

/// The number of the set with a key, in a namespace.
pub(crate) fn find(space: u64, key: i32) -> Option<i32> {
    TABLE.lock().find(space, key)
}

/// The first one of a namespace at this place of the table or behind it, and where.
pub(crate) fn from(space: u64, place: usize) -> Option<(usize, Arc<Set>)> {
    TABLE.lock().next_in(space, place).map(|(at, row)| (at, row.set.clone()))
}

/// A namespace has ended: what is in it goes.
pub(crate) fn space_ends(space: u64) {
    let mut place = 0;
    while let Some((at, set)) = from(space, place) {
        place = at + 1;
        let _removed_by_another = set.remove(|_| Ok(()));
    }
}

/// The number of the one of a namespace at a place of the table.
pub(crate) fn at_place(space: u64, place: usize) -> Option<i32> {
    TABLE.lock().at_place(space, place)
}

/// The set of a namespace with this number.
pub(crate) fn get(space: u64, number: i32) -> Result<Arc<Set>, Errno> {
    Ok(TABLE.lock().get_in(space, number)?.set.clone())
}

/// Makes one.
pub(crate) fn make(access: Access, count: usize) -> Result<i32, Errno> {
    let mut semaphores = Vec::new();
    semaphores.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
    semaphores.resize(count, Semaphore::default());
    let state = State {
        access: access.clone(),
        semaphores,
        operated: 0,
        undone: Vec::new(),
        waiting: Vec::new(),
        is_removed: false,
    };
    let set = fallible::shared(Set { state: SpinLock::new(state), changed: WaitQueue::new() })?;
    TABLE.lock().add(Row { access, set })
}

/// The number that the next set is to have; -1: any.
pub(crate) fn next() -> i32 {
    TABLE.lock().next()
}

/// Asks for that.
pub(crate) fn set_next(number: i32) {
    TABLE.lock().set_next(number);
}

/// How many sets there are, the last place that is taken, and how many semaphores.
pub(crate) fn totals(space: u64) -> (usize, usize, usize) {
    let table = TABLE.lock();
    let (count, highest) = table.count(space);
    (count, highest, table.iter_in(space).map(|row| row.set.state.lock().semaphores.len()).sum())
}

/// Undoes what a process that ends has asked for.
pub(crate) fn process_ends(process: u64) {
    if UNDONE.load(Ordering::Relaxed) == 0 {
        return;
    }
    // One at a time: nothing is woken with the table's lock.
    let after = |place| TABLE.lock().from(place).map(|(place, row)| (place, row.set.clone()));
    let mut place = 0;
    while let Some((there, set)) = after(place) {
        set.undo(process);
        place = there + 1;
    }
}

/// Why the operations of a call were not carried out.
enum Not {
    /// One of them has to wait.
    Yet {
        number: u16,
        for_zero: bool,
        nonblocking: bool,
    },
    Failed(Errno),
}

impl State {
    /// Where it is kept what a process has to be undone of a semaphore, or where it would be.
    fn undone_of(&self, process: u64, number: u16) -> Result<usize, usize> {
        self.undone.binary_search_by_key(&(process, number), |one| (one.process, one.number))
    }

    /// Carries all of them out, or none.
    fn operate(&mut self, operations: &[Operation], process: u64) -> Result<(), Not> {
        // What it needs is there before anything changes.
        let undo = operations.iter().filter(|one| one.flags & UNDO != 0).count();
        let room = self.undone.try_reserve(undo);
        room.map_err(|_| Not::Failed(Errno::ENOMEM))?;
        let mut done = 0;
        let result = operations.iter().try_for_each(|one| {
            self.operate_one(*one, process)?;
            done += 1;
            Ok(())
        });
        if result.is_err() {
            for one in operations[..done].iter().rev() {
                self.semaphores[usize::from(one.number)].value -= i32::from(one.change);
                if one.flags & UNDO != 0
                    && let Ok(place) = self.undone_of(process, one.number)
                {
                    self.undone[place].change += i32::from(one.change);
                }
            }
        } else {
            for one in operations {
                self.semaphores[usize::from(one.number)].process = process;
            }
        }
        if undo > 0 {
            let before = self.undone.len();
            self.undone.retain(|one| one.change != 0);
            UNDONE.fetch_sub(before - self.undone.len(), Ordering::Relaxed);
        }
        result
    }

    fn operate_one(&mut self, one: Operation, process: u64) -> Result<(), Not> {
        let semaphore = &mut self.semaphores[usize::from(one.number)];
        let nonblocking = one.flags & NO_WAIT != 0;
        let change = i32::from(one.change);
        let wait = |for_zero| Not::Yet { number: one.number, for_zero, nonblocking };
        if change == 0 {
            return if semaphore.value == 0 { Ok(()) } else { Err(wait(true)) };
        }
        let value = semaphore.value + change;
        if value < 0 {
            return Err(wait(false));
        }
        if value > MAX_VALUE {
            return Err(Not::Failed(Errno::ERANGE));
        }
        if one.flags & UNDO != 0 {
            let place = self.undone_of(process, one.number).unwrap_or_else(|place| {
                // CANNOT FAIL: reserved by the caller.
                self.undone.insert(place, Undone { process, number: one.number, change: 0 });
                UNDONE.fetch_add(1, Ordering::Relaxed);
                place
            });
            let undone = self.undone[place].change - change;
            if !(-MAX_VALUE - 1..=MAX_VALUE).contains(&undone) {
                return Err(Not::Failed(Errno::ERANGE));
            }
            self.undone[place].change = undone;
        }
        self.semaphores[usize::from(one.number)].value = value;
        Ok(())
    }

    /// Forgets what is to be undone of the semaphores of which this is so: they were set.
    pub(crate) fn forget(&mut self, is_it: impl Fn(u16) -> bool) {
        let before = self.undone.len();
        self.undone.retain(|one| !is_it(one.number));
        UNDONE.fetch_sub(before - self.undone.len(), Ordering::Relaxed);
    }

    /// How many calls wait until a semaphore is zero, or larger.
    pub(crate) fn waiters(&self, number: u16, for_zero: bool) -> usize {
        let is_it = |one: &&Waiting| one.number == number && one.for_zero == for_zero;
        self.waiting.iter().filter(is_it).count()
    }
}

impl Set {
    /// Looks at the set. `EIDRM`: it was removed.
    pub(crate) fn with<R>(
        &self,
        body: impl FnOnce(&State) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        let state = self.state.lock();
        if state.is_removed { Err(Errno::EIDRM) } else { body(&state) }
    }

    /// Changes the set; who waits looks again.
    pub(crate) fn change<R>(
        &self,
        body: impl FnOnce(&mut State) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        let result = {
            let mut state = self.state.lock();
            if state.is_removed { Err(Errno::EIDRM) } else { body(&mut state) }
        };
        self.changed.wake_all();
        result
    }

    /// Carries operations out; waits until that can be. `EAGAIN`: it cannot be, and the deadline is
    /// past, or the call does not wait.
    pub(crate) fn operate(
        &self,
        operations: &[Operation],
        process: u64,
        now: impl Fn() -> u64,
        deadline: Option<u64>,
    ) -> Result<(), Errno> {
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        let mut result = Err(Errno::EAGAIN);
        let mut attempt = || {
            let mut state = self.state.lock();
            let place = state.waiting.iter().position(|one| one.call == call);
            if state.is_removed {
                result = Err(Errno::EIDRM);
                return true;
            }
            match state.operate(operations, process) {
                Ok(()) => {
                    state.operated = now();
                    result = Ok(());
                }
                Err(Not::Failed(error)) => result = Err(error),
                Err(Not::Yet { nonblocking: true, .. }) => result = Err(Errno::EAGAIN),
                Err(Not::Yet { number, for_zero, .. }) => {
                    let waiting = Waiting { call, number, for_zero };
                    match place {
                        Some(place) => state.waiting[place] = waiting,
                        None => {
                            if fallible::push(&mut state.waiting, waiting).is_err() {
                                result = Err(Errno::ENOMEM);
                                return true;
                            }
                        }
                    }
                    return false;
                }
            }
            true
        };
        let waited = self.changed.wait_deadline(&mut attempt, deadline);
        self.state.lock().waiting.retain(|one| one.call != call);
        match waited {
            Ok(Waited::Holds) => {
                if result.is_ok() {
                    self.changed.wake_all();
                }
                result
            }
            Ok(Waited::TimedOut) => Err(Errno::EAGAIN),
            // Never made again (signal(7)).
            Err(_) => Err(Errno::EINTR),
        }
    }

    /// Removes the set, if `may` says so.
    pub(crate) fn remove(
        &self,
        may: impl FnOnce(&Access) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let number = self.change(|state| {
            may(&state.access)?;
            state.forget(|_| true);
            state.is_removed = true;
            Ok(state.access.number)
        })?;
        let gone = TABLE.lock().take_number(number);
        drop(gone);
        Ok(())
    }

    fn undo(&self, process: u64) {
        let is_changed = {
            let mut state = self.state.lock();
            let of = |one: &Undone| one.process;
            let first = state.undone.partition_point(|one| of(one) < process);
            let behind = state.undone.partition_point(|one| of(one) <= process);
            let State { undone, semaphores, .. } = &mut *state;
            for Undone { number, change, .. } in undone.drain(first..behind) {
                let semaphore = &mut semaphores[usize::from(number)];
                // What others did meanwhile may leave less than is to be taken.
                semaphore.value = (semaphore.value + change).clamp(0, MAX_VALUE);
                semaphore.process = process;
            }
            UNDONE.fetch_sub(behind - first, Ordering::Relaxed);
            first < behind
        };
        if is_changed {
            self.changed.wake_all();
        }
    }
}
