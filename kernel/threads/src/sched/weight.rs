//! What a thread knows of its share of a CPU: see [`super::share`].

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use kstack::addr::CpuId;
use machine::cpus::MAX_CPUS;

/// The weight of a thread that has been given no other: Linux's, of nice value 0.
pub const NORMAL: u32 = 1024;
/// Weighted time of a tick of a thread of that weight.
const UNIT: u64 = 1 << 16;
/// Half a second of a thread of normal weight.
pub(super) const FARTHEST: u64 = 128 * UNIT;

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

    /// No more than this.
    pub(super) fn limit(&self, most: u64) {
        self.used.store(self.used().min(most), Ordering::Relaxed);
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

/// A CPU takes a thread that has used so much.
pub(super) fn note_taken(here: CpuId, used: u64) {
    TAKEN[here.index()].store(used, Ordering::Relaxed);
}
