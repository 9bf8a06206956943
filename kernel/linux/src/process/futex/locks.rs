//! Words that are locks (`FUTEX_LOCK_PI` and its kin): the number of the owner, and a bit that says
//! that others wait.
//!
//! An unlock that finds the bit comes to the kernel, which writes the number of the thread that has
//! waited longest into the word and wakes it: the lock is never free in between. All threads have
//! one priority here, so there is none to inherit.
//!
//! # Invariant
//!
//! The word and the queue of those who wait for it change together under [`HANDING`], by the thread
//! that is in the kernel. A program changes the word itself only from 0 to its number, and from its
//! number to 0.

use super::queues::{self, Entry, Key, Purpose};
use super::sleepers::{ANY_BIT, Deadline, begin, finish, sleep};
use super::word;
use crate::error::{Errno, SysResult};
use crate::process::current_task;
use crate::process::names::named;
use alloc::sync::Arc;
use threads::sched::Mutex;

/// Others wait.
pub(super) const WAITERS: u32 = 0x8000_0000;
/// The owner ended with the lock.
pub(super) const OWNER_DIED: u32 = 0x4000_0000;
/// The owner's number.
pub(super) const OWNER: u32 = 0x3fff_ffff;

static HANDING: Mutex<()> = Mutex::new(());

fn own_number() -> u32 {
    current_task().number() as u32
}

/// Takes the lock for a thread if it is free; otherwise says in it that others wait. Whether it was
/// taken.
fn take_or_wait(address: u64, number: u32, others: bool) -> Result<bool, Errno> {
    let waiters = if others { WAITERS } else { 0 };
    let old = word::update(address, |old| match old & OWNER {
        0 => Some(number | waiters | old & OWNER_DIED),
        _ => Some(old | WAITERS),
    })?;
    let owner = old & OWNER;
    if owner == 0 {
        return Ok(true);
    }
    if owner == number {
        return Err(Errno::EDEADLK);
    }
    if named::find_thread(None, owner.into()).is_none() {
        return Err(Errno::ESRCH);
    }
    Ok(false)
}

/// Locks; `EAGAIN` if that takes waiting and `may_wait` is not set.
pub(crate) fn lock(
    address: u64,
    is_private: bool,
    may_wait: bool,
    deadline: Deadline,
) -> SysResult {
    let key = word::key(address, is_private)?;
    let number = own_number();
    if !may_wait {
        let _handing = HANDING.lock();
        let old = word::update(address, |old| {
            (old & OWNER == 0).then_some(number | old & (OWNER_DIED | WAITERS))
        })?;
        return match old & OWNER {
            0 => Ok(0),
            owner if owner == number => Err(Errno::EDEADLK),
            _ => Err(Errno::EAGAIN),
        };
    }
    let waiter = begin()?;
    let begun = {
        let _handing = HANDING.lock();
        let others = queues::first_locker(key).is_some();
        take_or_wait(address, number, others).and_then(|taken| {
            if !taken {
                let (purpose, waiter) = (Purpose::Lock, waiter.clone());
                queues::enter(Entry { key, bits: ANY_BIT, index: 0, purpose, waiter })?;
            }
            Ok(taken)
        })
    };
    let done = match begun {
        Ok(true) => Ok(()),
        Ok(false) => sleep(&waiter, deadline),
        Err(error) => Err(error),
    };
    leave_lock(&waiter, key);
    match done {
        _ if waiter.woken_by().is_some() => Ok(0),
        Ok(()) => Ok(0),
        Err(Errno::EINTR) => Err(Errno::ERESTARTNOINTR),
        Err(error) => Err(error),
    }
}

/// Waits for a lock no more. Whether it was handed over meanwhile is decided.
fn leave_lock(waiter: &Arc<queues::Waiter>, key: Key) {
    let _handing = HANDING.lock();
    finish(waiter, Some(key));
}

/// Unlocks: the thread that has waited longest has the lock now.
pub(crate) fn unlock(address: u64, is_private: bool) -> SysResult {
    let key = word::key(address, is_private)?;
    let number = own_number();
    if word::load(address)? & OWNER != number {
        return Err(Errno::EPERM);
    }
    hand_over(key, address, 0)?;
    Ok(0)
}

/// Gives the lock that a word is to the thread that has waited longest, with these bits in the
/// word.
pub(super) fn hand_over(key: Key, address: u64, bits: u32) -> Result<(), Errno> {
    let _handing = HANDING.lock();
    match queues::first_locker(key) {
        Some((next, others)) => {
            let waiters = if others { WAITERS } else { 0 };
            word::update(address, |_| Some(next.number | waiters | bits))?;
            queues::wake_this(key, &next);
        }
        None => {
            word::update(address, |_| Some(bits))?;
        }
    }
    Ok(())
}

/// Sleeps on a word while it has a value, until [`requeue_to_lock`] moves the thread to a lock and
/// it is given that.
pub(crate) fn wait_for_lock_of(
    address: u64,
    lock: u64,
    is_private: bool,
    value: u32,
    bits: u32,
    deadline: Deadline,
) -> SysResult {
    if address == lock || bits == 0 {
        return Err(Errno::EINVAL);
    }
    let (key, target) = (word::key(address, is_private)?, word::key(lock, is_private)?);
    let waiter = begin()?;
    let (purpose, sleeper) = (Purpose::LockLater(target), waiter.clone());
    let slept =
        queues::enter(Entry { key, bits, index: 0, purpose, waiter: sleeper }).and_then(|()| {
            match word::load(address)? {
                now if now == value => sleep(&waiter, deadline),
                _ => Err(Errno::EAGAIN),
            }
        });
    let is_moved = {
        let _handing = HANDING.lock();
        let is_moved = queues::waits_for_lock(target, &waiter);
        finish(&waiter, Some(target));
        is_moved
    };
    match slept {
        _ if waiter.woken_by().is_some() => Ok(0),
        Ok(()) => Ok(0),
        // The lock's word may say that it waits: the caller is to look again.
        Err(Errno::EINTR) if is_moved => Err(Errno::EAGAIN),
        Err(Errno::EINTR) => Err(Errno::ERESTARTNOINTR),
        Err(error) => Err(error),
    }
}

/// Gives a lock to the first of those who wait for it at another word, if it is free, and has up to
/// `move_on` more wait at the lock itself; how many in all.
pub(crate) fn requeue_to_lock(
    from: u64,
    lock: u64,
    is_private: bool,
    counts: [i32; 2],
    expected: u32,
) -> SysResult {
    let [wake, move_on] = counts;
    if from == lock || wake != 1 || move_on < 0 {
        return Err(Errno::EINVAL);
    }
    let (source, target) = (word::key(from, is_private)?, word::key(lock, is_private)?);
    if word::load(from)? != expected {
        return Err(Errno::EAGAIN);
    }
    let _handing = HANDING.lock();
    if queues::has_others(source, target) {
        return Err(Errno::EINVAL);
    }
    let mut done = 0;
    while done < 1 + move_on as u64
        && let Some(next) = queues::first_to_move(source, target)
    {
        // Only the first one can find it free.
        let others = queues::first_locker(target).is_some();
        if take_or_wait(lock, next.number, others)? {
            queues::wake_this(source, &next);
        } else {
            queues::move_to_lock(source, target, &next)?;
        }
        done += 1;
    }
    Ok(done)
}
