//! What a node has besides its content: who may use it, whose it is, how many names it has, and
//! when it was used.

use crate::abi::Stat;
use crate::error::Errno;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use machine::spin::SpinLock;
use threads::time;

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Attributes {
    permissions: AtomicU32,
    links: AtomicU32,
    user: AtomicU32,
    group: AtomicU32,
    /// Open files that write it, if positive; programs that run from it, if negative. Never both
    /// (ETXTBSY).
    writers: AtomicI32,
    /// Last read, last written, last changed: nanoseconds of the clock.
    times: SpinLock<[u64; 3]>,
}

/// Now, as files have it.
pub(crate) fn now() -> u64 {
    time::nanoseconds()
}

impl Attributes {
    pub(crate) fn new(permissions: u32) -> Self {
        Self {
            permissions: AtomicU32::new(permissions),
            links: AtomicU32::new(1),
            user: AtomicU32::new(0),
            group: AtomicU32::new(0),
            writers: AtomicI32::new(0),
            times: SpinLock::new([now(); 3]),
        }
    }

    /// Counts one more that writes it: refused while a program runs from it.
    pub(crate) fn begin_writing(&self) -> Result<(), Errno> {
        self.add_writers(1)
    }

    pub(crate) fn end_writing(&self) {
        self.writers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether an open file writes it.
    pub(crate) fn is_written(&self) -> bool {
        self.writers.load(Ordering::Relaxed) > 0
    }

    /// Counts one more program that runs from it: refused while it is written.
    pub(crate) fn begin_running(&self) -> Result<(), Errno> {
        self.add_writers(-1)
    }

    pub(crate) fn end_running(&self) {
        self.writers.fetch_add(1, Ordering::Relaxed);
    }

    fn add_writers(&self, more: i32) -> Result<(), Errno> {
        let added = |count: i32| {
            if count.signum() == -more { None } else { count.checked_add(more) }
        };
        let result = self.writers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, added);
        result.map(|_| ()).map_err(|_| Errno::ETXTBSY)
    }

    pub(crate) fn permissions(&self) -> u32 {
        self.permissions.load(Ordering::Relaxed)
    }

    pub(crate) fn set_permissions(&self, to: u32) {
        self.permissions.store(to & 0o7777, Ordering::Relaxed);
        self.changed();
    }

    /// How many names it has.
    pub(crate) fn links(&self) -> u64 {
        self.links.load(Ordering::Relaxed).into()
    }

    pub(crate) fn add_links(&self, more: i32) {
        self.links.fetch_add(more as u32, Ordering::Relaxed);
        self.changed();
    }

    /// Whose it is; `u32::MAX`: as before.
    pub(crate) fn set_owner(&self, user: u32, group: u32) {
        if user != u32::MAX {
            self.user.store(user, Ordering::Relaxed);
        }
        if group != u32::MAX {
            self.group.store(group, Ordering::Relaxed);
        }
        self.changed();
    }

    /// Sets the first two times; `None`: as before.
    pub(crate) fn set_times(&self, read: Option<u64>, written: Option<u64>) {
        let mut times = self.times.lock();
        for (time, to) in times.iter_mut().zip([read, written, Some(now())]) {
            *time = to.unwrap_or(*time);
        }
    }

    /// It was read.
    pub(crate) fn was_read(&self) {
        self.times.lock()[0] = now();
    }

    /// It was written.
    pub(crate) fn was_written(&self) {
        let now = now();
        self.times.lock()[1..].fill(now);
    }

    fn changed(&self) {
        self.times.lock()[2] = now();
    }

    /// Its part of what `stat` tells.
    pub(crate) fn stat(&self) -> Stat {
        const SECOND: u64 = 1_000_000_000;
        let times = *self.times.lock();
        Stat {
            user: self.user.load(Ordering::Relaxed),
            group: self.group.load(Ordering::Relaxed),
            times: times.map(|time| (time / SECOND, (time % SECOND) as u32)),
            ..Stat::default()
        }
    }
}
