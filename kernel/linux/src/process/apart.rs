//! What a thread may have apart from the other threads of its process: users, descriptors,
//! directory.
//!
//! On Linux each thread has its own users, groups and capabilities (credentials(7), "process
//! attributes and threads"; it is the C libraries that change them in all threads), and threads
//! share descriptors and directory only while nothing has taken them apart: clone without
//! `CLONE_FILES` or `CLONE_FS`, unshare(2), `CLOSE_RANGE_UNSHARE`.
//!
//! # Invariants
//!
//! 1. Credentials are values that do not change: a thread replaces its own, and no other thread
//!    does.
//! 2. Those of the first thread are the process's too, for who asks from outside
//!    ([`Task::change`]).
//! 3. A thread without descriptors or a place of its own uses its process's.

use super::apart_state::Parts;
use super::identity::credentials::Credentials;
use super::place::Place;
use super::task::Task;
use crate::error::{Errno, SysResult};
use crate::files::open::{self, Descriptor, Files};
use crate::limits::{MAX_FILES, Resource};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched;

impl Task {
    /// Whom it acts for.
    pub(crate) fn credentials(&self) -> Arc<Credentials> {
        self.credentials.lock().clone()
    }

    /// Replaces whom the calling thread acts for.
    pub(crate) fn change<R>(
        &self,
        change: impl FnOnce(&mut Credentials) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        let before = self.credentials();
        let mut changed = Credentials::clone(&before);
        let result = change(&mut changed)?;
        if changed.is_another_than(&before) {
            // What it read with other rights is not for those of its new user (`commit_creds`).
            self.process.attributes.is_dumpable.store(false, Ordering::Relaxed);
            self.process.attributes.death_signal.store(0, Ordering::Relaxed);
        }
        drop(before);
        self.set_credentials(fallible::shared(changed)?);
        Ok(result)
    }

    /// The same, with what they are from now on.
    pub(super) fn set_credentials(&self, to: Arc<Credentials>) {
        if sched::current().number() == self.process.id {
            self.process.set_credentials(to.clone());
        }
        let before = core::mem::replace(&mut *self.credentials.lock(), to);
        drop(before);
    }

    /// Its descriptors.
    pub(crate) fn files(&self) -> Arc<SpinLock<Files>> {
        self.files_if_alive().expect("a process keeps its descriptors until its last thread ends")
    }

    fn files_if_alive(&self) -> Option<Arc<SpinLock<Files>>> {
        self.apart_files.get().or_else(|| self.process.files_if_alive())
    }

    /// Gives it a descriptor at the lowest free number from `lowest` on, of as many as it may have.
    pub(crate) fn give(&self, descriptor: Descriptor, lowest: u64) -> SysResult {
        let table = self.files();
        self.limit_files(&table);
        open::add(&table, descriptor, lowest)
    }

    /// The table has as many numbers as the process may have (RLIMIT_NOFILE).
    pub(crate) fn limit_files(&self, table: &SpinLock<Files>) {
        let most = self.process.limits.soft(Resource::Files).min(MAX_FILES.load(Ordering::Relaxed));
        table.lock().set_limit(most as usize);
    }

    /// Makes its descriptors its own, if others share them.
    pub(crate) fn unshare_files(&self) -> Result<(), Errno> {
        let shared = self.files();
        let is_apart = self.apart_files.get().is_some();
        let is_alone = self.process.crew.count() == 1;
        // The reference of the thread or the process, and this one.
        if Arc::strong_count(&shared) <= 2 && (is_apart || is_alone) {
            return Ok(());
        }
        let own = fallible::shared(SpinLock::new(shared.lock().try_clone()?))?;
        let before = if is_alone && !is_apart {
            self.process.set_files(Some(own))
        } else {
            self.apart_files.set(Some(own))
        };
        drop(before);
        Ok(())
    }

    /// Its current directory and its like.
    pub(crate) fn place(&self) -> Arc<Place> {
        self.apart_place.get().unwrap_or_else(|| self.process.place())
    }

    /// Whether it has a place apart from its process.
    pub(crate) fn has_place_alone(&self) -> bool {
        self.apart_place.get().is_some()
    }

    /// Makes them its own, if others share them.
    pub(crate) fn unshare_place(&self) -> Result<(), Errno> {
        let own = self.place().copy()?;
        if self.process.crew.count() == 1 && self.apart_place.get().is_none() {
            self.process.set_place(own);
        } else {
            drop(self.apart_place.set(Some(own)));
        }
        Ok(())
    }

    /// What of it a thread that it makes has apart from the process, if it is to share this.
    pub(crate) fn parts(&self) -> Parts {
        Parts { files: self.apart_files.get(), place: self.apart_place.get() }
    }

    /// The calling thread ends: what only it had goes.
    pub(super) fn drop_parts(&self) {
        drop((self.apart_files.set(None), self.apart_place.set(None)));
    }

    /// The calling thread is alone from now on, for another program and as what execve makes of it:
    /// what it has is its process's.
    pub(crate) fn begin_program_as(&self, whose: Arc<Credentials>) {
        if let Some(files) = self.apart_files.set(None) {
            drop(self.process.set_files(Some(files)));
        }
        if let Some(place) = self.apart_place.set(None) {
            self.process.set_place(place);
        }
        self.process.set_credentials(whose.clone());
        let before = core::mem::replace(&mut *self.credentials.lock(), whose);
        drop(before);
    }
}
