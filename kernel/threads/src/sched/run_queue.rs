//! The run queue: first come, first served; and the CPUs that have nothing to run.
//!
//! A thread may stand here while its old CPU is still saving its registers: see the head of
//! [`super`] on `on_cpu`.

use super::list::{List, RUN};
use super::rank::{is_in_use, use_ranks};
use super::share;
use super::switch::current;
use super::thread::{State, Thread, WaitQueue};
use super::urgency;
use super::weight::NORMAL;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use kstack::addr::CpuId;
use machine::arch::{cpu, smp};
use machine::cpus::{self, Cpu, CpuSet};
use machine::spin::SpinLock;

/// The threads that are ready.
#[derive(Debug)]
struct Ready {
    ordinary: List<Thread, RUN>,
    /// Those of real time, the highest rank first.
    urgent: List<Thread, RUN>,
}

static READY: SpinLock<Ready> = SpinLock::new(Ready { ordinary: List::new(), urgent: List::new() });
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
    let rank = thread.urgency.rank();
    {
        let mut ready = READY.lock_uninterrupted();
        if is_in_use() {
            thread.share.catch_up(thread.last_cpu());
        }
        ready.push(thread, false);
    }
    // An idle CPU takes it; without one, the next tick of a busy CPU does.
    if let Some(idle) = IDLE_CPUS.members().find(|cpu| allowed >> cpu.get() & 1 != 0) {
        IDLE_CPUS.remove(idle);
        let target = cpus::by_id(idle);
        if core::ptr::eq(target, cpus::this()) {
            target.local.ask_for_preemption();
        } else {
            smp::kick(target);
        }
    } else if rank > 0 {
        interrupt_lower(rank, allowed);
    }
}

/// Has the CPU that runs the lowest rank, if it is below this one, look at the run queue: another
/// one than this if it can be, which does so at once.
#[cold]
fn interrupt_lower(rank: u8, allowed: u64) {
    let here = cpus::this().id();
    let allowed = cpus::online().filter(|cpu| allowed >> cpu.id().get() & 1 != 0);
    let lowest = allowed.min_by_key(|cpu| (urgency::rank_on(cpu.id()), cpu.id() == here));
    if let Some(cpu) = lowest.filter(|cpu| urgency::rank_on(cpu.id()) < rank) {
        ask_to_look(cpu);
    }
}

/// Has a CPU look at the run queue as soon as it can. Interrupts off.
fn ask_to_look(target: &'static Cpu) {
    if core::ptr::eq(target, cpus::this()) {
        target.local.ask_for_preemption();
    }
    smp::kick(target);
}

/// A thread's rank, and whether it takes turns with its equals.
pub fn rank(thread: &Thread) -> (u8, bool) {
    (thread.urgency.rank(), thread.urgency.has_slices())
}

/// Gives a thread another rank: it goes to the end of its equals, and a CPU looks whether it is its
/// turn.
pub fn set_rank(thread: &Arc<Thread>, rank: u8, has_slices: bool) {
    cpu::without_interrupts(|| {
        let was_ready = {
            let mut ready = READY.lock_uninterrupted();
            let is_there = ready.ordinary.remove(thread) || ready.urgent.remove(thread);
            thread.urgency.set(rank, has_slices);
            if is_there {
                ready.push(thread.clone(), false);
            }
            is_there
        };
        if was_ready {
            interrupt_lower(rank, thread.allowed.load(Ordering::Relaxed));
        } else if thread.is_on_cpu() {
            let cpu = cpus::by_id(thread.last_cpu());
            urgency::note_running(cpu.id(), rank);
            ask_to_look(cpu);
        }
    });
}

/// Gives an ordinary thread another share of the CPUs that others wait for; see [`share`].
pub fn set_weight(thread: &Thread, weight: u32) {
    thread.share.set_weight(weight);
    if weight != NORMAL {
        use_ranks();
    }
}

impl Ready {
    fn push(&mut self, thread: Arc<Thread>, before_equals: bool) {
        if thread.urgency.rank() == 0 {
            self.ordinary.push(thread);
        } else {
            urgency::insert(&mut self.urgent, thread, before_equals);
        }
    }

    fn any(&self, mut holds: impl FnMut(&Thread) -> bool) -> bool {
        self.urgent.any(&mut holds) || self.ordinary.any(holds)
    }
}

/// Whether a thread waits for this CPU.
pub fn has_waiting() -> bool {
    let cpu = cpus::this();
    let here = cpu.id();
    let ready = READY.lock();
    if !is_in_use() {
        return ready.ordinary.any(|thread| thread.may_run_on(here));
    }
    let me = current();
    let is_idle = cpu.idle.load(Ordering::Relaxed) == cpus::current_thread();
    let rank = me.urgency.rank();
    let least = match rank {
        0 => 0,
        _ if urgency::is_spent(cpu) => 0,
        _ if urgency::is_turn_over(here, me) => rank,
        _ => rank + 1,
    };
    let used = if is_idle || rank > 0 { u64::MAX } else { me.share.used() };
    let has_ranks = |thread: &Thread| match thread.urgency.rank() {
        0 => is_idle || least == 0 && thread.share.used() <= used,
        other => is_idle || other >= least,
    };
    ready.any(|thread| thread.may_run_on(here) && has_ranks(thread))
}

/// A tick: counts it for real time, or charges it to a thread that keeps others waiting.
pub(crate) fn count_ranked_tick(cpu: &Cpu) {
    if is_in_use() {
        urgency::count_tick(cpu);
        charge(cpu);
    }
}

#[cold]
fn charge(cpu: &Cpu) {
    let (me, here) = (current(), cpu.id());
    let is_idle = cpu.idle.load(Ordering::Relaxed) == cpus::current_thread();
    if !is_idle && READY.lock().ordinary.any(|thread| thread.may_run_on(here)) {
        me.share.charge();
    }
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

/// Whether a CPU has nothing to run.
pub(super) fn is_any_idle() -> bool {
    IDLE_CPUS.members().next().is_some()
}

/// Puts a running thread, which the caller has a reference to, at the end of the queue and wakes no
/// CPU: its own takes the next one. Interrupts off.
pub(super) fn push_back(thread: Arc<Thread>) {
    READY.lock_uninterrupted().push(thread, false);
}

/// The same for one that had to leave: it keeps its turn among its equals, unless that is over.
pub(super) fn push_preempted(thread: Arc<Thread>) {
    let keeps_turn = !urgency::is_turn_over(cpus::this().id(), &thread);
    READY.lock_uninterrupted().push(thread, keeps_turn);
}

/// The next thread to run, if there is one that has left its old CPU, and of at least this rank.
/// Interrupts off.
#[inline]
pub(super) fn next_ready(me: *const Thread, least: u8) -> Option<Arc<Thread>> {
    let mut ready = READY.lock_uninterrupted();
    if is_in_use() {
        return ready.next_by_rank(me, least);
    }
    ready.next_ordinary(me)
}

impl Ready {
    #[inline]
    fn next_ordinary(&mut self, me: *const Thread) -> Option<Arc<Thread>> {
        let ready = &mut self.ordinary;
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

    #[cold]
    #[inline(never)]
    fn next_by_rank(&mut self, me: *const Thread, least: u8) -> Option<Arc<Thread>> {
        let cpu = cpus::this();
        let here = cpu.id();
        let may_run = |thread: &Thread| {
            thread.may_run_on(here) && (core::ptr::eq(thread, me) || !thread.is_on_cpu())
        };
        let is_spent = urgency::is_spent(cpu);
        let ordinary = &mut self.ordinary;
        let others = if is_spent { share::take(ordinary, here, may_run) } else { None };
        let next = others.or_else(|| urgency::take(&mut self.urgent, least.max(1), may_run));
        if next.is_some() || least > 0 { next } else { share::take(ordinary, here, may_run) }
    }
}

impl WaitQueue {
    /// Wakes all of them; each looks at its condition again. The caller has changed what they look
    /// at.
    #[inline]
    pub fn wake_all(&self) {
        if self.crowd.is_empty() {
            return;
        }
        self.wake_those_there();
    }

    #[inline(never)]
    fn wake_those_there(&self) {
        // One section: a waker that is ended half-way, because its stack is full, would leave
        // threads in no queue at all, or asleep.
        cpu::without_interrupts(|| {
            loop {
                let thread = {
                    let mut list = self.list.lock_uninterrupted();
                    list.pop().inspect(|_| self.crowd.leave())
                };
                match thread {
                    Some(thread) => ready_uninterrupted(thread),
                    None => break,
                }
            }
        });
    }
}
