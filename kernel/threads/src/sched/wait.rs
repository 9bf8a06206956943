//! Sleeping until a condition holds, without lost wake-ups.
//!
//! The sleeper enters the list *before* it looks at the condition; the waker makes the condition true before it empties
//! the list. Whichever comes second sees the other.
//!
//! | sleeper | waker |
//! | --- | --- |
//! | state = blocked, into the list (under its lock) | makes the condition true |
//! | looks at the condition | takes everybody out of the list (under its lock) |
//! | true: out of the list; blocked to running, or, if a waker was faster, takes the turn it was given | blocked to ready, into the run queue |
//! | false: leaves the CPU | |
//!
//! The list's lock orders the two. A thread that is to die is woken without the list, so there the order is made by hand: both sides
//! store, then fence, then look at what the other stores. Without the two fences each CPU may look before its own store is seen,
//! and a killed thread sleeps until somebody else wakes it.
//!
//! | sleeper | killer ([`Thread::kill`](super::Thread::kill)) |
//! | --- | --- |
//! | state = blocked | killed = true |
//! | fence | fence |
//! | looks at killed | blocked to ready, if it is blocked |

use super::run_queue::make_ready;
use super::schedule::leave_cpu;
use super::switch::{current, current_arc};
use super::thread::{State, Thread, WaitQueue};
use alloc::sync::Arc;
use core::sync::atomic::{Ordering, fence};
use machine::arch::cpu;

/// The sleep was cut short: the thread is to die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted;

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
            loop {
                {
                    let mut list = self.0.lock_uninterrupted();
                    me.set_state(State::Blocked);
                    list.push(current_arc());
                }
                fence(Ordering::SeqCst);
                let done = if condition() {
                    Some(Ok(()))
                } else if may_be_killed && me.killed() {
                    Some(Err(Interrupted))
                } else {
                    leave_cpu();
                    None
                };
                self.0.lock_uninterrupted().remove(me);
                if done.is_some() && !me.unblock(State::Running) {
                    // A waker has made us ready: the run queue has us, or will in a moment. Take that turn, or we
                    // would be in it twice.
                    leave_cpu();
                }
                if let Some(result) = done.or_else(|| condition().then_some(Ok(()))) {
                    return result;
                }
            }
        })
    }
}

impl Thread {
    /// Says that it is to die as soon as it can, and ends its sleep.
    pub fn kill(self: &Arc<Self>) {
        cpu::without_interrupts(|| {
            self.killed.store(true, Ordering::Release);
            // Before its state is looked at: see `wait`.
            fence(Ordering::SeqCst);
            make_ready(self.clone());
        });
    }

    /// Waits until it has ended and its stack is taken back.
    pub fn join(&self) {
        self.exited.wait_uninterruptibly(|| self.is_reaped());
    }
}
