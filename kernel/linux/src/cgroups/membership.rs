//! Which group a process is in, and what a birth under way has taken.
//!
//! ```text
//!   clone ── begin ──▶ Birth, in the maker's task          one thread counted; the group is held
//!                        │ born                            the child's from now on
//!                        ├──────────▶ Membership of the child, or one thread more of the maker's
//!                        │ an error, or the maker dies inside
//!                        └──────────▶ given back
//! ```

use super::charge;
use super::tree::{Where, account, enabled_here, lock};
use crate::error::Errno;
use alloc::sync::Arc;
use core::fmt::{self, Write};
use core::sync::atomic::Ordering;
use kstack::record::AccountId;
use machine::spin::SpinLock;

/// Where a process is, and what it counts there.
#[derive(Debug)]
struct Seat {
    group: Where,
    /// Its threads, those that are being born among them; of one that has ended and was not waited
    /// for: 1.
    threads: u64,
    /// It has not ended.
    is_alive: bool,
}

impl Seat {
    fn process_ends(&mut self) {
        if core::mem::take(&mut self.is_alive)
            && let Some(group) = &self.group
        {
            group.processes.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The place of a process among the groups. Dropped, it gives back what it counts.
#[derive(Debug)]
pub(crate) struct Membership(SpinLock<Seat>);

impl Membership {
    /// Of a process that is not there yet.
    pub(crate) const fn none() -> Self {
        Self(SpinLock::new(Seat { group: None, threads: 0, is_alive: false }))
    }

    /// Of a process that the kernel starts: in the root.
    pub(crate) const fn first() -> Self {
        Self(SpinLock::new(Seat { group: None, threads: 1, is_alive: true }))
    }

    /// What its stacks are charged to.
    pub(crate) fn account(&self) -> AccountId {
        account(&self.0.lock().group)
    }

    /// Changes the place, with all groups as they are. In the root nothing is counted, so that its
    /// lock is not taken there.
    fn change<R>(&self, body: impl FnOnce(&mut Seat) -> R) -> R {
        {
            let mut seat = self.0.lock();
            if seat.group.is_none() {
                return body(&mut seat);
            }
        }
        let _tree = lock();
        body(&mut self.0.lock())
    }

    /// One thread more. `EAGAIN`: there may not be so many.
    fn add_thread(&self) -> Result<(), Errno> {
        self.change(|seat| {
            charge::try_charge(&seat.group)?;
            seat.threads += 1;
            Ok(())
        })
    }

    /// One thread fewer; not the last one, which counts until its process was waited for.
    pub(crate) fn thread_ends(&self) {
        self.change(|seat| {
            if seat.threads > 0 {
                seat.threads -= 1;
                charge::uncharge(&seat.group, 1);
            }
        });
    }

    /// That of a child with one thread.
    fn for_child(&self) -> Result<Self, Errno> {
        self.change(|seat| {
            let group = seat.group.clone();
            charge::try_charge(&group)?;
            if let Some(group) = &group {
                group.processes.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Self(SpinLock::new(Seat { group, threads: 1, is_alive: true })))
        })
    }

    /// A child's from now on.
    fn take_over(&self, from: Self) {
        let none = Seat { group: None, threads: 0, is_alive: false };
        let seat = core::mem::replace(&mut *from.0.lock(), none);
        *self.0.lock() = seat;
    }

    /// The process has ended: it keeps its group from being removed no longer.
    pub(crate) fn process_ends(&self) {
        self.change(Seat::process_ends);
    }

    /// It was waited for, or never was: nothing of it counts any more.
    pub(crate) fn leave(&self) {
        self.change(|seat| {
            seat.process_ends();
            let threads = core::mem::take(&mut seat.threads);
            charge::uncharge(&seat.group, threads);
        });
    }

    /// Moves a process with all its threads; its stacks stay charged to where they were made, as
    /// on Linux. One that has ended stays.
    ///
    /// # Errors
    ///
    /// `ENODEV`: the group was removed; `EBUSY`: those below it have controllers.
    pub(crate) fn move_to(&self, to: &Where) -> Result<(), Errno> {
        let before = {
            let _tree = lock();
            if let Some(group) = to {
                if group.is_removed() {
                    return Err(Errno::ENODEV);
                }
                if enabled_here(to) != 0 {
                    return Err(Errno::EBUSY);
                }
            }
            let mut seat = self.0.lock();
            if !seat.is_alive {
                return Ok(());
            }
            // The new ones first: what lies above both never has fewer than there are.
            charge::charge(to, seat.threads);
            charge::uncharge(&seat.group, seat.threads);
            if let Some(group) = to {
                group.processes.fetch_add(1, Ordering::Relaxed);
            }
            if let Some(group) = &seat.group {
                group.processes.fetch_sub(1, Ordering::Relaxed);
            }
            core::mem::replace(&mut seat.group, to.clone())
        };
        drop(before);
        Ok(())
    }

    /// Whether it is in this group and has not ended.
    pub(crate) fn is_in(&self, group: &Where) -> bool {
        let seat = self.0.lock();
        seat.is_alive
            && match (&seat.group, group) {
                (None, None) => true,
                (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                _ => false,
            }
    }

    /// What /proc/PID/cgroup says.
    pub(crate) fn write(&self, to: &mut dyn Write) -> fmt::Result {
        let group = self.0.lock().group.clone();
        to.write_str("0::")?;
        match &group {
            None => to.write_str("/")?,
            Some(group) => {
                group.write_path(to)?;
                if group.is_removed() {
                    to.write_str(" (deleted)")?;
                }
            }
        }
        writeln!(to)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.leave();
    }
}

/// What a clone under way has taken: in its maker's task.
#[derive(Debug)]
pub(crate) struct Birth(SpinLock<Begun>);

#[derive(Debug, Default)]
enum Begun {
    #[default]
    Nothing,
    Thread,
    Process(Membership),
}

impl Birth {
    /// None is under way.
    pub(crate) const fn none() -> Self {
        Self(SpinLock::new(Begun::Nothing))
    }

    /// Begins a birth: one thread more in the maker's process, or a process.
    ///
    /// # Errors
    ///
    /// `EAGAIN`: the group may have no more threads.
    pub(crate) fn begin(&self, maker: &Membership, is_thread: bool) -> Result<(), Errno> {
        let begun = if is_thread {
            maker.add_thread()?;
            Begun::Thread
        } else {
            Begun::Process(maker.for_child()?)
        };
        *self.0.lock() = begun;
        Ok(())
    }

    /// What the stack of what is being born is charged to.
    pub(crate) fn account(&self, maker: &Membership) -> AccountId {
        match &*self.0.lock() {
            Begun::Process(child) => child.account(),
            _ => maker.account(),
        }
    }

    /// It is born: a child has its place.
    pub(crate) fn complete(&self, child: &Membership) {
        let begun = core::mem::take(&mut *self.0.lock());
        if let Begun::Process(membership) = begun {
            child.take_over(membership);
        }
    }

    /// It will not be, or was completed already: what is left of it is given back.
    pub(crate) fn abandon(&self, maker: &Membership) {
        let begun = core::mem::take(&mut *self.0.lock());
        match begun {
            Begun::Nothing => {}
            Begun::Thread => maker.thread_ends(),
            Begun::Process(membership) => drop(membership),
        }
    }
}
