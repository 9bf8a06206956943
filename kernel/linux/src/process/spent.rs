//! CPU time as it is kept. What it is computed from is in `cpu_time`.

use machine::spin::SpinLock;

/// CPU time in nanoseconds: in all, in user mode, in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CpuTimes {
    pub(crate) total: u64,
    pub(crate) user: u64,
    pub(crate) system: u64,
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

/// What a process keeps of CPU time beside its living threads.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    /// Of threads that have ended: nanoseconds, and ticks in user mode and in the kernel.
    pub(super) total: u64,
    pub(super) ticks: [u64; 2],
    pub(super) shown: Shown,
    /// Of children that were waited for, and of theirs.
    pub(crate) children: CpuTimes,
}

impl Spent {
    pub(crate) fn new() -> SpinLock<Self> {
        SpinLock::new(Self::default())
    }
}
