//! Sleeping until a condition holds, or until a time, without lost wake-ups.
//!
//! The sleeper enters the list *before* it looks at the condition; the waker makes the condition true before it empties
//! the list. Whichever comes second sees the other.
//!
//! | sleeper | waker |
//! | --- | --- |
//! | state = blocked, into the list (under its lock) | makes the condition true |
//! | looks at the condition | takes every thread out of the list (under its lock) |
//! | true: out of the list; blocked to running, or, if a waker was faster, takes the turn it was given | blocked to ready, into the run queue |
//! | false: leaves the CPU | |
//!
//! The list's lock orders the two. A thread that has something to attend to (its death, a signal) is woken without the list, so there
//! the order is made by hand: both sides store, then fence, then look at what the other stores. Without the two fences each CPU may
//! look before its own store is seen, and the thread sleeps until another event wakes it.
//!
//! | sleeper | killer ([`Thread::kill`]), notifier ([`Thread::notify`]) |
//! | --- | --- |
//! | state = blocked | attention = killed or notified |
//! | fence | fence |
//! | looks at attention | blocked to ready, if it is blocked |
//!
//! A deadline is one more list that the sleeper enters, [`TIMED`](super::deadlines), and one more thing it looks at: the time.

use super::deadlines;
use super::run_queue::make_ready;
use super::schedule::leave_cpu;
use super::switch::{current, current_arc};
use super::thread::{State, Thread, WaitQueue, attention};
use crate::time;
use alloc::sync::Arc;
use core::sync::atomic::{Ordering, fence};
use machine::arch::{cpu, smp};
use machine::cpus;

/// The sleep was cut short: the thread has something to attend to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted;

/// How a wait with a deadline ended without an interruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// The condition holds.
    Holds,
    /// The time came first.
    TimedOut,
}

/// What may end a wait before its condition holds: bits of `attention`.
#[derive(Debug, Clone, Copy)]
struct Ends(u8);

impl Ends {
    const NEVER: Self = Self(0);
    const AT_DEATH: Self = Self(attention::KILLED);
    const AT_ANYTHING: Self = Self(attention::KILLED | attention::NOTIFIED);
}

impl WaitQueue {
    /// Sleeps until `condition` holds. It is looked at with interrupts off, perhaps more than once.
    pub fn wait_uninterruptibly(&self, mut condition: impl FnMut() -> bool) {
        let _never_interrupted = wait(Some(self), &mut condition, Ends::NEVER, None);
    }

    /// Sleeps until `condition` holds, or the thread has a signal or is to die.
    pub fn wait_until(&self, mut condition: impl FnMut() -> bool) -> Result<(), Interrupted> {
        wait(Some(self), &mut condition, Ends::AT_ANYTHING, None).map(|_| ())
    }

    /// Sleeps until `condition` holds, or the thread is to die.
    pub fn wait_unless_killed(
        &self,
        mut condition: impl FnMut() -> bool,
    ) -> Result<(), Interrupted> {
        wait(Some(self), &mut condition, Ends::AT_DEATH, None).map(|_| ())
    }

    /// Sleeps until `condition` holds, until a time (nanoseconds since boot; `None`: without end), or the thread has a signal or is to
    /// die.
    pub fn wait_deadline(
        &self,
        mut condition: impl FnMut() -> bool,
        deadline: Option<u64>,
    ) -> Result<Waited, Interrupted> {
        wait(Some(self), &mut condition, Ends::AT_ANYTHING, deadline)
    }
}

/// Sleeps until a time (nanoseconds since boot), or the thread has a signal or is to die. Not inlined, so that a backtrace names it.
#[inline(never)]
pub fn sleep_until(deadline: u64) -> Result<(), Interrupted> {
    wait(None, &mut || false, Ends::AT_ANYTHING, Some(deadline)).map(|_| ())
}

fn wait(
    queue: Option<&WaitQueue>,
    condition: &mut dyn FnMut() -> bool,
    ends: Ends,
    deadline: Option<u64>,
) -> Result<Waited, Interrupted> {
    // Off throughout: a preemption between "blocked" and "leaves the CPU" would be a sleep without a look.
    cpu::without_interrupts(|| {
        if condition() {
            return Ok(Waited::Holds);
        }
        let me = current();
        let is_late = || deadline.is_some_and(|deadline| time::nanoseconds() >= deadline);
        let is_cut_short = || me.attention.load(Ordering::Acquire) & ends.0 != 0;
        loop {
            match queue {
                Some(queue) => {
                    let mut list = queue.0.lock();
                    me.set_state(State::Blocked);
                    list.push(current_arc());
                }
                None => me.set_state(State::Blocked),
            }
            if let Some(deadline) = deadline {
                deadlines::enter(me, deadline);
            }
            fence(Ordering::SeqCst);
            let done = if condition() {
                Some(Ok(Waited::Holds))
            } else if is_cut_short() {
                Some(Err(Interrupted))
            } else if is_late() {
                Some(Ok(Waited::TimedOut))
            } else {
                leave_cpu();
                None
            };
            if let Some(queue) = queue {
                queue.0.lock().remove(me);
            }
            deadlines::leave(me);
            if done.is_some() && !me.unblock(State::Running) {
                // A waker has made us ready: the run queue has us, or will in a moment. Take that turn, or we
                // would be in it twice.
                leave_cpu();
            }
            if let Some(result) = done.or_else(|| condition().then_some(Ok(Waited::Holds))) {
                return result;
            }
        }
    })
}

impl Thread {
    /// Says that it is to die as soon as it can, and ends its sleep.
    pub fn kill(self: &Arc<Self>) {
        self.attend(attention::KILLED);
    }

    /// Says that its owner has something for it before it is next in user mode, and ends a sleep that may be interrupted.
    pub fn notify(self: &Arc<Self>) {
        self.attend(attention::NOTIFIED);
    }

    fn attend(self: &Arc<Self>, to: u8) {
        cpu::without_interrupts(|| {
            self.attention.fetch_or(to, Ordering::AcqRel);
            // Before its state is looked at: see the module's head.
            fence(Ordering::SeqCst);
            make_ready(self.clone());
            // In user mode on another CPU it would see it at the next interrupt: make one.
            let target = cpus::by_number(self.last_cpu() as usize);
            if self.is_on_cpu() && !core::ptr::eq(target, cpus::this()) {
                smp::kick(target);
            }
        });
    }

    /// Waits until it has ended and its stack is taken back.
    pub fn join(&self) {
        self.exited.wait_uninterruptibly(|| self.is_reaped());
    }
}
