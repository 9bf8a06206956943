//! Leases of files (fcntl(2), `F_SETLEASE`): who has one is told before another opens the file in
//! a way that the lease excludes, and has some time to give it up or make it less.
//!
//! # Invariants
//!
//! 1. An open file has one lease at most; a lease to write is the only one of its file.
//! 2. What a lease is to become is noted before its holder is told: it is told once.
//! 3. A lease goes with its open file, and becomes what it is to be when its time is over, by
//!    a thread that waits for that. Where there are none, an opening costs one load.

use super::notices::{self, Addressee, Notice};
use crate::error::Errno;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched::WaitQueue;
use threads::time;

/// All leases that there can be: they are looked through one by one.
const MOST: usize = 4096;
/// Seconds that a holder has (`/proc/sys/fs/lease-break-time`); 0: without end.
pub(crate) static BREAK_SECONDS: AtomicU64 = AtomicU64::new(45);

/// What is excluded: that others write, or also that they read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
}

/// A lease.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease {
    /// The file's number, and the open file that has it, by its place in memory.
    pub(crate) inode: u64,
    pub(crate) file: usize,
    /// What is told, and whom.
    pub(crate) descriptor: i32,
    pub(crate) addressee: Addressee,
    pub(crate) kind: Kind,
    /// What it is to become (`None`: nothing), and when it does by itself.
    asked: Option<(Option<Kind>, Option<u64>)>,
}

impl Lease {
    pub(crate) const fn new(
        (inode, file): (u64, usize),
        descriptor: i32,
        addressee: Addressee,
        kind: Kind,
    ) -> Self {
        Self { inode, file, descriptor, addressee, kind, asked: None }
    }

    fn excludes(&self, inode: u64, writes: bool) -> bool {
        self.inode == inode && (writes || self.kind == Kind::Write)
    }

    /// Whether its holder was told of what goes as far as this.
    const fn was_asked(&self, writes: bool) -> bool {
        match self.asked {
            None => false,
            Some((to, _)) => to.is_none() || !writes,
        }
    }
}

static LEASES: SpinLock<Vec<Lease>> = SpinLock::new(Vec::new());
static GIVEN_UP: WaitQueue = WaitQueue::new();
static COUNT: AtomicUsize = AtomicUsize::new(0);

fn change<R>(change: impl FnOnce(&mut Vec<Lease>) -> R) -> R {
    let result = {
        let mut leases = LEASES.lock();
        let result = change(&mut leases);
        COUNT.store(leases.len(), Ordering::SeqCst);
        result
    };
    GIVEN_UP.wake_all();
    result
}

/// What the lease of an open file is, or is to become.
pub(crate) fn of(file: usize) -> Option<Kind> {
    let leases = LEASES.lock();
    let lease = leases.iter().find(|lease| lease.file == file)?;
    lease.asked.map_or(Some(lease.kind), |(to, _)| to)
}

/// Takes a lease, or changes the one that the open file has. `writers` and `readers`: the open
/// files that there are of the file; `is_writer`: this one is among the former.
pub(crate) fn set(
    new: Lease,
    (writers, readers): (u32, u32),
    is_writer: bool,
) -> Result<(), Errno> {
    let is_open_elsewhere = match new.kind {
        Kind::Read => writers != 0,
        Kind::Write => writers != u32::from(is_writer) || readers != u32::from(!is_writer),
    };
    if is_open_elsewhere {
        return Err(Errno::EAGAIN);
    }
    change(|leases| {
        let mut others = leases.iter().filter(|one| one.inode == new.inode && one.file != new.file);
        let is_in_the_way =
            |other: &Lease| new.kind == Kind::Write || matches!(other.asked, Some((None, _)));
        if others.any(is_in_the_way) {
            return Err(Errno::EAGAIN);
        }
        if let Some(lease) = leases.iter_mut().find(|lease| lease.file == new.file) {
            lease.kind = new.kind;
            let is_done = matches!(lease.asked, Some((Some(Kind::Read), _)));
            if is_done && new.kind == Kind::Read {
                lease.asked = None;
            }
            return Ok(());
        }
        if leases.len() >= MOST {
            return Err(Errno::ENOMEM);
        }
        Ok(fallible::push(leases, new)?)
    })
}

/// Gives up that of an open file. `EAGAIN`: it has none.
pub(crate) fn release(file: usize) -> Result<(), Errno> {
    let before = COUNT.load(Ordering::SeqCst);
    if before == 0 {
        return Err(Errno::EAGAIN);
    }
    change(|leases| {
        let place = leases.iter().position(|lease| lease.file == file).ok_or(Errno::EAGAIN)?;
        leases.swap_remove(place);
        Ok(())
    })
}

/// An open file has no users any more.
pub(crate) fn file_is_dropped(file: usize) {
    let _had_none = release(file);
}

/// An open file tells others from now on.
pub(crate) fn change_addressee(file: usize, addressee: Addressee) {
    if COUNT.load(Ordering::SeqCst) == 0 {
        return;
    }
    if let Some(lease) = LEASES.lock().iter_mut().find(|lease| lease.file == file) {
        lease.addressee = addressee;
    }
}

/// A file is to be opened, or cut: the holders of leases that exclude it are told, and waited for.
/// `EAGAIN`: they have theirs yet, and the caller does not wait.
pub(crate) fn break_by(inode: u64, writes: bool, may_wait: bool) -> Result<(), Errno> {
    if COUNT.load(Ordering::SeqCst) == 0 {
        return Ok(());
    }
    let end = match BREAK_SECONDS.load(Ordering::Relaxed) {
        0 => None,
        seconds => Some(time::nanoseconds().saturating_add(seconds.saturating_mul(1_000_000_000))),
    };
    // One after the other: a signal is not sent under a lock that sending may need.
    while let Some(lease) = next_to_ask(inode, writes, end) {
        notices::tell(&lease.addressee, Notice::Message, lease.descriptor);
    }
    loop {
        let Some(end) = held_until(inode, writes) else { return Ok(()) };
        if !may_wait {
            return Err(Errno::EAGAIN);
        }
        GIVEN_UP.wait_deadline(|| held_until(inode, writes).is_none(), end)?;
        end_in_time();
    }
}

fn next_to_ask(inode: u64, writes: bool, end: Option<u64>) -> Option<Lease> {
    let mut leases = LEASES.lock();
    let lease = leases
        .iter_mut()
        .find(|lease| lease.excludes(inode, writes) && !lease.was_asked(writes))?;
    lease.asked = Some(((!writes).then_some(Kind::Read), end));
    Some(*lease)
}

/// Whether a lease is in the way, and until when.
fn held_until(inode: u64, writes: bool) -> Option<Option<u64>> {
    let leases = LEASES.lock();
    let mut held = leases.iter().filter(|lease| lease.excludes(inode, writes)).peekable();
    held.peek()?;
    Some(held.filter_map(|lease| lease.asked?.1).min())
}

/// Leases whose time is over become what they are to be.
fn end_in_time() {
    let now = time::nanoseconds();
    let is_over = |lease: &Lease| matches!(lease.asked, Some((_, Some(end))) if end <= now);
    if !LEASES.lock().iter().any(is_over) {
        return;
    }
    change(|leases| {
        leases.retain(|lease| !(is_over(lease) && matches!(lease.asked, Some((None, _)))));
        for lease in leases.iter_mut().filter(|lease| is_over(lease)) {
            (lease.kind, lease.asked) = (Kind::Read, None);
        }
    });
}
