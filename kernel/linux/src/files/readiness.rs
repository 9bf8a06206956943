//! What an open file can do now, and who is told when that changes.
//!
//! A file that can make its callers wait has a [`Readiness`]: a list of threads asleep in it, and
//! the watchers (a `poll` that sleeps, an entry of an epoll) that look at more than one file.
//!
//! # Order of locks
//!
//! The file's own lock is let go before [`Readiness::wake`]. Watchers of the file, then the ready
//! list of an epoll, then the watchers of that epoll: at most as deep as epolls may be nested.

use crate::error::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched::{Mutex, WaitQueue, Waited};
use threads::time;

/// What a file is ready for: bits, as `poll` has them.
pub(crate) mod event {
    pub(crate) const IN: u32 = 1;
    pub(crate) const PRI: u32 = 2;
    pub(crate) const OUT: u32 = 4;
    pub(crate) const ERR: u32 = 8;
    pub(crate) const HUP: u32 = 0x10;
    pub(crate) const INVALID: u32 = 0x20;
    pub(crate) const READ_NORMAL: u32 = 0x40;
    pub(crate) const READ_BAND: u32 = 0x80;
    pub(crate) const WRITE_NORMAL: u32 = 0x100;
    pub(crate) const WRITE_BAND: u32 = 0x200;
    pub(crate) const MESSAGE: u32 = 0x400;
    pub(crate) const READ_HUP: u32 = 0x2000;
    /// What can be read, and what can be written: a plain file is ready for both.
    pub(crate) const READABLE: u32 = IN | READ_NORMAL;
    pub(crate) const WRITABLE: u32 = OUT | WRITE_NORMAL;
}

/// What is told of a change.
pub(crate) trait Watcher: Send + Sync + fmt::Debug {
    /// Something may have become ready. Called with a spinning lock held.
    fn changed(self: Arc<Self>);
}

/// What watches an open file for as long as that has users.
pub(crate) trait FileWatcher: Send + Sync + fmt::Debug {
    /// The file has none any more; its changes were told here.
    fn forget(self: Arc<Self>, readiness: Option<&Readiness>);
}

/// See the module's head.
#[derive(Debug)]
pub struct Readiness {
    sleepers: WaitQueue,
    /// Whether there are watchers: looked at without their lock.
    is_watched: AtomicBool,
    watchers: SpinLock<Vec<Arc<dyn Watcher>>>,
}

fn is_same(one: &Arc<dyn Watcher>, other: *const ()) -> bool {
    Arc::as_ptr(one).cast::<()>() == other
}

impl Readiness {
    pub(crate) const fn new() -> Self {
        Self {
            sleepers: WaitQueue::new(),
            is_watched: AtomicBool::new(false),
            watchers: SpinLock::new(Vec::new()),
        }
    }

    /// Sleeps until `condition` holds; `EAGAIN` instead of a sleep, if the caller does not want
    /// one.
    pub(crate) fn wait(
        &self,
        nonblocking: bool,
        mut condition: impl FnMut() -> bool,
    ) -> Result<(), Errno> {
        if nonblocking {
            return if condition() { Ok(()) } else { Err(Errno::EAGAIN) };
        }
        Ok(self.sleepers.wait_until(condition)?)
    }

    /// The same for so many nanoseconds at most, if that is not 0: `EAGAIN` then. Such a sleep is
    /// not begun again behind a signal: it would be a longer one.
    pub(crate) fn wait_at_most(
        &self,
        nonblocking: bool,
        nanoseconds: u64,
        condition: impl FnMut() -> bool,
    ) -> Result<(), Errno> {
        if nonblocking || nanoseconds == 0 {
            return self.wait(nonblocking, condition);
        }
        let deadline = time::later(nanoseconds);
        match self.sleepers.wait_deadline(condition, Some(deadline)) {
            Ok(Waited::Holds) => Ok(()),
            Ok(Waited::TimedOut) => Err(Errno::EAGAIN),
            Err(_) => Err(Errno::EINTR),
        }
    }

    /// The same, until a deadline.
    pub(crate) fn wait_deadline(
        &self,
        condition: impl FnMut() -> bool,
        deadline: Option<u64>,
    ) -> Result<Waited, Errno> {
        Ok(self.sleepers.wait_deadline(condition, deadline)?)
    }

    /// Something has changed: those asleep look again, and watchers are told.
    pub(crate) fn wake(&self) {
        self.sleepers.wake_all();
        if self.is_watched.load(Ordering::SeqCst) {
            self.watchers.lock().iter().for_each(|watcher| watcher.clone().changed());
        }
    }

    /// Adds a watcher. It looks at the file after this: what changed before was not told.
    pub(crate) fn watch(&self, watcher: Arc<dyn Watcher>) -> Result<(), Errno> {
        let mut watchers = self.watchers.lock();
        fallible::push(&mut watchers, watcher)?;
        self.is_watched.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Takes a watcher out, wherever it stands.
    pub(crate) fn unwatch(&self, watcher: *const ()) {
        let taken = {
            let mut watchers = self.watchers.lock();
            let place = watchers.iter().position(|one| is_same(one, watcher));
            let taken = place.map(|place| watchers.swap_remove(place));
            self.is_watched.store(!watchers.is_empty(), Ordering::SeqCst);
            taken
        };
        drop(taken);
    }
}

/// A thread that watches many files.
#[derive(Debug)]
pub(crate) struct Poller {
    sleepers: WaitQueue,
    woken: AtomicBool,
}

impl Watcher for Poller {
    fn changed(self: Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        self.sleepers.wake_all();
    }
}

impl Poller {
    pub(crate) const fn new() -> Self {
        Self { sleepers: WaitQueue::new(), woken: AtomicBool::new(false) }
    }

    /// Sleeps until a file has changed, or until the deadline.
    pub(crate) fn wait(&self, deadline: Option<u64>) -> Result<Waited, Errno> {
        let woken = || self.woken.load(Ordering::SeqCst);
        let waited = self.sleepers.wait_deadline(woken, deadline)?;
        self.woken.store(false, Ordering::SeqCst);
        Ok(waited)
    }
}

/// Taken by a call that makes an epoll watch another one, so that no two of them close a circle.
pub(crate) static NESTING: Mutex<()> = Mutex::new(());
