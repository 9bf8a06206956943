//! The run queue: first come, first served; and the CPUs that have nothing to run.
//!
//! A thread may stand here while its old CPU is still saving its registers: see the head of
//! [`super`] on `on_cpu`.

use super::list::{List, RUN};
use super::thread::{State, Thread, WaitQueue};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use kstack::addr::CpuId;
use machine::arch::{cpu, smp};
use machine::cpus::{self, CpuSet};
use machine::spin::SpinLock;

static READY: SpinLock<List<Thread, RUN>> = SpinLock::new(List::new());
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
    // An idle CPU takes it; without one, the next tick of a busy CPU does.
    if let Some(idle) = IDLE_CPUS.members().find(|cpu| allowed >> cpu.get() & 1 != 0) {
        IDLE_CPUS.remove(idle);
        let target = cpus::by_id(idle);
        if core::ptr::eq(target, cpus::this()) {
            target.local.ask_for_preemption();
        } else {
            smp::kick(target);
        }
    }
}

/// Whether a thread waits for this CPU.
pub fn somebody_waits() -> bool {
    READY.lock().any(|thread| thread.may_run_on(cpus::this().id()))
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

/// Counts a CPU as one that has nothing to run, until it is taken out or given
/// something.
pub(super) fn enter_idle(cpu: CpuId) {
    IDLE_CPUS.insert(cpu);
}

/// The reverse.
pub(super) fn leave_idle(cpu: CpuId) {
    IDLE_CPUS.remove(cpu);
}

/// Puts a running thread, which the caller has a reference to, at the end of the queue and wakes no
/// CPU: its own takes the next one. Interrupts off.
pub(super) fn push_back(thread: Arc<Thread>) {
    READY.lock_uninterrupted().push(thread);
}

/// The next thread to run, if there is one that has left its old CPU. Interrupts off.
pub(super) fn next_ready(me: *const Thread) -> Option<Arc<Thread>> {
    let mut ready = READY.lock_uninterrupted();
    let here = cpus::this().id();
    let mut first_busy: *const Thread = core::ptr::null();
    while let Some(thread) = ready.pop() {
        let is_free = core::ptr::eq(&*thread, me) || !thread.is_on_cpu();
        if is_free && thread.may_run_on(here) {
            return Some(thread);
        }
        let seen = core::ptr::eq(&*thread, first_busy);
        if first_busy.is_null() {
            first_busy = &*thread;
        }
        ready.push(thread);
        if seen {
            break;
        }
    }
    None
}

impl WaitQueue {
    /// Wakes all of them; each looks at its condition again.
    pub fn wake_all(&self) {
        // One section: a waker that is ended half-way, because its stack is full, would leave
        // threads in no queue at all, or asleep.
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
