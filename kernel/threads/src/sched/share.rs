//! What share of a CPU ordinary threads have, for which others wait: nice values (sched(7)).
//!
//! Each thread has a weight. Its *weighted time* grows with each tick that finds it running while
//! another thread waits for that CPU: by [`UNIT`] for a thread of [`NORMAL`] weight, by ten times
//! as much for one of a tenth of it. The thread that has the least goes first, and a thread runs on
//! until another one has no more than it. So the ticks of threads that always want to run are as
//! their weights.
//!
//! ```text
//!   weights 1024 (A) and 335 (B), one CPU     A A A B A A A B A A A B
//!   weighted time of A, in units              1 2 3 3 4 5 6 6 7 8 9 9
//!   of B                                      0 0 0 3 3 3 3 6 6 6 6 9
//! ```
//!
//! # Invariants
//!
//! 1. Until the first thread is given another weight than [`NORMAL`] or a rank
//!    ([`super::rank::is_in_use`]), nothing here is done.
//! 2. Among the threads that wait for one CPU, none is more than [`FARTHEST`] ahead of the last:
//!    what a thread was charged on a CPU where many waited keeps it from another CPU for so many
//!    ticks at most. A thread that wakes is no more than a tick behind the one that its CPU ran
//!    last: sleeping saves nothing up.

use super::list::{List, RUN};
use super::thread::Thread;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use kstack::addr::CpuId;
use machine::cpus::MAX_CPUS;

/// The weight of a thread that has been given no other: Linux's, of nice value 0.
pub const NORMAL: u32 = 1024;
/// Weighted time of a tick of a thread of that weight.
const UNIT: u64 = 1 << 16;
/// Half a second of a thread of normal weight.
const FARTHEST: u64 = 128 * UNIT;

/// Of each CPU: the weighted time of the thread that it took last.
static TAKEN: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

/// A thread's weight, and what it has used.
#[derive(Debug)]
pub(super) struct Share {
    weight: AtomicU32,
    used: AtomicU64,
}

impl Share {
    pub(super) const fn new() -> Self {
        Self { weight: AtomicU32::new(NORMAL), used: AtomicU64::new(0) }
    }

    /// Gives a new thread what its maker has: many children are no way to a larger share.
    pub(super) fn inherit(&self, maker: &Self) {
        self.weight.store(maker.weight.load(Ordering::Relaxed), Ordering::Relaxed);
        self.used.store(maker.used(), Ordering::Relaxed);
    }

    /// At least 1.
    pub(super) fn set_weight(&self, weight: u32) {
        self.weight.store(weight.max(1), Ordering::Relaxed);
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// A tick. On the thread's CPU.
    pub(super) fn charge(&self) {
        let weight = u64::from(self.weight.load(Ordering::Relaxed));
        let used = self.used().saturating_add(UNIT * u64::from(NORMAL) / weight);
        self.used.store(used, Ordering::Relaxed);
    }

    /// It wakes, and ran on this CPU before. Under the lock of the run queue.
    pub(super) fn catch_up(&self, cpu: CpuId) {
        let least = TAKEN[cpu.index()].load(Ordering::Relaxed).saturating_sub(UNIT);
        self.used.store(self.used().max(least), Ordering::Relaxed);
    }
}

/// Takes out the thread that has used the least among those that may run on a CPU, the first of
/// equals.
pub(super) fn take(
    list: &mut List<Thread, RUN>,
    here: CpuId,
    may_run: impl Fn(&Thread) -> bool,
) -> Option<Arc<Thread>> {
    let mut least: Option<(u64, *const Thread)> = None;
    list.any(|thread| {
        let used = thread.share.used();
        if may_run(thread) && least.is_none_or(|(least, _)| used < least) {
            least = Some((used, thread));
        }
        false
    });
    let (least, first) = least?;
    TAKEN[here.index()].store(least, Ordering::Relaxed);
    let mut rest = List::new();
    let mut taken = None;
    while let Some(thread) = list.pop() {
        if core::ptr::eq(&*thread, first) {
            taken = Some(thread);
            continue;
        }
        if thread.may_run_on(here) {
            let used = thread.share.used().min(least.saturating_add(FARTHEST));
            thread.share.used.store(used, Ordering::Relaxed);
        }
        rest.push(thread);
    }
    *list = rest;
    taken
}
