//! Sleeping until a condition holds, or until a time, without lost wake-ups: the protocol is in
//! [`sleep`], its lists and CPUs here.

use super::deadlines;
use super::run_queue::make_ready;
use super::schedule::leave_cpu;
use super::sleep::{self, RunState, Sleeper, State, attention};
use super::switch::{current, current_arc};
use super::thread::{Thread, WaitQueue};
use crate::clock;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use machine::arch::{cpu, smp};
use machine::cpus;

pub use super::sleep::{Interrupted, Waited};

/// The running thread, asleep in a list, or in none.
struct InList<'a> {
    me: &'a Thread,
    list: Option<&'a WaitQueue>,
    condition: &'a mut dyn FnMut() -> bool,
    deadline: Option<u64>,
}

impl Sleeper for InList<'_> {
    #[inline(always)]
    fn condition(&mut self) -> bool {
        (self.condition)()
    }

    #[inline(always)]
    fn is_late(&mut self) -> bool {
        self.deadline.is_some_and(|deadline| clock::nanoseconds() >= deadline)
    }

    #[inline(always)]
    fn enter(&mut self, state: &RunState) {
        match self.list {
            Some(queue) => {
                let mut list = queue.list.lock_uninterrupted();
                state.set(State::Blocked);
                list.push(current_arc());
                queue.crowd.enter();
            }
            None => state.set(State::Blocked),
        }
        if let Some(deadline) = self.deadline {
            deadlines::enter(self.me, deadline);
        }
    }

    #[inline(always)]
    fn remove(&mut self) {
        if let Some(queue) = self.list {
            let mut list = queue.list.lock_uninterrupted();
            if list.remove(self.me) {
                queue.crowd.leave();
            }
        }
        deadlines::leave(self.me);
    }

    #[inline(always)]
    fn leave_cpu(&mut self) {
        leave_cpu();
    }
}

/// What ends a wait before its condition holds.
const DEATH: u8 = attention::KILLED;
const ANYTHING: u8 = attention::KILLED | attention::NOTIFIED;

impl WaitQueue {
    /// Sleeps until `condition` holds. It is looked at with interrupts off, perhaps more than once.
    pub fn wait_uninterruptibly(&self, mut condition: impl FnMut() -> bool) {
        let _never_interrupted = wait(Some(self), &mut condition, 0, None);
    }

    /// Sleeps until `condition` holds, or the thread has a signal or is to die.
    pub fn wait_until(&self, mut condition: impl FnMut() -> bool) -> Result<(), Interrupted> {
        wait(Some(self), &mut condition, ANYTHING, None).map(|_| ())
    }

    /// Sleeps until `condition` holds, or the thread is to die.
    pub fn wait_unless_killed(
        &self,
        mut condition: impl FnMut() -> bool,
    ) -> Result<(), Interrupted> {
        let me = current();
        me.sleeps_deeply.store(true, Ordering::Relaxed);
        let waited = wait(Some(self), &mut condition, DEATH, None);
        me.sleeps_deeply.store(false, Ordering::Relaxed);
        waited.map(|_| ())
    }

    /// Sleeps until `condition` holds, until a time (nanoseconds since boot; `None`: without end),
    /// or the thread has a signal or is to die.
    pub fn wait_deadline(
        &self,
        mut condition: impl FnMut() -> bool,
        deadline: Option<u64>,
    ) -> Result<Waited, Interrupted> {
        wait(Some(self), &mut condition, ANYTHING, deadline)
    }
}

/// Sleeps until a time (nanoseconds since boot), or the thread has a signal or is to die. Not
/// inlined, so that a backtrace names it.
#[inline(never)]
pub fn sleep_until(deadline: u64) -> Result<(), Interrupted> {
    wait(None, &mut || false, ANYTHING, Some(deadline)).map(|_| ())
}

#[inline(never)]
fn wait(
    list: Option<&WaitQueue>,
    condition: &mut dyn FnMut() -> bool,
    ends: u8,
    deadline: Option<u64>,
) -> Result<Waited, Interrupted> {
    // Off throughout: a preemption between "blocked" and "leaves the CPU" would be a sleep without
    // a look.
    cpu::without_interrupts(|| {
        if condition() {
            return Ok(Waited::Holds);
        }
        let me = current();
        sleep::sleep(&me.run, InList { me, list, condition, deadline }, ends)
    })
}

impl Thread {
    /// Says that it is to die as soon as it can, and ends its sleep.
    pub fn kill(self: &Arc<Self>) {
        self.attend(attention::KILLED);
    }

    /// Says that its owner has something for it before it is next in user mode, and ends a sleep
    /// that may be interrupted.
    pub fn notify(self: &Arc<Self>) {
        self.attend(attention::NOTIFIED);
    }

    fn attend(self: &Arc<Self>, to: u8) {
        cpu::without_interrupts(|| {
            self.run.attend(to);
            make_ready(self.clone());
            self.kick_if_elsewhere();
        });
    }

    /// In user mode on another CPU it would see what it is to attend to at the next interrupt:
    /// makes one. Interrupts are off.
    pub(super) fn kick_if_elsewhere(&self) {
        let target = cpus::by_id(self.last_cpu());
        if self.is_on_cpu() && !core::ptr::eq(target, cpus::this()) {
            smp::kick(target);
        }
    }

    /// Waits until it has ended and its stack is taken back.
    pub fn join(&self) {
        self.exited.wait_uninterruptibly(|| self.is_reaped());
    }
}
