//! Sleeping until a condition holds, without lost wake-ups: the protocol is in [`sleep`](super::sleep), its lists and CPUs here.

use super::run_queue::make_ready;
use super::schedule::leave_cpu;
use super::sleep::{self, RunState, Sleeper, State};
use super::switch::{current, current_arc};
use super::thread::{Thread, WaitQueue};
use alloc::sync::Arc;
use machine::arch::cpu;

pub use super::sleep::Interrupted;

/// The running thread, asleep in a list.
struct InList<'a> {
    me: &'a Thread,
    list: &'a WaitQueue,
    condition: &'a mut dyn FnMut() -> bool,
}

impl Sleeper for InList<'_> {
    #[inline(always)]
    fn condition(&mut self) -> bool {
        (self.condition)()
    }

    #[inline(always)]
    fn enter(&mut self, state: &RunState) {
        let mut list = self.list.0.lock();
        state.set(State::Blocked);
        list.push(current_arc());
    }

    #[inline(always)]
    fn remove(&mut self) {
        self.list.0.lock().remove(self.me);
    }

    #[inline(always)]
    fn leave_cpu(&mut self) {
        leave_cpu();
    }
}

impl WaitQueue {
    /// Sleeps until `condition` holds. It is looked at with interrupts off, perhaps more than once.
    pub fn wait_uninterruptibly(&self, mut condition: impl FnMut() -> bool) {
        let _never_interrupted = self.wait(&mut condition, false);
    }

    /// Sleeps until `condition` holds, or the thread is to die.
    pub fn wait_until(&self, mut condition: impl FnMut() -> bool) -> Result<(), Interrupted> {
        self.wait(&mut condition, true)
    }

    fn wait(
        &self,
        condition: &mut dyn FnMut() -> bool,
        may_be_killed: bool,
    ) -> Result<(), Interrupted> {
        // Off throughout: a preemption between "blocked" and "leaves the CPU" would be a sleep without a look.
        cpu::without_interrupts(|| {
            if condition() {
                return Ok(());
            }
            let me = current();
            sleep::sleep(&me.run, InList { me, list: self, condition }, may_be_killed)
        })
    }
}

impl Thread {
    /// Says that it is to die as soon as it can, and ends its sleep.
    pub fn kill(self: &Arc<Self>) {
        cpu::without_interrupts(|| {
            self.run.kill();
            make_ready(self.clone());
        });
    }

    /// Waits until it has ended and its stack is taken back.
    pub fn join(&self) {
        self.exited.wait_uninterruptibly(|| self.is_reaped());
    }
}
