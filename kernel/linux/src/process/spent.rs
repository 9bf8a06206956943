//! CPU time as it is kept. What it is computed from is in `cpu_time`.

use machine::spin::SpinLock;

/// CPU time in nanoseconds: in all, in user mode, in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CpuTimes {
    pub(crate) total: u64,
    pub(crate) user: u64,
    pub(crate) system: u64,
}

/// What has been used: CPU time, the most bytes of memory at once, and pages that came when they
/// were touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    pub(crate) times: CpuTimes,
    pub(crate) peak: u64,
    pub(crate) faults: u64,
}

impl Usage {
    /// That of two together: neither had the other's memory.
    pub(super) fn with(self, other: Self) -> Self {
        let (one, two) = (self.times, other.times);
        Self {
            times: CpuTimes {
                total: one.total + two.total,
                user: one.user + two.user,
                system: one.system + two.system,
            },
            peak: self.peak.max(other.peak),
            faults: self.faults + other.faults,
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
    pub(super) fn split(&mut self, total: u64, [user, system]: [u64; 2]) -> CpuTimes {
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

/// What a process keeps of what was used, beside its living threads and its memory.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    /// Of threads that have ended: nanoseconds, and ticks in user mode and in the kernel.
    pub(super) total: u64,
    pub(super) ticks: [u64; 2],
    pub(super) shown: Shown,
    /// The most bytes of the memory that it had before.
    pub(super) peak: u64,
    /// Of children that were waited for, and of theirs.
    pub(crate) children: Usage,
}

impl Spent {
    /// The process has no use for its memory any more: the most that was in it is kept.
    pub(super) fn keep_peak(&mut self, peak: u64) {
        self.peak = self.peak.max(peak);
    }

    pub(crate) fn new() -> SpinLock<Self> {
        SpinLock::new(Self::default())
    }
}
