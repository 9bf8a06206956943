//! How a thread falls asleep and how its sleep is ended, without lost wake-ups: the protocol alone,
//! without lists and CPUs.
//!
//! The sleeper enters the list *before* it looks at the condition; the waker makes the condition
//! true before it empties the list. Whichever comes second sees the other.
//!
//! | sleeper | waker |
//! | --- | --- |
//! | state = blocked, into the list (under its lock) | makes the condition true |
//! | looks at the condition | takes all out of the list (under its lock) |
//! | true: out of the list; blocked to running, or, if a waker was faster, takes the turn it was given | blocked to ready, into the run queue |
//! | false: leaves the CPU | |
//!
//! The list's lock orders the two. A thread that has something to attend to (its death, a signal)
//! is woken without the list, so there the order is made by hand: both sides store, then fence,
//! then look at what the other stores. Without the two fences each CPU may look before its own
//! store is seen, and the thread sleeps until another event wakes it.
//!
//! | sleeper | killer, notifier |
//! | --- | --- |
//! | state = blocked | attention = killed or notified |
//! | fence | fence |
//! | looks at attention | blocked to ready, if it is blocked |
//!
//! Most wakers find no sleeper. So a list has a count beside it ([`Crowd`]), which a waker looks at
//! without the lock, in the same order by hand:
//!
//! | sleeper | waker |
//! | --- | --- |
//! | into the list, one more (under its lock) | makes the condition true |
//! | fence | fence |
//! | looks at the condition | looks at the count: 0, it is done |
//!
//! A deadline is one more list that the sleeper enters, and one more thing it looks at: the time.
//!
//! `kstack-core`'s models compile this file over atomics that explore every order that C11 allows.

#[cfg(not(loom))]
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering, fence};
#[cfg(loom)]
use loom::sync::atomic::{AtomicU8, AtomicU32, Ordering, fence};

/// What a thread is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// On a CPU.
    Running = 0,
    /// In the run queue.
    Ready = 1,
    /// Waiting to be woken.
    Blocked = 2,
    /// Will not run again.
    Dead = 3,
}

/// The sleep was cut short: the thread has something to attend to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted;

/// How a sleep with a deadline ended without an interruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// The condition holds.
    Holds,
    /// The time came first.
    TimedOut,
}

/// What a thread has to attend to: bits.
pub(super) mod attention {
    /// It is to die.
    pub const KILLED: u8 = 1;
    /// Its owner has something for it: a signal.
    pub const NOTIFIED: u8 = 2;
    /// It was off the CPU, and asked to be told. Ends no sleep.
    pub const SWITCHED: u8 = 4;
    /// Its saved registers may name segments that are not there, and are to be looked at right
    /// before user mode. Ends no sleep, and stays.
    pub const SEGMENTS: u8 = 8;
}

/// What a thread is doing, and what it has to attend to.
#[derive(Debug)]
pub(super) struct RunState {
    state: AtomicU8,
    attention: AtomicU8,
}

impl RunState {
    pub(super) fn new(state: State) -> Self {
        Self { state: AtomicU8::new(state as u8), attention: AtomicU8::new(0) }
    }

    #[inline(always)]
    pub(super) fn get(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            0 => State::Running,
            1 => State::Ready,
            2 => State::Blocked,
            _ => State::Dead,
        }
    }

    #[inline(always)]
    pub(super) fn set(&self, state: State) {
        self.state.store(state as u8, Ordering::Release);
    }

    /// From blocked to another state, by exactly one: a waker (to ready), or the thread itself
    /// (back to running).
    #[inline(always)]
    pub(super) fn unblock(&self, to: State) -> bool {
        let (blocked, to) = (State::Blocked as u8, to as u8);
        self.state.compare_exchange(blocked, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Whether it has one of these to attend to.
    #[inline(always)]
    pub(super) fn attends(&self, to: u8) -> bool {
        self.attention.load(Ordering::Acquire) & to != 0
    }

    /// It has this to attend to. What ends its sleep comes next: [`RunState::unblock`].
    #[inline(always)]
    pub(super) fn attend(&self, to: u8) {
        self.attention.fetch_or(to, Ordering::AcqRel);
        // Before its state is looked at.
        fence(Ordering::SeqCst);
    }

    /// It has this to attend to, which ends no sleep.
    #[inline(always)]
    pub(super) fn mark(&self, to: u8) {
        self.attention.fetch_or(to, Ordering::AcqRel);
    }

    /// It attends to this now. Whether there was something.
    pub(super) fn take(&self, what: u8) -> bool {
        self.attention.fetch_and(!what, Ordering::AcqRel) & what != 0
    }

    /// It attends to this now.
    pub(super) fn clear(&self, what: u8) {
        self.attention.fetch_and(!what, Ordering::AcqRel);
    }
}

/// How many sleepers stand in a list. Changes under the list's lock.
#[derive(Debug)]
pub(super) struct Crowd(AtomicU32);

impl Crowd {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    #[cfg(loom)]
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// One more, before its fence.
    pub(super) fn enter(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub(super) fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether no sleeper needs what the caller has made true just now: those that come later see
    /// it.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) == 0
    }
}

/// What a sleeper does besides changing its state. Interrupts are off throughout.
pub(super) trait Sleeper {
    /// Whether the sleep is over.
    fn condition(&mut self) -> bool;
    /// Whether its time has come.
    fn is_late(&mut self) -> bool {
        false
    }
    /// Sets the state to blocked and enters the list, both under its lock; and the list of
    /// deadlines, if it has one.
    fn enter(&mut self, state: &RunState);
    /// Leaves the list, if no waker has taken it out.
    fn remove(&mut self);
    /// Lets others run until a waker has put the thread into the run queue; then it is running
    /// again.
    fn leave_cpu(&mut self);
}

/// Sleeps until the condition holds, its time has come, or it has one of `ends` to attend to.
#[inline(always)]
pub(super) fn sleep(
    state: &RunState,
    mut sleeper: impl Sleeper,
    ends: u8,
) -> Result<Waited, Interrupted> {
    loop {
        sleeper.enter(state);
        fence(Ordering::SeqCst);
        let done = if sleeper.condition() {
            Some(Ok(Waited::Holds))
        } else if state.attends(ends) {
            Some(Err(Interrupted))
        } else if sleeper.is_late() {
            Some(Ok(Waited::TimedOut))
        } else {
            sleeper.leave_cpu();
            None
        };
        sleeper.remove();
        if done.is_some() && !state.unblock(State::Running) {
            // A waker has made it ready: the run queue has it, or will in a moment. It takes that
            // turn, or it would be in the queue twice.
            sleeper.leave_cpu();
        }
        if let Some(result) = done.or_else(|| sleeper.condition().then_some(Ok(Waited::Holds))) {
            return result;
        }
    }
}
