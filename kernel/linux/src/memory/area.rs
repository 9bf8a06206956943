//! One area of an address space: a stretch of it, and what a program has it for.

use crate::memory::object::Object;
use crate::sorted::Item;
use alloc::sync::Arc;
use machine::arch::paging::Access;

pub(crate) const PAGE: u64 = 4096;
/// How near to a stack that grows anything accessible may come, and it to that: Linux's
/// `stack_guard_gap`.
pub(crate) const STACK_GUARD_GAP: u64 = 256 * PAGE;

/// What else there is to say of an area: bits of [`Area::flags`].
pub(crate) mod flag {
    /// Writes reach the file, or others that map the same memory.
    pub(crate) const SHARED: u32 = 1;
    /// It can never be made writable: the file was not opened for it.
    pub(crate) const NEVER_WRITE: u32 = 1 << 1;
    /// Its contents were put there by the kernel: they cannot be made again as zeros.
    pub(crate) const KEPT: u32 = 1 << 2;
    /// Locked into memory; and only what is touched.
    pub(crate) const LOCKED: u32 = 1 << 3;
    pub(crate) const LOCKED_ON_FAULT: u32 = 1 << 4;
    /// No memory is promised for it.
    pub(crate) const NO_RESERVE: u32 = 1 << 5;
    /// A child does not get it, or gets zeros.
    pub(crate) const NOT_INHERITED: u32 = 1 << 6;
    pub(crate) const WIPED_ON_FORK: u32 = 1 << 7;
    /// Not part of a dump.
    pub(crate) const NOT_DUMPED: u32 = 1 << 8;
    /// It stays as it is until the process ends.
    pub(crate) const SEALED: u32 = 1 << 9;
    /// How it will be read.
    pub(crate) const READ_RANDOMLY: u32 = 1 << 10;
    pub(crate) const READ_IN_ORDER: u32 = 1 << 11;
    /// Whether pages like others may become one, and pages large.
    pub(crate) const MERGEABLE: u32 = 1 << 12;
    pub(crate) const HUGE: u32 = 1 << 13;
    pub(crate) const NOT_HUGE: u32 = 1 << 14;
    /// A shadow stack: written by calls, returns and the kernel.
    pub(crate) const SHADOW_STACK: u32 = 1 << 15;
    /// It may be read because it may be written or executed: reading was not asked for.
    pub(crate) const READ_UNASKED: u32 = 1 << 16;
    /// The kernel may take its pages at any time: they read as zeros again.
    pub(crate) const DROPPABLE: u32 = 1 << 17;
}

/// Where an area's pages come from, if they are no zeros.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Source {
    pub(crate) object: Arc<Object>,
    /// Where in the object the area begins: a multiple of a page.
    pub(crate) offset: u64,
}

impl Source {
    /// The same for an area that begins so many bytes further up.
    pub(super) fn up(self, bytes: u64) -> Self {
        Self { offset: self.offset + bytes, ..self }
    }
}

/// A stretch of address space with one set of permissions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Area {
    pub lowest: u64,
    pub top: u64,
    /// Whether it may be read. Writable and executable areas always are.
    pub read: bool,
    pub access: Access,
    /// Whether it grows down to an access below it: the first thread's stack, and what
    /// MAP_GROWSDOWN made.
    pub grows: bool,
    pub(crate) flags: u32,
    pub(crate) source: Option<Source>,
}

impl Area {
    /// Memory of nothing but zeros, private.
    pub(crate) const fn anonymous(lowest: u64, top: u64, read: bool, access: Access) -> Self {
        Self { lowest, top, read, access, grows: false, flags: 0, source: None }
    }

    pub(crate) const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Whether it is shared as Linux shows it: also where it can never be written.
    pub(crate) const fn is_shared(&self) -> bool {
        self.has(flag::SHARED)
    }

    /// Whether its pages are those of a file: not those that a private mapping of /dev/zero is
    /// filled with.
    pub(crate) fn has_file(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source.object.node.is_mappable())
    }

    /// The page of its object that lies at an address.
    pub(crate) fn number_at(&self, page: u64) -> u64 {
        self.source.as_ref().map_or(0, |source| (source.offset + (page - self.lowest)) / PAGE)
    }

    /// Whether its program asked to read it: what `maps` shows.
    pub(crate) const fn is_read_asked(&self) -> bool {
        self.read && !self.has(flag::READ_UNASKED)
    }

    /// Whether a program can get at it in any way. What cannot be got at is a guard.
    pub fn is_accessible(&self) -> bool {
        self.read || self.access.write || self.access.exec
    }

    /// The part of it from an address on.
    pub(crate) fn from(&self, lowest: u64) -> Self {
        let up = |source: &Source| source.clone().up(lowest - self.lowest);
        Self { lowest, source: self.source.as_ref().map(up), ..self.clone() }
    }

    /// The part of it below an address.
    pub(crate) fn up_to(&self, top: u64) -> Self {
        Self { top, ..self.clone() }
    }

    pub(super) fn is_like(&self, other: &Self) -> bool {
        let of = |area: &Self| (area.read, area.access, area.grows, area.flags);
        of(self) == of(other)
    }

    /// Whether `next` is the same thing going on.
    pub(super) fn continues_in(&self, next: &Self) -> bool {
        self.top == next.lowest
            && self.is_like(next)
            && match (&self.source, &next.source) {
                (None, None) => true,
                (Some(one), Some(other)) => {
                    one.object.is_same(&other.object)
                        && one.offset + (self.top - self.lowest) == other.offset
                }
                _ => false,
            }
    }

    /// Where what lies below it must end, when the kernel chooses.
    pub(super) fn lowest_with_gap(&self) -> u64 {
        let gap = match self {
            _ if self.grows => STACK_GUARD_GAP,
            // No instruction moves its pointer by more.
            _ if self.has(flag::SHADOW_STACK) => PAGE,
            _ => 0,
        };
        self.lowest.saturating_sub(gap)
    }
}

impl Item for Area {
    fn key(&self) -> u64 {
        self.lowest
    }

    fn gap(&self, next: &Self) -> u64 {
        next.lowest_with_gap().saturating_sub(self.top)
    }
}
