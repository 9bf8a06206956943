//! Threads that are more urgent than those that take turns: real-time policies.
//!
//! An urgent thread runs before all that take turns and all that are less urgent, and keeps its CPU
//! until it sleeps, yields, or one that is more urgent is ready: that is looked at with each tick. One
//! that takes turns with its equals gives way to them with each tick.
//!
//! One of [`SHARE`] choices goes to those that take turns, so that an urgent thread that never sleeps
//! leaves a twentieth of its CPU to what would end it (Linux: `sched_rt_runtime_us`).

use super::list::{List, RUN};
use super::thread::Thread;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// Bit of [`Thread::urgency`]: it does not give way to its equals.
const KEEPS_CPU: u8 = 0x80;
const LEVEL: u8 = 0x7f;
/// Choices of which one goes to a thread that takes turns, though an urgent one is ready.
const SHARE: u32 = 20;

/// How urgent a thread is: 0: it takes turns, 1 to 99; and whether it keeps its CPU before its equals.
pub fn urgency(thread: &Thread) -> (u8, bool) {
    let urgency = thread.urgency.load(Ordering::Relaxed);
    (urgency & LEVEL, urgency & KEEPS_CPU != 0)
}

/// Sets it. It counts from when the thread is ready the next time, or from the next tick if it runs.
pub fn set_urgency(thread: &Thread, level: u8, keeps_cpu: bool) {
    let keeps = if keeps_cpu && level != 0 { KEEPS_CPU } else { 0 };
    thread.urgency.store(level & LEVEL | keeps, Ordering::Relaxed);
}

/// How urgent another thread must be to have the CPU of one that could still run.
pub(super) fn least_to_follow(thread: &Thread, by_tick: bool) -> u8 {
    match urgency(thread) {
        (0, _) => 0,
        (level, true) if by_tick => level + 1,
        (level, _) => level,
    }
}

/// Ready threads: those that take turns, and the urgent ones, most urgent first.
#[derive(Debug)]
pub(super) struct Ready {
    turns: List<Thread, RUN>,
    urgent: List<Thread, RUN>,
    /// Choices for urgent threads since one that takes turns was chosen.
    choices: u32,
}

impl Ready {
    pub(super) const fn new() -> Self {
        Self { turns: List::new(), urgent: List::new(), choices: 0 }
    }

    #[inline]
    pub(super) fn push(&mut self, thread: Arc<Thread>) {
        if thread.urgency.load(Ordering::Relaxed) == 0 {
            self.turns.push(thread);
        } else {
            self.push_urgent(thread);
        }
    }

    /// Behind those that are as urgent.
    #[cold]
    fn push_urgent(&mut self, thread: Arc<Thread>) {
        let (level, _) = urgency(&thread);
        let mut all = List::new();
        let mut waiting = Some(thread);
        while let Some(next) = self.urgent.pop() {
            if urgency(&next).0 < level
                && let Some(thread) = waiting.take()
            {
                all.push(thread);
            }
            all.push(next);
        }
        if let Some(thread) = waiting {
            all.push(thread);
        }
        self.urgent = all;
    }

    pub(super) fn any(&self, mut holds: impl FnMut(&Thread) -> bool) -> bool {
        self.urgent.any(&mut holds) || self.turns.any(holds)
    }

    /// Takes out the first thread that is as urgent as this, and may be taken.
    #[inline]
    pub(super) fn take(&mut self, least: u8, may: impl Fn(&Thread) -> bool) -> Option<Arc<Thread>> {
        if self.urgent.is_empty() && least == 0 {
            return first(&mut self.turns, may);
        }
        self.take_urgent(least, may)
    }

    #[cold]
    fn take_urgent(&mut self, least: u8, may: impl Fn(&Thread) -> bool) -> Option<Arc<Thread>> {
        self.choices += 1;
        if self.choices >= SHARE {
            self.choices = 0;
            if let Some(thread) = first(&mut self.turns, &may) {
                return Some(thread);
            }
        }
        let urgent = |thread: &Thread| urgency(thread).0 >= least && may(thread);
        let mut passed = List::new();
        let mut found = None;
        while let Some(thread) = self.urgent.pop() {
            if found.is_none() && urgent(&thread) {
                found = Some(thread);
            } else {
                passed.push(thread);
            }
        }
        self.urgent = passed;
        if found.is_none() && least == 0 { first(&mut self.turns, may) } else { found }
    }
}

/// Takes out the first one that may be taken; those before it go to the end.
fn first(from: &mut List<Thread, RUN>, may: impl Fn(&Thread) -> bool) -> Option<Arc<Thread>> {
    let mut passed: *const Thread = core::ptr::null();
    while let Some(thread) = from.pop() {
        if may(&thread) {
            return Some(thread);
        }
        let seen = core::ptr::eq(&*thread, passed);
        if passed.is_null() {
            passed = &*thread;
        }
        from.push(thread);
        if seen {
            break;
        }
    }
    None
}
