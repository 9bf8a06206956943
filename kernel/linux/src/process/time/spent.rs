//! CPU time and bytes moved, as they are kept. What it is computed from is in `cpu_time`.

use crate::error::{Errno, SysResult};
use core::sync::atomic::{AtomicU64, Ordering};
use machine::spin::SpinLock;

/// CPU time in nanoseconds: in all, in user mode, in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CpuTimes {
    pub(crate) total: u64,
    pub(crate) user: u64,
    pub(crate) system: u64,
}

/// What has been used: CPU time, the most bytes of memory at once, pages that came when they were
/// touched, and how often CPUs were left: with nothing to do, and though there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    pub(crate) times: CpuTimes,
    pub(crate) peak: u64,
    pub(crate) faults: u64,
    pub(crate) switches: [u64; 2],
}

impl Usage {
    /// That of two together: neither had the other's memory.
    pub(in crate::process) fn with(self, other: Self) -> Self {
        let (one, two) = (self.times, other.times);
        Self {
            times: CpuTimes {
                total: one.total + two.total,
                user: one.user + two.user,
                system: one.system + two.system,
            },
            peak: self.peak.max(other.peak),
            faults: self.faults + other.faults,
            switches: core::array::from_fn(|i| self.switches[i] + other.switches[i]),
        }
    }
}

/// The two parts as they were shown last.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    user: u64,
    system: u64,
}

impl Shown {
    /// Parts of a time by ticks, neither less than before.
    pub(in crate::process) fn split(&mut self, total: u64, [user, system]: [u64; 2]) -> CpuTimes {
        let ticks = u128::from(user + system);
        let in_kernel = match ticks {
            0 => 0,
            ticks => (u128::from(total) * u128::from(system) / ticks) as u64,
        };
        let in_kernel = in_kernel.clamp(
            self.system.min(total),
            total.saturating_sub(self.user).max(self.system.min(total)),
        );
        self.system = self.system.max(in_kernel);
        self.user = self.user.max(total.saturating_sub(self.system));
        CpuTimes { total, user: self.user, system: self.system }
    }
}

/// Bytes read, bytes written, calls that read, calls that write. Only the thread whose they are
/// counts.
#[derive(Debug)]
pub(crate) struct Moved([AtomicU64; 4]);

impl Moved {
    pub(in crate::process) const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; 4])
    }

    /// One call more, if it had a file to ask, and the bytes that it moved.
    pub(in crate::process) fn count(&self, [bytes, calls]: [usize; 2], result: SysResult) {
        let add = |to: usize, more: u64| {
            let sum = self.0[to].load(Ordering::Relaxed).wrapping_add(more);
            self.0[to].store(sum, Ordering::Relaxed);
        };
        match result {
            Ok(moved) => add(bytes, moved),
            Err(Errno::EBADF) => return,
            Err(_) => {}
        }
        add(calls, 1);
    }

    pub(in crate::process) fn all(&self) -> [u64; 4] {
        self.0.each_ref().map(|number| number.load(Ordering::Relaxed))
    }

    pub(in crate::process) fn sum(one: [u64; 4], two: [u64; 4]) -> [u64; 4] {
        core::array::from_fn(|i| one[i].wrapping_add(two[i]))
    }
}

/// What a process keeps of what was used, beside its living threads and its memory.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    /// Of threads that have ended: nanoseconds, and ticks in user mode and in the kernel.
    pub(super) total: u64,
    pub(in crate::process) ticks: [u64; 2],
    /// How often they left their CPUs, as in [`Usage`].
    pub(super) switches: [u64; 2],
    /// The same of [`Moved`], and of children that were waited for.
    pub(in crate::process) moved: [u64; 4],
    pub(in crate::process) shown: Shown,
    /// The most bytes of the memory that it had before.
    pub(in crate::process) peak: u64,
    /// Of children that were waited for, and of theirs.
    pub(crate) children: Usage,
}

impl Spent {
    /// The process has no use for its memory any more: the most that was in it is kept.
    pub(in crate::process) fn keep_peak(&mut self, peak: u64) {
        self.peak = self.peak.max(peak);
    }

    pub(crate) fn new() -> SpinLock<Self> {
        SpinLock::new(Self::default())
    }
}
