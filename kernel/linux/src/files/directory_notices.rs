//! Directories that tell by a signal of what happens in them (`F_NOTIFY`, fcntl(2)).
//!
//! ```text
//!   Node ──Weak──▶ Asked ◀── ASKED: one for each open file and table of descriptors that asked
//!                    └ what it waits for, whom it tells, by which descriptor
//! ```
//!
//! # Invariants
//!
//! 1. What was asked ends when its table closes a descriptor of the open file, whichever, when the
//!    table goes, and when the file does: no address here is of a file that is gone.
//! 2. It has a copy of whom the file tells, renewed when that changes: telling looks at no file.

use super::inotify::{self, bit};
use super::node::{Follower, Node};
use super::notices::{self, Addressee, Notice};
use crate::error::Errno;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::ops::Range;
use core::ptr;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use machine::memory::{fallible, heap};
use machine::spin::SpinLock;

/// What can be asked for (include/uapi/linux/fcntl.h).
pub(crate) mod what {
    pub(crate) const ACCESS: u32 = 1;
    pub(crate) const MODIFY: u32 = 2;
    pub(crate) const CREATE: u32 = 4;
    pub(crate) const DELETE: u32 = 8;
    pub(crate) const RENAME: u32 = 0x10;
    pub(crate) const ATTRIB: u32 = 0x20;
    /// Again and again, until it is taken back.
    pub(crate) const MULTISHOT: u32 = 1 << 31;
}

/// What happens to files that each of these stands for. A name that moves away is deleted here.
const MEANT: [(u32, u32); 6] = [
    (what::ACCESS, bit::ACCESS),
    (what::MODIFY, bit::MODIFY),
    (what::CREATE, bit::CREATE | bit::MOVED_TO),
    (what::DELETE, bit::DELETE | bit::MOVED_FROM),
    (what::RENAME, bit::RENAME),
    (what::ATTRIB, bit::ATTRIB),
];

/// Who has asked: an open file, by its address, and a table of descriptors.
type Key = (usize, u64);

#[derive(Debug)]
struct Asked {
    key: Key,
    state: SpinLock<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    bits: u32,
    is_for_ever: bool,
    descriptor: i32,
    addressee: Addressee,
}

/// Whether any directory may be asked (fs.dir-notify-enable); 0: none.
pub(crate) static IS_ALLOWED: AtomicU64 = AtomicU64::new(1);

/// All of them, in the order of their keys.
static ASKED: SpinLock<Vec<Arc<Asked>>> = SpinLock::new(Vec::new());
/// How many they are, to be looked at without the lock.
static COUNT: AtomicUsize = AtomicUsize::new(0);

impl Follower for Asked {
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn happened(&self, bits: u32, _: u32, _: &str, _: bool) {
        let state = *self.state.lock();
        if state.bits & bits == 0 {
            return;
        }
        // Of two that happen at once, one takes it out and tells.
        if state.is_for_ever || taken(self.key, |one| ptr::eq(&raw const **one, self)) {
            notices::tell(&state.addressee, Notice::Directory, state.descriptor);
        }
    }
}

/// Has a directory tell from now on, or tell of more. `node`: what of it tells, if anything does.
pub(crate) fn ask(
    key: Key,
    node: Option<&Node>,
    asked: u32,
    descriptor: i32,
    addressee: Addressee,
) -> Result<(), Errno> {
    let meant = MEANT.iter().filter(|(what, _)| asked & what != 0);
    let bits = meant.fold(0, |all, (_, bits)| all | bits);
    let is_for_ever = asked & what::MULTISHOT != 0;
    let state = State { bits, is_for_ever, descriptor, addressee };
    if !heap::has_room_for_nodes(size_of::<Asked>()) {
        return Err(Errno::ENOMEM);
    }
    let new = fallible::shared(Asked { key, state: SpinLock::new(state) })?;
    {
        let mut all = ASKED.lock();
        match all.binary_search_by_key(&key, |one| one.key) {
            Ok(at) => {
                let mut before = all[at].state.lock();
                before.bits |= bits;
                before.is_for_ever |= is_for_ever;
                before.descriptor = descriptor;
                return Ok(());
            }
            Err(at) => {
                all.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                // CANNOT FAIL: reserved above.
                all.insert(at, new.clone());
            }
        }
        COUNT.fetch_add(1, Ordering::SeqCst);
        inotify::one_more();
    }
    let follower: Weak<Asked> = Arc::downgrade(&new);
    node.map_or(Ok(()), |node| node.add_follower(follower)).inspect_err(|_| forget(key))
}

/// Whether there are any: a file that is closed is looked for among them.
pub(crate) fn are_there() -> bool {
    COUNT.load(Ordering::SeqCst) != 0
}

/// Takes one back, if there is one.
pub(crate) fn forget(key: Key) {
    if are_there() {
        taken(key, |_| true);
    }
}

/// Takes out the one of a key, if it is the one that is meant; whether it was there.
fn taken(key: Key, is_meant: impl FnOnce(&Arc<Asked>) -> bool) -> bool {
    let taken = {
        let mut all = ASKED.lock();
        let at = all.binary_search_by_key(&key, |one| one.key).ok();
        at.filter(|&at| is_meant(&all[at])).map(|at| all.remove(at))
    };
    let was_there = taken.is_some();
    if was_there {
        note_taken();
    }
    was_there
}

fn note_taken() {
    COUNT.fetch_sub(1, Ordering::SeqCst);
    inotify::one_less();
}

/// Those of an open file among all.
fn of_file(all: &[Arc<Asked>], file: usize) -> Range<usize> {
    let begin = all.partition_point(|one| one.key.0 < file);
    begin..begin + all[begin..].partition_point(|one| one.key.0 == file)
}

/// An open file tells others from now on.
pub(crate) fn change(file: usize, addressee: Addressee) {
    if are_there() {
        let all = ASKED.lock();
        for one in &all[of_file(&all, file)] {
            one.state.lock().addressee = addressee;
        }
    }
}

/// An open file has no users any more.
pub(crate) fn file_is_dropped(file: usize) {
    while are_there() {
        // One at a time: let go of without the lock.
        let taken = {
            let mut all = ASKED.lock();
            let at = of_file(&all, file).next();
            at.map(|at| all.remove(at))
        };
        if taken.is_none() {
            break;
        }
        note_taken();
    }
}
