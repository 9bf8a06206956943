//! One entry of a scatter list: a piece of physical memory without a gap.
//!
//! ```text
//!   page 0x7401, offset 0xf00, length 0x300:
//!
//!     0x740_1000            0x740_1f00   0x740_2000   0x740_2200
//!     |---- page 0x7401 ----|============|============|---- page 0x7402
//! ```
//!
//! An entry may run past the end of its page: then the next page of *physical* memory is meant, as
//! in Linux. Code that makes entries from virtual addresses asks page by page
//! ([`pieces`](super::pieces)).

use crate::addr::PAGE_BYTES;
use core::fmt;
use core::num::NonZeroU32;

/// Bytes of a page.
const PAGE: u64 = PAGE_BYTES as u64;

/// A piece of physical memory: page, offset in it, length.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    page: u64,
    offset: u32,
    length: NonZeroU32,
}

/// Why there is no such entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum EntryError {
    /// It has no bytes.
    Empty,
    /// The offset is not inside of a page.
    OffsetBeyondPage,
    /// It reaches beyond the last physical address there can be.
    BeyondMemory,
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an entry has at least one byte",
            Self::OffsetBeyondPage => "an entry begins inside its page",
            Self::BeyondMemory => "an entry ends where physical addresses do",
        })
    }
}

impl core::error::Error for EntryError {}

/// What has an entry in it: entries themselves, and those that carry a proof with them.
pub trait AsEntry {
    /// The entry.
    fn entry(&self) -> Entry;
}

impl AsEntry for Entry {
    fn entry(&self) -> Entry {
        *self
    }
}

impl Entry {
    /// `length` bytes from `offset` in the page with this number on.
    pub const fn new(page: u64, offset: u32, length: u32) -> Result<Self, EntryError> {
        if offset as u64 >= PAGE {
            return Err(EntryError::OffsetBeyondPage);
        }
        if page > u64::MAX / PAGE {
            return Err(EntryError::BeyondMemory);
        }
        Self::at(page * PAGE + offset as u64, length)
    }

    /// `length` bytes from this physical address on.
    pub const fn at(physical: u64, length: u32) -> Result<Self, EntryError> {
        let Some(length) = NonZeroU32::new(length) else { return Err(EntryError::Empty) };
        if physical.checked_add(length.get() as u64 - 1).is_none() {
            return Err(EntryError::BeyondMemory);
        }
        Ok(Self { page: physical / PAGE, offset: (physical % PAGE) as u32, length })
    }

    /// The number of the page that it begins in.
    pub const fn page(&self) -> u64 {
        self.page
    }

    /// Where in that page it begins.
    pub const fn offset(&self) -> u32 {
        self.offset
    }

    /// How many bytes it has: at least one.
    pub const fn length(&self) -> u32 {
        self.length.get()
    }

    /// The physical address of its first byte.
    pub const fn lowest(&self) -> u64 {
        self.page * PAGE + self.offset as u64
    }

    /// The physical address of its last byte.
    pub const fn last(&self) -> u64 {
        self.lowest() + (self.length() as u64 - 1)
    }

    /// Whether `next` begins where this one ends, so that a device sees one piece.
    pub const fn is_followed_by(&self, next: &Self) -> bool {
        match self.last().checked_add(1) {
            Some(end) => end == next.lowest(),
            None => false,
        }
    }

    /// Both as one, if `next` begins where this one ends and one entry can be so long.
    pub const fn joined(&self, next: &Self) -> Option<Self> {
        if !self.is_followed_by(next) {
            return None;
        }
        match self.length.checked_add(next.length()) {
            Some(length) => Some(Self { page: self.page, offset: self.offset, length }),
            None => None,
        }
    }

    /// It without its first `bytes`; nothing if there are no more.
    pub const fn without_first(&self, bytes: u32) -> Option<Self> {
        match self.length().checked_sub(bytes) {
            Some(left) if left > 0 => match Self::at(self.lowest() + bytes as u64, left) {
                Ok(entry) => Some(entry),
                Err(_) => None,
            },
            _ => None,
        }
    }

    /// Its first `bytes` at most; nothing if that is none.
    pub const fn first(&self, bytes: u32) -> Option<Self> {
        let Some(wanted) = NonZeroU32::new(bytes) else { return None };
        let length = if wanted.get() < self.length() { wanted } else { self.length };
        Some(Self { page: self.page, offset: self.offset, length })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "page {:#x} + {:#x}, {} bytes", self.page, self.offset, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    /// Red where the offset's limit is a page and one, or the last byte counts as one more.
    #[test]
    fn d1_an_entry_is_inside_a_page_has_bytes_and_ends_with_memory() {
        let entry = Entry::new(0x7401, 0xf00, 0x300).unwrap();
        assert_eq!((entry.page(), entry.offset(), entry.length()), (0x7401, 0xf00, 0x300));
        assert_eq!((entry.lowest(), entry.last()), (0x740_1f00, 0x740_21ff));
        assert_eq!(Entry::at(0x740_1f00, 0x300), Ok(entry));
        assert_eq!(format!("{entry}"), "page 0x7401 + 0xf00, 768 bytes");
        assert_eq!(Entry::new(1, 0, 0), Err(EntryError::Empty));
        assert_eq!(Entry::new(1, 4096, 1), Err(EntryError::OffsetBeyondPage));
        assert!(Entry::new(1, 4095, 1).is_ok());
        assert_eq!(Entry::new(u64::MAX / 4096 + 1, 0, 1), Err(EntryError::BeyondMemory));
        assert_eq!(Entry::at(u64::MAX, 2), Err(EntryError::BeyondMemory));
        assert_eq!(Entry::at(u64::MAX, 1).unwrap().last(), u64::MAX);
        assert_eq!(size_of::<Option<Entry>>(), 16, "no entry costs no word");
    }

    #[test]
    fn d1_entries_are_joined_where_one_ends_and_the_other_begins() {
        let entry = |at, length| Entry::at(at, length).unwrap();
        let (first, next) = (entry(0x1000, 0x800), entry(0x1800, 0x1000));
        assert_eq!(first.joined(&next), Some(entry(0x1000, 0x1800)));
        assert_eq!(next.joined(&first), None);
        assert_eq!(first.joined(&entry(0x1801, 1)), None);
        assert_eq!(first.joined(&entry(0x17ff, 1)), None);
        // Too long for one: they stay two, and a device may still see them as one.
        let long = entry(0, u32::MAX);
        assert!(long.is_followed_by(&entry(u64::from(u32::MAX), 1)));
        assert_eq!(long.joined(&entry(u64::from(u32::MAX), 1)), None);
        assert!(!entry(u64::MAX, 1).is_followed_by(&entry(0, 1)));
    }

    #[test]
    fn d1_an_entry_is_cut_at_either_end() {
        let entry = Entry::at(0x1ff0, 0x20).unwrap();
        assert_eq!(entry.without_first(0x10), Entry::at(0x2000, 0x10).ok());
        assert_eq!(entry.without_first(0), Some(entry));
        assert_eq!(entry.without_first(0x20), None);
        assert_eq!(entry.without_first(0x21), None);
        assert_eq!(entry.first(0x10), Entry::at(0x1ff0, 0x10).ok());
        assert_eq!(entry.first(0x40), Some(entry));
        assert_eq!(entry.first(0), None);
    }
}
