//! Sleeping on words of memory, and waking.

use super::queues::{self, Entry, Key, Purpose, Waiter};
use super::word;
use crate::error::{Errno, SysResult};
use crate::process::task::{Continuation, Task};
use crate::process::{current_task, task};
use alloc::sync::Arc;
use threads::sched::{Thread, Waited};

/// Any of the bits that a sleeper and a waker can agree on.
pub(crate) const ANY_BIT: u32 = u32::MAX;

/// Until when a call sleeps: nanoseconds since boot; `None`: without end.
pub(crate) type Deadline = Option<u64>;

/// What the calling thread sleeps as; kept where the thread's end finds it.
pub(super) fn begin() -> Result<Arc<Waiter>, Errno> {
    let waiter = Waiter::new(current_task().number() as u32)?;
    *current_task().waiter.lock() = Some(waiter.clone());
    Ok(waiter)
}

/// The calling thread sleeps on nothing any more.
pub(super) fn finish(waiter: &Arc<Waiter>, from: Option<Key>) {
    queues::leave(waiter, from);
    let kept = current_task().waiter.lock().take();
    drop(kept);
}

/// Sleeps until woken; `ETIMEDOUT` at the deadline, `EINTR` for a signal.
pub(super) fn sleep(waiter: &Arc<Waiter>, deadline: Deadline) -> Result<(), Errno> {
    match waiter.queue.wait_deadline(|| waiter.woken_by().is_some(), deadline) {
        Ok(Waited::Holds) => Ok(()),
        Ok(Waited::TimedOut) => Err(Errno::ETIMEDOUT),
        Err(_) => Err(Errno::EINTR),
    }
}

/// Sleeps on a word while it has a value.
pub(crate) fn wait(
    address: u64,
    is_private: bool,
    value: u32,
    bits: u32,
    deadline: Deadline,
) -> SysResult {
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    let key = word::key(address, is_private)?;
    let waiter = begin()?;
    let entry = Entry { key, bits, index: 0, purpose: Purpose::Wake, waiter: waiter.clone() };
    let slept = queues::enter(entry).and_then(|()| match word::load(address)? {
        now if now == value => sleep(&waiter, deadline),
        _ => Err(Errno::EAGAIN),
    });
    finish(&waiter, Some(key));
    // One that was woken meanwhile has used the wake-up up.
    if waiter.woken_by().is_some() {
        return Ok(0);
    }
    match (slept, deadline) {
        (Ok(()), _) => Ok(0),
        (Err(Errno::EINTR), None) => Err(Errno::ERESTARTSYS),
        (Err(Errno::EINTR), Some(deadline)) => {
            let arguments = [address, is_private.into(), value.into(), bits.into()];
            *current_task().continuation.lock() =
                Some(Continuation { run: continued, deadline, arguments });
            Err(Errno::ERESTART_RESTARTBLOCK)
        }
        (Err(error), _) => Err(error),
    }
}

/// The same call once more, after a signal without a handler.
fn continued(after: Continuation) -> SysResult {
    let [address, is_private, value, bits] = after.arguments;
    wait(address, is_private != 0, value as u32, bits as u32, Some(after.deadline))
}

/// Wakes those who sleep on a word with one of these bits; at least one is meant, however few the
/// caller names, as on Linux.
pub(crate) fn wake(address: u64, is_private: bool, bits: u32, most: i32) -> SysResult {
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    let key = word::key(address, is_private)?;
    if queues::has_lockers(key) {
        return Err(Errno::EINVAL);
    }
    Ok(queues::wake(key, bits, most.max(1) as usize) as u64)
}

/// Wakes some who sleep on a word, and has others sleep on another one. `expected`: only if the
/// word has that value.
pub(crate) fn requeue(
    from: u64,
    to: u64,
    is_private: bool,
    counts: [i32; 2],
    expected: Option<u32>,
) -> SysResult {
    let [wake, move_on] = counts;
    if wake < 0 || move_on < 0 {
        return Err(Errno::EINVAL);
    }
    let (source, target) = (word::key(from, is_private)?, word::key(to, is_private)?);
    if let Some(expected) = expected
        && word::load(from)? != expected
    {
        return Err(Errno::EAGAIN);
    }
    if queues::has_lockers(source) {
        return Err(Errno::EINVAL);
    }
    Ok(queues::requeue(source, target, wake as usize, move_on as usize)? as u64)
}

/// The operation of `FUTEX_WAKE_OP`: what becomes of a word, and what its old value is compared
/// with.
fn operation(encoded: u32) -> Result<(impl Fn(u32) -> u32, impl Fn(u32) -> bool), Errno> {
    const SHIFTED: u32 = 8;
    let number = |shift: u32| (encoded << (20 - shift)) as i32 >> 20;
    let (kind, comparison) = (encoded >> 28, encoded >> 24 & 0xf);
    let (mut argument, compared) = (number(12), number(0));
    if kind & SHIFTED != 0 {
        argument = 1_i32.wrapping_shl(argument as u32);
    }
    let kind = kind & !SHIFTED;
    if kind > 4 || comparison > 5 {
        return Err(Errno::ENOSYS);
    }
    let change = move |old: u32| match kind {
        0 => argument as u32,
        1 => old.wrapping_add(argument as u32),
        2 => old | argument as u32,
        3 => old & !(argument as u32),
        _ => old ^ argument as u32,
    };
    let holds = move |old: u32| {
        let old = old as i32;
        match comparison {
            0 => old == compared,
            1 => old != compared,
            2 => old < compared,
            3 => old <= compared,
            4 => old > compared,
            _ => old >= compared,
        }
    };
    Ok((change, holds))
}

/// Changes the second word, wakes sleepers of the first, and those of the second if its old value
/// is as the caller says.
pub(crate) fn wake_and_change(
    first: u64,
    second: u64,
    is_private: bool,
    counts: [i32; 2],
    encoded: u32,
) -> SysResult {
    let (key, other) = (word::key(first, is_private)?, word::key(second, is_private)?);
    let (change, holds) = operation(encoded)?;
    let old = word::update(second, |old| Some(change(old)))?;
    let [most, most_others] = counts;
    let mut woken = queues::wake(key, ANY_BIT, most.max(1) as usize);
    if holds(old) {
        woken += queues::wake(other, ANY_BIT, most_others.max(1) as usize);
    }
    Ok(woken as u64)
}

/// One word of futex_waitv.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Awaited {
    pub(crate) address: u64,
    pub(crate) value: u32,
    pub(crate) is_private: bool,
}

/// Sleeps on several words while each has its value; which one woke the thread.
pub(crate) fn wait_for_any(words: &[Awaited], deadline: Deadline) -> SysResult {
    let waiter = begin()?;
    let enter_all = || {
        for (awaited, index) in words.iter().zip(0..) {
            let key = word::key(awaited.address, awaited.is_private)?;
            let waiter = waiter.clone();
            queues::enter(Entry { key, bits: ANY_BIT, index, purpose: Purpose::Wake, waiter })?;
            if word::load(awaited.address)? != awaited.value {
                return Err(Errno::EAGAIN);
            }
        }
        sleep(&waiter, deadline)
    };
    let slept = enter_all();
    finish(&waiter, None);
    match (waiter.woken_by(), slept) {
        (Some(index), _) => Ok(index.into()),
        (None, Err(Errno::EINTR)) => Err(Errno::ERESTARTSYS),
        (None, Err(error)) => Err(error),
        (None, Ok(())) => Ok(0),
    }
}

/// How many threads sleep on words, of all processes. For tests.
pub fn sleepers_for_test() -> usize {
    queues::count()
}

/// A thread that ends sleeps on nothing: one whose stack overflowed in its sleep did not say so
/// itself.
pub(crate) fn forget(task: &Task) {
    let kept = task.waiter.lock().take();
    if let Some(waiter) = kept {
        queues::leave(&waiter, None);
    }
}

/// The head of the list of robust locks of a thread.
pub(crate) fn robust_list_of(thread: &Thread) -> Option<u64> {
    task::of(thread).map(|task| task.robust_list.load(core::sync::atomic::Ordering::Relaxed))
}
