//! PID namespaces (pid_namespaces(7)): a number of a process or thread for each namespace that it
//! is seen in.
//!
//! ```text
//!   first          level 1          level 2
//!   410  ────────▶ 1                            init of the first namespace below
//!   411  ────────▶ 2 ─────────────▶ 1           init of one below that
//!   412  ────────▶ 3 ─────────────▶ 2
//! ```
//!
//! The kernel knows processes, threads, groups and sessions by their numbers in the first
//! namespace alone; what programs say and are told is translated where it comes in and goes out.
//!
//! # Invariants
//!
//! 1. [`Numbers`] do not change. They are in the lists of their spaces while a [`Hold`] of them is
//!    there: a process or thread, and each member of a group or session that is known by them. So
//!    no number is given out again while it means something.
//! 2. A space whose first process ends gives out no number any more ([`Space::close`]).
//! 3. A space's lock is a leaf; two of them are never held together. Nothing is freed under it but
//!    an entry's place.

use super::user::UserSpace;
use super::{first, next_number};
use crate::error::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched::WaitQueue;

/// Namespaces within each other below the first one (`MAX_PID_NS_LEVEL`).
pub(crate) const MAX_LEVEL: usize = 32;
/// Numbers below are given out once only (`RESERVED_PIDS`).
const RESERVED: u64 = 300;

/// A number in the space, and the same one's in the first namespace.
#[derive(Debug, Clone, Copy)]
struct Entry {
    local: u64,
    global: u64,
}

#[derive(Debug)]
struct Given {
    /// Sorted by `local`.
    entries: Vec<Entry>,
    last: u64,
    /// Its first process has ended, or is about to.
    is_closed: bool,
    /// The signal that reboot(2) in it stands for; 0: none.
    reboot: i32,
}

/// A PID namespace below the first one.
#[derive(Debug)]
pub(crate) struct Space {
    number: u64,
    /// 1: just below the first one.
    level: usize,
    /// `None`: the first one.
    parent: Option<Arc<Self>>,
    /// The user namespace that it was made in; `None`: the first one.
    pub(crate) owner: Option<Arc<UserSpace>>,
    given: SpinLock<Given>,
    /// What its processes may have of memory files that are programs: see [`memory_files`].
    memory_files: AtomicU64,
    /// Woken when a number is free again: its first process waits for the others.
    pub(crate) changed: WaitQueue,
}

/// The same of the first namespace (`vm.memfd_noexec`, pid_namespaces(7)).
static MEMORY_FILES: AtomicU64 = AtomicU64::new(0);
/// All that it can be: programs, unless one says no; none, unless one says so; none.
pub(crate) const MEMORY_FILES_RANGE: RangeInclusive<u64> = 0..=2;

/// What the processes of a namespace may have of memory files: no more than those around it.
pub(crate) fn memory_files(of: &Own) -> u64 {
    let (mut at, mut most) = (of, MEMORY_FILES.load(Ordering::Relaxed));
    while let Some(space) = at {
        most = most.max(space.memory_files.load(Ordering::Relaxed));
        at = &space.parent;
    }
    most
}

/// Sets that. `EINVAL`: it would be more than those around it have.
pub(crate) fn set_memory_files(of: &Own, to: u64) -> Result<(), Errno> {
    let Some(space) = of else {
        MEMORY_FILES.store(to, Ordering::Relaxed);
        return Ok(());
    };
    if to < memory_files(&space.parent) {
        return Err(Errno::EINVAL);
    }
    space.memory_files.store(to, Ordering::Relaxed);
    Ok(())
}

/// A namespace; `None`: the first one.
pub(crate) type Own = Option<Arc<Space>>;

impl Space {
    /// One below `parent`. `ENOSPC`: there are too many around it.
    pub(crate) fn below(parent: &Own, owner: Option<Arc<UserSpace>>) -> Result<Arc<Self>, Errno> {
        let level = parent.as_ref().map_or(0, |parent| parent.level) + 1;
        if level > MAX_LEVEL {
            return Err(Errno::ENOSPC);
        }
        let given = Given { entries: Vec::new(), last: 0, is_closed: false, reboot: 0 };
        Ok(fallible::shared(Self {
            number: next_number(),
            level,
            parent: parent.clone(),
            owner,
            given: SpinLock::new(given),
            memory_files: AtomicU64::new(memory_files(parent)),
            changed: WaitQueue::new(),
        })?)
    }

    pub(crate) fn parent(&self) -> &Own {
        &self.parent
    }

    pub(crate) const fn level(&self) -> usize {
        self.level
    }

    /// No number is given out any more.
    pub(crate) fn close(&self) {
        self.given.lock().is_closed = true;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.given.lock().is_closed
    }

    /// How many numbers mean something.
    pub(crate) fn count(&self) -> usize {
        self.given.lock().entries.len()
    }

    /// The last number that was given out.
    pub(crate) fn last(&self) -> u64 {
        self.given.lock().last
    }

    /// Makes the end of its first process one by a signal (reboot(2)).
    pub(crate) fn set_reboot(&self, signal: i32) {
        self.given.lock().reboot = signal;
    }

    pub(crate) fn reboot(&self) -> Option<i32> {
        Some(self.given.lock().reboot).filter(|&signal| signal != 0)
    }

    /// What a number in it is in the first namespace.
    pub(crate) fn global(&self, local: u64) -> Option<u64> {
        let given = self.given.lock();
        let at = given.entries.binary_search_by_key(&local, |entry| entry.local).ok()?;
        Some(given.entries[at].global)
    }

    /// What a number of the first namespace is in it; 0: it is not seen there.
    pub(crate) fn local(&self, global: u64) -> u64 {
        let given = self.given.lock();
        given.entries.iter().find(|entry| entry.global == global).map_or(0, |entry| entry.local)
    }

    /// Gives out a number: the one that was chosen, or the next one that is free, below `highest`.
    fn give(&self, global: u64, chosen: Option<u64>, highest: u64) -> Result<u64, Errno> {
        let mut given = self.given.lock();
        if given.is_closed {
            return Err(Errno::ENOMEM);
        }
        given.entries.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        let place = |given: &Given, local: u64| {
            given.entries.binary_search_by_key(&local, |entry| entry.local)
        };
        let (local, at) = match chosen {
            // Its first process is there before all others.
            Some(local) if local != 1 && given.last == 0 => return Err(Errno::EINVAL),
            Some(local) => match place(&given, local) {
                Ok(_) => return Err(Errno::EEXIST),
                Err(at) => (local, at),
            },
            None => {
                let mut local = given.last;
                let mut left = highest;
                loop {
                    local = if local + 1 < highest { local + 1 } else { RESERVED };
                    if let Err(at) = place(&given, local) {
                        break (local, at);
                    }
                    left = left.checked_sub(1).ok_or(Errno::EAGAIN)?;
                }
            }
        };
        given.last = if chosen.is_some() { given.last.max(1) } else { local };
        // CANNOT FAIL: reserved above.
        given.entries.insert(at, Entry { local, global });
        Ok(local)
    }

    fn take_back(&self, local: u64) {
        {
            let mut given = self.given.lock();
            let at = given.entries.binary_search_by_key(&local, |entry| entry.local);
            if let Ok(at) = at {
                given.entries.remove(at);
            }
            // Its first process was not born after all, or is the last one to go.
            given.is_closed |= given.entries.is_empty();
        }
        self.changed.wake_all();
    }

    /// The first number was not given out after all.
    fn begin_again(&self) {
        let mut given = self.given.lock();
        if given.entries.is_empty() && given.last == 1 {
            (given.last, given.is_closed) = (0, false);
        }
    }
}

/// The number that a namespace is known by.
pub(crate) fn number(of: &Own) -> u64 {
    of.as_ref().map_or(first::PID, |own| own.number)
}

/// Whether two are one.
pub(crate) fn is_same(one: &Own, other: &Own) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        _ => false,
    }
}

/// Whether `inner` is `outer` or lies below it.
pub(crate) fn is_within(inner: &Own, outer: &Own) -> bool {
    let Some(outer) = outer else { return true };
    let mut at = inner;
    while let Some(space) = at {
        if Arc::ptr_eq(space, outer) {
            return true;
        }
        at = &space.parent;
    }
    false
}

/// What a number that is said in a namespace is in the first one; `None`: nothing has it.
pub(crate) fn global(of: &Own, local: u64) -> Option<u64> {
    match of {
        None => Some(local),
        Some(space) => space.global(local),
    }
}

/// What a number of the first namespace is in another one; 0: it is not seen there.
#[inline(always)]
pub(crate) fn local(of: &Own, global: u64) -> u64 {
    match of {
        None => global,
        Some(space) => local_below(space, global),
    }
}

/// The same in a namespace below the first. Not inlined: a call that has no namespace saves no
/// registers for it.
#[cold]
#[inline(never)]
fn local_below(space: &Space, global: u64) -> u64 {
    space.local(global)
}

/// Calls `body` with each namespace from `outer` inwards to `inner`, which lies in it.
pub(crate) fn each_within(
    inner: &Own,
    outer: &Own,
    body: &mut dyn FnMut(&Own) -> fmt::Result,
) -> fmt::Result {
    let mut all: [&Own; MAX_LEVEL + 1] = [inner; MAX_LEVEL + 1];
    let (mut at, mut count) = (inner, 1);
    while !is_same(at, outer)
        && let Some(space) = at
    {
        at = &space.parent;
        all[count] = at;
        count += 1;
    }
    all[..count].iter().rev().try_for_each(|space| body(space))
}

/// The numbers of one process or thread.
#[derive(Debug)]
pub(crate) struct Numbers {
    global: u64,
    space: Arc<Space>,
    /// From level 1 on.
    locals: Vec<u64>,
    /// How many [`Hold`]s there are.
    holds: AtomicUsize,
}

impl Numbers {
    /// Numbers in a space and all that it lies in; the chosen ones first, the innermost at the
    /// beginning.
    pub(crate) fn give(
        global: u64,
        space: &Arc<Space>,
        chosen: &[u64],
        highest: u64,
    ) -> Result<Hold, Errno> {
        let mut locals = Vec::new();
        locals.try_reserve_exact(space.level).map_err(|_| Errno::ENOMEM)?;
        locals.resize(space.level, 0);
        let numbers = Self { global, space: space.clone(), locals, holds: AtomicUsize::new(1) };
        // From here on a failure takes back what was given: 0 is no number.
        let hold = Hold(fallible::shared(numbers)?);
        let was_closed = space.is_closed();
        Self::fill(hold, chosen, highest).inspect_err(|_| {
            if !was_closed {
                space.begin_again();
            }
        })
    }

    fn fill(mut hold: Hold, chosen: &[u64], highest: u64) -> Result<Hold, Errno> {
        let mut chosen = chosen.iter();
        let mut at = hold.0.space.clone();
        loop {
            let local = at.give(hold.0.global, chosen.next().copied(), highest)?;
            let own = Arc::get_mut(&mut hold.0).ok_or(Errno::ENOMEM)?;
            own.locals[at.level - 1] = local;
            match at.parent.clone() {
                Some(parent) => at = parent,
                None => return Ok(hold),
            }
        }
    }

    /// That of its own namespace.
    pub(crate) fn own(&self) -> u64 {
        self.locals.last().copied().unwrap_or(self.global)
    }

    /// Its own namespace.
    pub(crate) const fn space(&self) -> &Arc<Space> {
        &self.space
    }

    /// That in a namespace; 0: it is not seen there.
    pub(crate) fn in_space(&self, of: &Own) -> u64 {
        let Some(wanted) = of else { return self.global };
        let mut at = &self.space;
        while at.level > wanted.level
            && let Some(parent) = &at.parent
        {
            at = parent;
        }
        if Arc::ptr_eq(at, wanted) { self.locals[at.level - 1] } else { 0 }
    }
}

/// That numbers mean something: see [`Numbers`].
#[derive(Debug)]
pub(crate) struct Hold(Arc<Numbers>);

impl Hold {
    pub(crate) const fn numbers(&self) -> &Arc<Numbers> {
        &self.0
    }
}

impl Clone for Hold {
    fn clone(&self) -> Self {
        self.0.holds.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.0.holds.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let mut at = &self.0.space;
        for &local in self.0.locals.iter().rev() {
            if local != 0 {
                at.take_back(local);
            }
            let Some(parent) = &at.parent else { break };
            at = parent;
        }
    }
}

/// What keeps numbers from being given out again: its own, its group's, its session's.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    pub(crate) own: Option<Hold>,
    pub(crate) group: Option<Hold>,
    pub(crate) session: Option<Hold>,
}
