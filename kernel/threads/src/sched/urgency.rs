//! Real-time threads (sched(7)): which of them comes first, and what they may not do to others.
//!
//! A thread has a rank: 0, or 1 to 99 for one of real time. No thread runs while one of a higher
//! rank that may run on its CPU waits. Among equals, the one that waited longest is first; one with
//! slices goes to the end when it has run for [`slice()`], one without (SCHED_FIFO) when it yields
//! or sleeps.
//!
//! # Invariants
//!
//! 1. Until the first thread of real time is made ([`super::rank::is_in_use`]), nothing here is
//!    done: a switch costs one load more.
//! 2. A thread that stands in the run queue stands in the list that its rank says, among its equals
//!    in order of arrival: the rank changes under the lock of the run queue
//!    ([`super::run_queue::set_rank`]).
//! 3. [`RANKS`] has what each CPU runs. It changes with each switch of that CPU, with interrupts
//!    off; a waker that reads an old value kicks a CPU in vain or lets the thread wait for that
//!    CPU's next tick.
//! 4. Threads of real time have a CPU for 950 ms of each second at most, if others wait for it and
//!    nothing else was set (`sched_rt_runtime_us`): a program that spins does not take the machine
//!    away.

use super::list::{List, RUN};
use super::thread::Thread;
use crate::clock;
use crate::time::TICK;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use kstack::addr::CpuId;
use machine::cpus::{Cpu, MAX_CPUS};

/// Ticks of a period, a second at first, and how many of them may be real time's.
static PERIOD: AtomicU64 = AtomicU64::new(250);
static SHARE: AtomicU64 = AtomicU64::new(250 * 95 / 100);

/// Nanoseconds of a slice: at first as Linux's (`RR_TIMESLICE`).
static SLICE: AtomicU64 = AtomicU64::new(100_000_000);

/// Nanoseconds that a thread with slices runs before its equals.
pub fn slice() -> u64 {
    SLICE.load(Ordering::Relaxed)
}

/// Sets them: whole ticks, one at least.
pub fn set_slice(nanoseconds: u64) {
    SLICE.store(nanoseconds.div_ceil(TICK).max(1) * TICK, Ordering::Relaxed);
}

/// Sets how many nanoseconds of each period may be real time's; `None`: all.
pub fn set_share(period: u64, share: Option<u64>) {
    PERIOD.store((period / TICK).max(1), Ordering::Relaxed);
    SHARE.store(share.map_or(u64::MAX, |share| share / TICK), Ordering::Relaxed);
}

/// The lowest bits of what a CPU counts: ticks of real time.
const COUNT_BITS: u32 = 24;

static RANKS: [AtomicU8; MAX_CPUS] = [const { AtomicU8::new(0) }; MAX_CPUS];
/// Of each CPU: the period that it counts in, above; its ticks of real time, in the lowest bits.
static SPENT: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

/// Of each CPU: when the thread on it came, in nanoseconds since boot.
static CAME: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

/// What a CPU runs.
pub(super) fn rank_on(cpu: CpuId) -> u8 {
    RANKS[cpu.index()].load(Ordering::Relaxed)
}

/// A CPU is about to run a thread of this rank.
pub(super) fn note_running(cpu: CpuId, rank: u8) {
    RANKS[cpu.index()].store(rank, Ordering::Relaxed);
    CAME[cpu.index()].store(clock::nanoseconds(), Ordering::Relaxed);
}

/// Whether the running thread of a CPU, of real time, has to let its equals run.
pub(super) fn is_turn_over(cpu: CpuId, thread: &Thread) -> bool {
    let came = CAME[cpu.index()].load(Ordering::Relaxed);
    thread.urgency.has_slices() && clock::nanoseconds().saturating_sub(came) >= slice()
}

/// Counts a tick of a CPU.
pub(super) fn count_tick(cpu: &Cpu) {
    let number = cpu.id().index();
    if rank_on(cpu.id()) > 0 {
        let period = cpu.ticks.load(Ordering::Relaxed) / PERIOD.load(Ordering::Relaxed);
        let before = SPENT[number].load(Ordering::Relaxed);
        // No other CPU writes it.
        let is_same = before >> COUNT_BITS == period;
        let spent = if is_same { before + 1 } else { period << COUNT_BITS | 1 };
        SPENT[number].store(spent, Ordering::Relaxed);
    }
}

/// Whether threads of real time have had their share of a CPU's period.
pub(super) fn is_spent(cpu: &Cpu) -> bool {
    let spent = SPENT[cpu.id().index()].load(Ordering::Relaxed);
    let period = cpu.ticks.load(Ordering::Relaxed) / PERIOD.load(Ordering::Relaxed);
    spent >> COUNT_BITS == period
        && spent & ((1 << COUNT_BITS) - 1) >= SHARE.load(Ordering::Relaxed)
}

/// Puts a thread behind its equals, or before them.
pub(super) fn insert(list: &mut List<Thread, RUN>, thread: Arc<Thread>, before_equals: bool) {
    let rank = thread.urgency.rank();
    let mut sorted = List::new();
    let mut left = Some(thread);
    while let Some(next) = list.pop() {
        let other = next.urgency.rank();
        if (other < rank || before_equals && other == rank)
            && let Some(thread) = left.take()
        {
            sorted.push(thread);
        }
        sorted.push(next);
    }
    if let Some(thread) = left {
        sorted.push(thread);
    }
    *list = sorted;
}

/// Takes out the first thread that is free to run on a CPU and of at least this rank.
pub(super) fn take(
    list: &mut List<Thread, RUN>,
    least: u8,
    may_run: impl Fn(&Thread) -> bool,
) -> Option<Arc<Thread>> {
    let mut rest = List::new();
    let mut taken = None;
    while let Some(next) = list.pop() {
        if taken.is_none() && next.urgency.rank() >= least && may_run(&next) {
            taken = Some(next);
        } else {
            rest.push(next);
        }
    }
    *list = rest;
    taken
}
