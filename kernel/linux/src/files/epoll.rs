//! Many files watched at once (epoll(7)).
//!
//! ```text
//!   file ── its watchers ──▶ Entry ── changed ──▶ the ready list of the epoll ── wakes ──▶ its own watchers and sleepers
//! ```
//!
//! An entry watches its file as long as both are there: it knows neither of them strongly. The last
//! user of the file takes it out ([`Entry::forget`]), and so does the end of the epoll. The ready
//! list is a hint: what is taken from it is asked again.

use super::object::Object;
use super::open_file::OpenFile;
use super::readiness::{FileWatcher, NESTING, Readiness, Watcher, event};
use crate::error::Errno;
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched::Waited;

/// How deep epolls may watch each other (Linux's `EP_MAX_NESTS` and the file itself).
const MAX_NESTING: usize = 5;

/// Flags of an entry, beside its events.
pub(crate) mod flag {
    pub(crate) const EXCLUSIVE: u32 = 1 << 28;
    pub(crate) const WAKEUP: u32 = 1 << 29;
    pub(crate) const ONESHOT: u32 = 1 << 30;
    pub(crate) const EDGE: u32 = 1 << 31;
}

/// What a program asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) events: u32,
    pub(crate) data: u64,
}

/// What entries and their epoll share.
#[derive(Debug)]
struct Core {
    /// `None`: the epoll has gone.
    ready: SpinLock<Option<VecDeque<Arc<Entry>>>>,
    readiness: Readiness,
}

/// A file that is watched.
#[derive(Debug)]
pub(crate) struct Entry {
    core: Arc<Core>,
    file: Weak<OpenFile>,
    number: u64,
    /// `events` 0: it has told once and is silent (ONESHOT).
    wanted: SpinLock<Wanted>,
    is_listed: AtomicBool,
    is_removed: AtomicBool,
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Epoll {
    core: Arc<Core>,
    entries: SpinLock<Vec<Arc<Entry>>>,
}

impl Entry {
    /// Puts it into the ready list, once. There is a place for every entry.
    fn list(self: &Arc<Self>) {
        let mut ready = self.core.ready.lock();
        let Some(ready) = ready.as_mut() else { return };
        if !self.is_listed.swap(true, Ordering::SeqCst) && ready.len() < ready.capacity() {
            // CANNOT FAIL: there is room, as was asked above.
            ready.push_back(self.clone());
        }
    }

    /// What it has to tell now.
    fn found(&self) -> (u32, Wanted) {
        let wanted = *self.wanted.lock();
        let flags = flag::EDGE | flag::ONESHOT | flag::EXCLUSIVE | flag::WAKEUP;
        let interesting = wanted.events & !flags;
        if wanted.events == 0 || self.is_removed.load(Ordering::SeqCst) {
            return (0, wanted);
        }
        let Some(file) = self.file.upgrade() else { return (0, wanted) };
        (file.events() & (interesting | event::ERR | event::HUP), wanted)
    }

    fn as_watcher(self: &Arc<Self>) -> *const () {
        Arc::as_ptr(self).cast()
    }

    /// Tells at once what is there already.
    fn look(self: &Arc<Self>) {
        if self.found().0 != 0 {
            self.list();
            self.core.readiness.wake();
        }
    }

    /// Takes it out of the ready list, for good.
    fn remove(self: &Arc<Self>) {
        self.is_removed.store(true, Ordering::SeqCst);
        if let Some(ready) = self.core.ready.lock().as_mut() {
            // The caller has it, so this drops none.
            ready.retain(|entry| !Arc::ptr_eq(entry, self));
        }
    }
}

impl FileWatcher for Entry {
    fn forget(self: Arc<Self>, readiness: Option<&Readiness>) {
        self.remove();
        if let Some(readiness) = readiness {
            readiness.unwatch(self.as_watcher());
        }
    }
}

impl Watcher for Entry {
    fn changed(self: Arc<Self>) {
        // One that has told once is silent.
        if self.wanted.lock().events == 0 {
            return;
        }
        self.list();
        self.core.readiness.wake();
    }
}

impl Epoll {
    pub(crate) fn new() -> Result<Arc<Self>, Errno> {
        let ready = SpinLock::new(Some(VecDeque::new()));
        let core = fallible::shared(Core { ready, readiness: Readiness::new() })?;
        Ok(fallible::shared(Self { core, entries: SpinLock::new(Vec::new()) })?)
    }

    fn find(&self, file: &Arc<OpenFile>, number: u64) -> Option<Arc<Entry>> {
        let entries = self.entries.lock();
        let is_it = |entry: &&Arc<Entry>| {
            entry.number == number && core::ptr::eq(entry.file.as_ptr(), Arc::as_ptr(file))
        };
        entries.iter().find(is_it).cloned()
    }

    /// Watches a file.
    pub(crate) fn add(
        &self,
        file: &Arc<OpenFile>,
        number: u64,
        wanted: Wanted,
    ) -> Result<(), Errno> {
        let readiness = file.readiness().ok_or(Errno::EPERM)?;
        // Two threads that add the same file at a time: one of them is first.
        let _one_at_a_time = NESTING.lock();
        if self.find(file, number).is_some() {
            return Err(Errno::EEXIST);
        }
        if let Some(inner) = file.object().and_then(|object| object.of_kind::<Self>()) {
            self.check_nesting(inner)?;
        }
        let entry = fallible::shared(Entry {
            core: self.core.clone(),
            file: Arc::downgrade(file),
            number,
            wanted: SpinLock::new(wanted),
            is_listed: AtomicBool::new(false),
            is_removed: AtomicBool::new(false),
        })?;
        self.add_entry(&entry)?;
        let watched = file.note_watcher(entry.clone());
        let watched = watched.and_then(|()| readiness.watch(entry.clone()));
        watched.inspect_err(|_| self.take_out(&entry))?;
        entry.look();
        Ok(())
    }

    fn add_entry(&self, entry: &Arc<Entry>) -> Result<(), Errno> {
        self.prune();
        let mut entries = self.entries.lock();
        fallible::push(&mut entries, entry.clone())?;
        let count = entries.len();
        // A place for each entry in the ready list.
        let mut ready = self.core.ready.lock();
        let Some(ready) = ready.as_mut() else { return Ok(()) };
        if ready.try_reserve(count).is_err() {
            entries.pop();
            return Err(Errno::ENOMEM);
        }
        Ok(())
    }

    /// Drops the entries of files that have gone.
    fn prune(&self) {
        loop {
            let gone = {
                let mut entries = self.entries.lock();
                let place =
                    entries.iter().position(|entry| entry.is_removed.load(Ordering::SeqCst));
                place.map(|place| entries.swap_remove(place))
            };
            if gone.is_none() {
                return;
            }
        }
    }

    /// Changes what is wanted of a file.
    pub(crate) fn modify(
        &self,
        file: &Arc<OpenFile>,
        number: u64,
        wanted: Wanted,
    ) -> Result<(), Errno> {
        let entry = self.find(file, number).ok_or(Errno::ENOENT)?;
        if entry.wanted.lock().events & flag::EXCLUSIVE != 0 {
            return Err(Errno::EINVAL);
        }
        *entry.wanted.lock() = wanted;
        entry.look();
        Ok(())
    }

    /// Watches a file no more.
    pub(crate) fn remove(&self, file: &Arc<OpenFile>, number: u64) -> Result<(), Errno> {
        let entry = self.find(file, number).ok_or(Errno::ENOENT)?;
        self.take_out(&entry);
        Ok(())
    }

    fn take_out(&self, entry: &Arc<Entry>) {
        entry.remove();
        if let Some(file) = entry.file.upgrade() {
            if let Some(readiness) = file.readiness() {
                readiness.unwatch(entry.as_watcher());
            }
            file.forget_watcher(entry.as_watcher());
        }
        self.prune();
    }

    /// `ELOOP`: an epoll that is to be watched watches this one, or they would be too deep.
    fn check_nesting(&self, inner: &Self) -> Result<(), Errno> {
        // What is left to look at, with its depth. No recursion: a program makes them.
        let mut left: Vec<(Arc<OpenFile>, usize)> = Vec::new();
        let mut core = inner.core.clone();
        let mut entries = inner.watched_epolls()?;
        let mut depth = 1;
        loop {
            if Arc::ptr_eq(&core, &self.core) || depth >= MAX_NESTING {
                return Err(Errno::ELOOP);
            }
            for file in entries {
                fallible::push(&mut left, (file, depth + 1))?;
            }
            let Some((file, its_depth)) = left.pop() else { return Ok(()) };
            let Some(epoll) = file.object().and_then(|object| object.of_kind::<Self>()) else {
                return Ok(());
            };
            (core, depth) = (epoll.core.clone(), its_depth);
            entries = epoll.watched_epolls()?;
        }
    }

    /// The epolls among what it watches.
    fn watched_epolls(&self) -> Result<Vec<Arc<OpenFile>>, Errno> {
        let mut found = Vec::new();
        for at in 0.. {
            // Not under the lock: this may become the last user of a file.
            let Some(entry) = self.entries.lock().get(at).cloned() else { break };
            let Some(file) = entry.file.upgrade() else { continue };
            if file.object().is_some_and(|object| object.of_kind::<Self>().is_some()) {
                fallible::push(&mut found, file)?;
            }
        }
        Ok(found)
    }

    /// Gives what is ready to `take`, at most `count`. An error of `take` ends it; what was not
    /// taken stays ready.
    pub(crate) fn collect(
        &self,
        count: usize,
        mut take: impl FnMut(usize, u32, u64) -> Result<(), Errno>,
    ) -> Result<usize, Errno> {
        let mut left = self.core.ready.lock().as_ref().map_or(0, VecDeque::len);
        let mut taken = 0;
        while taken < count && left > 0 {
            left -= 1;
            let Some(entry) = self.pop() else { break };
            let (found, wanted) = entry.found();
            if found == 0 {
                continue;
            }
            if let Err(error) = take(taken, found, wanted.data) {
                entry.list();
                return if taken > 0 { Ok(taken) } else { Err(error) };
            }
            taken += 1;
            if wanted.events & flag::ONESHOT != 0 {
                entry.wanted.lock().events = 0;
            } else if wanted.events & flag::EDGE == 0 {
                // It is asked again the next time.
                entry.list();
            }
        }
        Ok(taken)
    }

    fn pop(&self) -> Option<Arc<Entry>> {
        let entry = self.core.ready.lock().as_mut()?.pop_front()?;
        // Before it is asked: what changes after that lists it again.
        entry.is_listed.store(false, Ordering::SeqCst);
        Some(entry)
    }

    /// Sleeps until something may be ready.
    pub(crate) fn has_hints(&self) -> bool {
        self.core.ready.lock().as_ref().is_some_and(|ready| !ready.is_empty())
    }

    pub(crate) fn wait(&self, deadline: Option<u64>) -> Result<Waited, Errno> {
        self.core.readiness.wait_deadline(|| self.has_hints(), deadline)
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        let ready = self.core.ready.lock().take();
        drop(ready);
        loop {
            let Some(entry) = self.entries.lock().pop() else { return };
            entry.is_removed.store(true, Ordering::SeqCst);
            if let Some(file) = entry.file.upgrade() {
                if let Some(readiness) = file.readiness() {
                    readiness.unwatch(entry.as_watcher());
                }
                file.forget_watcher(entry.as_watcher());
            }
        }
    }
}

impl Object for Epoll {
    fn events(&self) -> u32 {
        // Hints that turn out to be none go; the others stay.
        let mut left = self.core.ready.lock().as_ref().map_or(0, VecDeque::len);
        while left > 0 {
            left -= 1;
            let Some(entry) = self.pop() else { break };
            if entry.found().0 != 0 {
                entry.list();
                return event::READABLE;
            }
        }
        0
    }

    fn readiness(&self) -> Option<&Readiness> {
        Some(&self.core.readiness)
    }

    fn label(&self) -> &'static str {
        "anon_inode:[eventpoll]"
    }
}
