//! The limits of a process (setrlimit(2)): what it may use, soft and hard.
//!
//! The threads of a process share one table; a child gets a copy. Rooms below `process` are given a
//! number from it by their callers; calls ask for the caller's:
//! `current().limits.soft(Resource::Files)`.

use crate::error::Errno;
use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::spin::SpinLock;

/// A limit that is none.
pub const INFINITE: u64 = u64::MAX;

/// What is limited, by Linux's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Resource {
    /// Seconds of CPU time: SIGXCPU at the soft limit, SIGKILL at the hard one.
    Cpu = 0,
    /// Bytes of a file that is written: SIGXFSZ and `EFBIG`.
    FileSize = 1,
    /// Bytes of private writable memory: `ENOMEM`.
    Data = 2,
    /// Bytes a stack grows to.
    Stack = 3,
    /// Bytes of a core file; less than a page: there is none.
    Core = 4,
    /// Without effect, as in Linux.
    Resident = 5,
    /// Processes and threads of a user: `EAGAIN`.
    Processes = 6,
    /// One more than the highest descriptor: `EMFILE`.
    Files = 7,
    /// Bytes of locked memory.
    Locked = 8,
    /// Bytes of address space: `ENOMEM`.
    AddressSpace = 9,
    /// Without effect, as in Linux.
    Locks = 10,
    /// Queued signals of a user: `EAGAIN`.
    PendingSignals = 11,
    /// Bytes of POSIX message queues of a user: `EMFILE`.
    MessageQueues = 12,
    /// 20 minus the lowest nice value.
    Nice = 13,
    /// The highest real-time priority.
    RealTimePriority = 14,
    /// Microseconds that a real-time thread may run without sleeping.
    RealTimeTime = 15,
}

/// How many there are.
pub const COUNT: usize = 16;

impl Resource {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; COUNT] = [
        Self::Cpu,
        Self::FileSize,
        Self::Data,
        Self::Stack,
        Self::Core,
        Self::Resident,
        Self::Processes,
        Self::Files,
        Self::Locked,
        Self::AddressSpace,
        Self::Locks,
        Self::PendingSignals,
        Self::MessageQueues,
        Self::Nice,
        Self::RealTimePriority,
        Self::RealTimeTime,
    ];

    /// The one with this number.
    pub fn of(number: u64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

/// A soft and a hard limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The one that governs.
    pub soft: u64,
    /// What the soft one can be raised to.
    pub hard: u64,
}

impl Limit {
    const fn both(number: u64) -> Self {
        Self { soft: number, hard: number }
    }
}

/// The most that a limit of descriptors can be (`fs.nr_open`), and what that can be set to: a whole
/// word of what tells which are in use, and no more than an address space could hold.
pub(crate) static MAX_FILES: AtomicU64 = AtomicU64::new(1 << 20);
pub(crate) const MAX_FILES_RANGE: RangeInclusive<u64> =
    usize::BITS as u64..=(i32::MAX as u64) & !(usize::BITS as u64 - 1);
/// Threads, and signals that are queued, of one user: half of what the machine has room for.
const MAX_TASKS: u64 = 16_384;

/// See the module's head.
#[derive(Debug)]
pub struct Limits(SpinLock<[Limit; COUNT]>);

impl Limits {
    /// Those of the first process (include/asm-generic/resource.h).
    pub(crate) const fn first() -> Self {
        let mut all = [Limit::both(INFINITE); COUNT];
        all[Resource::Stack as usize] = Limit { soft: 8 << 20, hard: INFINITE };
        all[Resource::Core as usize] = Limit { soft: 0, hard: INFINITE };
        all[Resource::Processes as usize] = Limit::both(MAX_TASKS);
        all[Resource::Files as usize] = Limit { soft: 1024, hard: 4096 };
        all[Resource::Locked as usize] = Limit::both(8 << 20);
        all[Resource::PendingSignals as usize] = Limit::both(MAX_TASKS);
        all[Resource::MessageQueues as usize] = Limit::both(819_200);
        all[Resource::Nice as usize] = Limit::both(0);
        all[Resource::RealTimePriority as usize] = Limit::both(0);
        Self(SpinLock::new(all))
    }

    /// The same for a child.
    pub(crate) fn copy(&self) -> Self {
        Self(SpinLock::new(*self.0.lock()))
    }

    /// The limit that governs.
    pub fn soft(&self, of: Resource) -> u64 {
        self.get(of).soft
    }

    /// Both.
    pub fn get(&self, of: Resource) -> Limit {
        self.0.lock()[of as usize]
    }

    /// Changes a limit, and gives out what it was. Only the privileged raise a hard limit.
    pub(crate) fn set(
        &self,
        of: Resource,
        to: Option<Limit>,
        is_privileged: bool,
    ) -> Result<Limit, Errno> {
        let mut all = self.0.lock();
        let before = all[of as usize];
        if let Some(to) = to {
            if to.soft > to.hard {
                return Err(Errno::EINVAL);
            }
            if of == Resource::Files && to.hard > MAX_FILES.load(Ordering::Relaxed) {
                return Err(Errno::EPERM);
            }
            if to.hard > before.hard && !is_privileged {
                return Err(Errno::EPERM);
            }
            all[of as usize] = to;
        }
        Ok(before)
    }
}
