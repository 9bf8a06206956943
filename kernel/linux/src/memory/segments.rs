//! Segments of shared memory that programs know by number and key (System V, shmget).
//!
//! A segment's pages are those of a file that nothing else leads to. Each attachment is a mapping
//! of that file with an [`Object`] of its own, which children inherit: how many address spaces have
//! one is how often its objects are referred to.
//!
//! # Invariants
//!
//! 1. A segment that was removed has no key and goes when nothing is attached to it any more: the
//!    next look at the table finds that.
//! 2. Nothing that looks at the table is called with its lock held, and pages are dropped without
//!    it.

use super::object::Object;
use crate::error::Errno;
use crate::files::file_bytes::FileBytes;
use crate::files::tree::{Content, Node};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use machine::memory::fallible;
use machine::spin::SpinLock;

/// No key: each call makes a segment (`IPC_PRIVATE`).
pub(crate) const PRIVATE: i32 = 0;
/// As many there may be (`kernel.shmmni`).
pub(crate) const MOST: usize = 4096;
/// Numbers are a place in the table, and above that how often one was given out.
const PLACE_BITS: u32 = 15;

/// What programs are told of a segment.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) number: i32,
    pub(crate) key: i32,
    pub(crate) bytes: u64,
    /// Whose it is; and who made it. A user and a group each.
    pub(crate) owner: [u32; 2],
    pub(crate) maker: [u32; 2],
    /// Permissions.
    pub(crate) mode: u32,
    pub(crate) is_removed: bool,
    pub(crate) is_locked: bool,
    /// When it was attached, detached and changed, in seconds of the day.
    pub(crate) times: [u64; 3],
    /// The processes that made it, and used it last.
    pub(crate) processes: [u64; 2],
    pub(crate) node: Arc<Node>,
}

#[derive(Debug)]
struct Kept {
    segment: Segment,
    attached: Vec<Weak<Object>>,
}

impl Kept {
    fn attachments(&self) -> usize {
        self.attached.iter().map(Weak::strong_count).sum()
    }
}

#[derive(Debug)]
struct Table {
    /// By place.
    kept: Vec<Option<Kept>>,
    given: i32,
}

static TABLE: SpinLock<Table> = SpinLock::new(Table { kept: Vec::new(), given: 0 });

/// Takes out what is gone: dropped by the caller, without the lock.
fn take_gone(table: &mut Table) -> Option<Kept> {
    let is_gone = |kept: &Kept| kept.segment.is_removed && kept.attachments() == 0;
    table.kept.iter_mut().find(|kept| kept.as_ref().is_some_and(is_gone))?.take()
}

fn clean() {
    loop {
        let gone = take_gone(&mut TABLE.lock());
        if gone.is_none() {
            break;
        }
    }
}

/// Runs `body` with a segment and how often it is attached. `EINVAL`: there is none of this number.
pub(crate) fn with<R>(
    number: i32,
    body: impl FnOnce(&mut Segment, usize) -> Result<R, Errno>,
) -> Result<R, Errno> {
    clean();
    let mut table = TABLE.lock();
    let place = (number & ((1 << PLACE_BITS) - 1)) as usize;
    let kept = table.kept.get_mut(place).and_then(Option::as_mut);
    let kept = kept.filter(|kept| kept.segment.number == number).ok_or(Errno::EINVAL)?;
    let count = kept.attachments();
    body(&mut kept.segment, count)
}

/// The number of the segment at a place of the table.
pub(crate) fn at_place(place: usize) -> Option<i32> {
    TABLE.lock().kept.get(place)?.as_ref().map(|kept| kept.segment.number)
}

/// The number of the one with a key.
pub(crate) fn find(key: i32) -> Option<i32> {
    clean();
    let table = TABLE.lock();
    let mut there = table.kept.iter().flatten();
    there
        .find(|kept| kept.segment.key == key && !kept.segment.is_removed)
        .map(|kept| kept.segment.number)
}

/// Makes one. `EEXIST`: another caller has made one with this key.
pub(crate) fn make(mut new: Segment) -> Result<i32, Errno> {
    clean();
    let mut table = TABLE.lock();
    let has_key = |kept: &Kept| kept.segment.key == new.key && !kept.segment.is_removed;
    if new.key != PRIVATE && table.kept.iter().flatten().any(has_key) {
        return Err(Errno::EEXIST);
    }
    let place = match table.kept.iter().position(Option::is_none) {
        Some(place) => place,
        None if table.kept.len() >= MOST => return Err(Errno::ENOSPC),
        None => {
            fallible::push(&mut table.kept, None)?;
            table.kept.len() - 1
        }
    };
    let number = (table.given & 0xffff) << PLACE_BITS | place as i32;
    table.given = (table.given + 1) & 0xffff;
    new.number = number;
    table.kept[place] = Some(Kept { segment: new, attached: Vec::new() });
    Ok(number)
}

/// Pages for one.
pub(crate) fn pages(bytes: u64) -> Result<Arc<Node>, Errno> {
    let mut content = FileBytes::new();
    drop(content.set_length(bytes)?);
    Node::new(Content::File(SpinLock::new(content)), 0o777)
}

/// Notes an attachment.
pub(crate) fn attach(number: i32, object: &Arc<Object>) -> Result<(), Errno> {
    let mut table = TABLE.lock();
    let mut there = table.kept.iter_mut().flatten();
    let kept = there.find(|kept| kept.segment.number == number).ok_or(Errno::EINVAL)?;
    kept.attached.retain(|object| object.strong_count() > 0);
    Ok(fallible::push(&mut kept.attached, Arc::downgrade(object))?)
}

/// The segment whose pages these are.
pub(crate) fn of_node(node: &Arc<Node>) -> Option<i32> {
    let table = TABLE.lock();
    let mut there = table.kept.iter().flatten();
    there.find(|kept| Arc::ptr_eq(&kept.segment.node, node)).map(|kept| kept.segment.number)
}

/// How many there are, and their pages.
pub(crate) fn totals() -> (usize, u64, usize) {
    clean();
    let table = TABLE.lock();
    let there = table.kept.iter().flatten();
    let pages = there.clone().map(|kept| kept.segment.bytes.div_ceil(4096)).sum();
    let highest = table.kept.iter().rposition(Option::is_some).unwrap_or(0);
    (there.count(), pages, highest)
}
