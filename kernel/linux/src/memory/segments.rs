//! Segments of shared memory that programs know by number and key (System V, shmget).
//!
//! A segment's pages are those of a file that nothing else leads to. Each attachment is a mapping
//! of that file with an [`Object`] of its own, which children inherit: how many address spaces have
//! one is how often its objects are referred to.
//!
//! # Invariants
//!
//! 1. A segment that was removed goes when nothing is attached to it any more: the next look at the
//!    table finds that.
//! 2. Nothing that looks at the table is called with its lock held, and pages are dropped without
//!    it.

use super::object::Object;
use crate::abi;
use crate::abi::stack_image::WordSize;
use crate::error::Errno;
use crate::files::file_bytes::FileBytes;
use crate::files::tree::{Content, Node};
use crate::ipc::table::{Access, Kept, PRIVATE, Table};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::sync::atomic::AtomicU64;
use machine::memory::fallible;
use machine::spin::SpinLock;

/// As many there may be (`kernel.shmmni`).
pub(crate) static MAX_SEGMENTS: AtomicU64 = AtomicU64::new(4096);
/// More there cannot be: numbers have no room for more places (`IPCMNI`).
pub(crate) const SEGMENTS_RANGE: RangeInclusive<u64> = 0..=32_768;
/// How large one may be, and as many pages all together (`kernel.shmmax`, `kernel.shmall`).
const DEFAULT_BYTES: u64 = match abi::WORD {
    WordSize::Four => u32::MAX as u64 - (1 << 24),
    WordSize::Eight => u64::MAX - (1 << 24),
};
pub(crate) static MAX_BYTES: AtomicU64 = AtomicU64::new(DEFAULT_BYTES);
pub(crate) static MAX_PAGES: AtomicU64 = AtomicU64::new(DEFAULT_BYTES);
/// What a word holds.
pub(crate) const BYTES_RANGE: RangeInclusive<u64> = match abi::WORD {
    WordSize::Four => 0..=u32::MAX as u64,
    WordSize::Eight => 0..=u64::MAX,
};

/// What programs are told of a segment.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) access: Access,
    pub(crate) bytes: u64,
    pub(crate) is_removed: bool,
    pub(crate) is_locked: bool,
    /// When it was attached and detached, in seconds of the day.
    pub(crate) times: [u64; 2],
    /// The processes that made it, and used it last.
    pub(crate) processes: [u64; 2],
    pub(crate) node: Arc<Node>,
}

#[derive(Debug)]
struct Row {
    segment: Segment,
    attached: Vec<Weak<Object>>,
}

impl Row {
    fn attachments(&self) -> usize {
        self.attached.iter().map(Weak::strong_count).sum()
    }

    fn is_gone(&self) -> bool {
        self.segment.is_removed && self.attachments() == 0
    }
}

impl Kept for Row {
    fn access(&self) -> &Access {
        &self.segment.access
    }

    fn set_number(&mut self, number: i32) {
        self.segment.access.number = number;
    }
}

static TABLE: SpinLock<Table<Row>> = SpinLock::new(Table::new(&MAX_SEGMENTS));

/// Takes out what is gone.
fn clean() {
    loop {
        let gone = TABLE.lock().take(Row::is_gone);
        // Dropped here, without the lock.
        if gone.is_none() {
            break;
        }
    }
}

/// Runs `body` with a segment of a namespace, or of any, and how often it is attached. `EINVAL`:
/// there is none of this number.
pub(crate) fn with<R>(
    space: Option<u64>,
    number: i32,
    body: impl FnOnce(&mut Segment, usize) -> Result<R, Errno>,
) -> Result<R, Errno> {
    clean();
    let mut table = TABLE.lock();
    let row = match space {
        Some(space) => table.get_in(space, number)?,
        None => table.get(number)?,
    };
    let count = row.attachments();
    body(&mut row.segment, count)
}

/// The first one of a namespace at this place of the table or behind it: where, and how often it is
/// attached.
pub(crate) fn from(space: u64, place: usize) -> Option<(usize, Segment, usize)> {
    clean();
    let table = TABLE.lock();
    table.next_in(space, place).map(|(at, row)| (at, row.segment.clone(), row.attachments()))
}

/// The number of the segment of a namespace at a place of the table.
pub(crate) fn at_place(space: u64, place: usize) -> Option<i32> {
    TABLE.lock().at_place(space, place)
}

/// The number of the one with a key, in a namespace.
pub(crate) fn find(space: u64, key: i32) -> Option<i32> {
    clean();
    TABLE.lock().find(space, key)
}

/// A namespace has ended: what is in it goes with its last attachment.
pub(crate) fn space_ends(space: u64) {
    let mut place = 0;
    while let Some((at, segment, _)) = from(space, place) {
        place = at + 1;
        let _gone_meanwhile = with(None, segment.access.number, |segment, _| {
            (segment.is_removed, segment.access.key) = (true, PRIVATE);
            Ok(())
        });
    }
    clean();
}

/// Makes one. `EEXIST`: another caller has made one with this key.
pub(crate) fn make(segment: Segment) -> Result<i32, Errno> {
    clean();
    TABLE.lock().add(Row { segment, attached: Vec::new() })
}

/// The number that the next segment is to have; -1: any.
pub(crate) fn next() -> i32 {
    TABLE.lock().next()
}

/// Asks for that.
pub(crate) fn set_next(number: i32) {
    TABLE.lock().set_next(number);
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
    let row = table.get(number)?;
    row.attached.retain(|object| object.strong_count() > 0);
    Ok(fallible::push(&mut row.attached, Arc::downgrade(object))?)
}

/// The segment whose pages these are.
pub(crate) fn of_node(node: &Arc<Node>) -> Option<i32> {
    let table = TABLE.lock();
    let mut rows = table.iter();
    rows.find(|row| Arc::ptr_eq(&row.segment.node, node)).map(|row| row.segment.access.number)
}

/// How many there are of a namespace, their pages, and the last place that one has.
pub(crate) fn totals(space: u64) -> (usize, u64, usize) {
    clean();
    let table = TABLE.lock();
    let pages = table.iter_in(space).map(|row| row.segment.bytes.div_ceil(4096)).sum();
    let (count, highest) = table.count(space);
    (count, pages, highest)
}
