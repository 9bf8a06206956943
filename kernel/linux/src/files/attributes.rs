//! What a node has besides its content: who may use it, whose it is, how many names it has, and
//! when it was used.

use crate::abi::Stat;
use crate::error::Errno;
use crate::time::{SECOND, wall};
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use machine::spin::SpinLock;

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
    /// Open files that only read it.
    readers: AtomicU32,
    /// See [`file_flag`].
    flags: AtomicU32,
    /// Last read, last written, last changed.
    times: SpinLock<[Moment; 3]>,
}

/// Flags of a file, as `FS_IOC_SETFLAGS` has them.
pub(crate) mod file_flag {
    /// Nothing of it may be changed.
    pub(crate) const IMMUTABLE: u32 = 0x10;
    /// It may only grow.
    pub(crate) const APPEND: u32 = 0x20;
    /// Not for `dump`; when it is read is not noted.
    const NO_DUMP: u32 = 0x40;
    const NO_ATIME: u32 = 0x80;
    /// Those that a file can have.
    pub(crate) const ALL: u32 = IMMUTABLE | APPEND | NO_DUMP | NO_ATIME;
    /// Those that keep what it is.
    pub(crate) const KEPT: u32 = IMMUTABLE | APPEND;

    pub(crate) const fn is_without_atime(flags: u32) -> bool {
        flags & NO_ATIME != 0
    }
}

/// A time of day, as files have it: also before 1970, and far from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

impl Moment {
    /// So many seconds after 1970.
    pub(crate) const fn of_seconds(seconds: i64) -> Self {
        Self { seconds, nanoseconds: 0 }
    }

    /// So many nanoseconds after 1970.
    pub(crate) const fn of(nanoseconds: u64) -> Self {
        Self { seconds: (nanoseconds / SECOND) as i64, nanoseconds: (nanoseconds % SECOND) as u32 }
    }

    /// As `stat` tells it.
    pub(crate) const fn told(self) -> (u64, u32) {
        (self.seconds as u64, self.nanoseconds)
    }
}

/// Now, as files have it.
pub(crate) fn now() -> Moment {
    Moment::of(wall::nanoseconds())
}

/// What tells whether a caller's writes leave the bits by which a program sets its user or group.
pub(crate) type KeepsIds = fn() -> bool;

static KEEPS_IDS: SpinLock<Option<KeepsIds>> = SpinLock::new(None);

/// From now on this is asked: files know no process.
pub(crate) fn set_keeps_ids(keeps_ids: KeepsIds) {
    *KEEPS_IDS.lock() = Some(keeps_ids);
}

impl Attributes {
    /// The content is changed by a caller: another one's program is not made of it unnoticed.
    pub(crate) fn lose_set_ids(&self) {
        const USER: u32 = 0o4000;
        const GROUP: u32 = 0o2010;
        let permissions = self.permissions();
        let group = if permissions & GROUP == GROUP { 0o2000 } else { 0 };
        let lost = permissions & USER | group;
        if lost == 0 {
            return;
        }
        let keeps_ids = *KEEPS_IDS.lock();
        if keeps_ids.is_some_and(|keeps_ids| !keeps_ids()) {
            self.set_permissions(permissions & !lost);
        }
    }

    pub(crate) fn new(permissions: u32) -> Self {
        Self {
            permissions: AtomicU32::new(permissions),
            links: AtomicU32::new(1),
            user: AtomicU32::new(0),
            group: AtomicU32::new(0),
            writers: AtomicI32::new(0),
            readers: AtomicU32::new(0),
            flags: AtomicU32::new(0),
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

    /// How many open files write it, and how many only read it.
    pub(crate) fn users(&self) -> (u32, u32) {
        let writers = self.writers.load(Ordering::Relaxed).max(0);
        (writers as u32, self.readers.load(Ordering::Relaxed))
    }

    pub(crate) fn begin_reading(&self) {
        self.readers.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end_reading(&self) {
        self.readers.fetch_sub(1, Ordering::Relaxed);
    }

    /// See [`file_flag`].
    pub(crate) fn flags(&self) -> u32 {
        self.flags.load(Ordering::Relaxed)
    }

    pub(crate) fn set_flags(&self, to: u32) {
        self.flags.store(to, Ordering::Relaxed);
        self.changed();
    }

    /// Refused (`EPERM`) where it has one of these.
    pub(crate) fn has_none_of(&self, flags: u32) -> Result<(), Errno> {
        if self.flags() & flags == 0 { Ok(()) } else { Err(Errno::EPERM) }
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
    pub(crate) fn set_times(&self, read: Option<Moment>, written: Option<Moment>) {
        let mut times = self.times.lock();
        for (time, to) in times.iter_mut().zip([read, written, Some(now())]) {
            *time = to.unwrap_or(*time);
        }
    }

    /// Sets what the archive says of it.
    pub(crate) fn set_from_archive(&self, user: u32, group: u32, time: Moment) {
        self.set_owner(user, group);
        *self.times.lock() = [time; 3];
    }

    /// It was read. The time is kept if it is of the same day and later than what was written: as
    /// file systems that are mounted with `relatime` do.
    pub(crate) fn was_read(&self) {
        const DAY: i64 = 24 * 60 * 60;
        if file_flag::is_without_atime(self.flags()) {
            return;
        }
        let now = now();
        let mut times = self.times.lock();
        let [read, written, changed] = *times;
        let is_late = now.seconds.saturating_sub(read.seconds) >= DAY;
        if read <= written || read <= changed || is_late {
            times[0] = now;
        }
    }

    /// It was written.
    pub(crate) fn was_written(&self) {
        let now = now();
        self.times.lock()[1..].fill(now);
    }

    /// What is told of it has changed.
    pub(crate) fn changed(&self) {
        self.times.lock()[2] = now();
    }

    /// Its part of what `stat` tells.
    pub(crate) fn stat(&self) -> Stat {
        let times = *self.times.lock();
        Stat {
            user: self.user.load(Ordering::Relaxed),
            group: self.group.load(Ordering::Relaxed),
            times: times.map(Moment::told),
            flags: self.flags(),
            ..Stat::default()
        }
    }
}
