//! The run queue: first come, first served, but for urgent threads; and the CPUs that have nothing to run.
//!
//! A thread may stand here while its old CPU is still saving its registers: see the head of [`super`] on `on_cpu`.

use super::thread::{State, Thread, WaitQueue};
use super::urgency::Ready;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use machine::arch::{cpu, smp};
use machine::cpus::{self, CpuSet};
use machine::spin::SpinLock;

static READY: SpinLock<Ready> = SpinLock::new(Ready::new());
static IDLE_CPUS: CpuSet = CpuSet::new();

/// Puts a sleeping thread back into the run queue. From any context.
pub fn make_ready(thread: Arc<Thread>) {
    // One section: once it is ready it must get into the queue.
    cpu::without_interrupts(|| {
        ready_uninterrupted(thread);
    });
}

/// The same where interrupts are off already.
fn ready_uninterrupted(thread: Arc<Thread>) {
    if thread.unblock(State::Ready) {
        push_uninterrupted(thread);
    }
}

/// Puts a thread that is ready into the run queue.
pub(super) fn push_ready(thread: Arc<Thread>) {
    cpu::without_interrupts(|| push_uninterrupted(thread));
}

#[inline]
fn push_uninterrupted(thread: Arc<Thread>) {
    let allowed = thread.allowed.load(Ordering::Relaxed);
    READY.lock_uninterrupted().push(thread);
    // Somebody idle takes it; otherwise the next tick of a busy CPU does.
    if let Some(number) = IDLE_CPUS.members().find(|number| allowed >> number & 1 != 0) {
        IDLE_CPUS.remove(number);
        let target = cpus::by_number(number);
        if core::ptr::eq(target, cpus::this()) {
            target.local.ask_for_preemption();
        } else {
            smp::kick(target);
        }
    }
}

/// Whether a thread waits for this CPU.
pub fn somebody_waits() -> bool {
    READY.lock().any(|thread| thread.may_run_on(cpus::this().id().index()))
}

/// Threads that wait for a CPU.
pub(super) fn ready_count() -> usize {
    let mut count = 0;
    READY.lock().any(|_| {
        count += 1;
        false
    });
    count
}

/// The CPUs that a thread is kept to.
pub fn allowed(thread: &Thread) -> u64 {
    thread.allowed.load(Ordering::Relaxed)
}

/// Counts a CPU, by number, as one that has nothing to run, until it is taken out or given something.
pub(super) fn enter_idle(number: usize) {
    IDLE_CPUS.insert(number);
}

/// The reverse.
pub(super) fn leave_idle(number: usize) {
    IDLE_CPUS.remove(number);
}

/// Puts a running thread, which the caller has a reference to, at the end of the queue and wakes no CPU: its own takes the next one.
/// Interrupts off.
pub(super) fn push_back(thread: Arc<Thread>) {
    READY.lock_uninterrupted().push(thread);
}

/// The next thread to run that is at least so urgent, if there is one that has left its old CPU. Interrupts off.
pub(super) fn next_ready(me: *const Thread, least: u8) -> Option<Arc<Thread>> {
    let here = cpus::this().id().index();
    READY.lock_uninterrupted().take(least, |thread| {
        (core::ptr::eq(thread, me) || !thread.is_on_cpu()) && thread.may_run_on(here)
    })
}

impl WaitQueue {
    /// Wakes all of them; each looks at its condition again.
    pub fn wake_all(&self) {
        // One section: a waker that is ended half-way, because its stack is full, would leave threads in no queue at all, or
        // asleep.
        cpu::without_interrupts(|| {
            loop {
                let thread = self.0.lock_uninterrupted().pop();
                match thread {
                    Some(thread) => ready_uninterrupted(thread),
                    None => break,
                }
            }
        });
    }
}
