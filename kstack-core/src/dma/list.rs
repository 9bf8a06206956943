//! A scatter list: entries in tables, which are chained.
//!
//! ```text
//!   list ─▶ [entry, entry, entry]   3 entries, 5 of all, 9216 bytes
//!             │ next
//!             ▼
//!           [entry, entry]          2 entries, 4096 bytes
//! ```
//!
//! A table is what its maker has: an array, a vector. A chain is made from its end: a list is
//! linked before one that is there already, by a reference. So no chain leads back into itself, and
//! none ends in a table that is gone. Counts and sizes are kept, not counted again.

use super::entry::{AsEntry, Entry};
use core::fmt;

/// A list: a table of entries, and the list that follows it.
#[derive(Debug)]
pub struct List<'l, E = Entry> {
    entries: &'l [E],
    next: Option<&'l List<'l, E>>,
    count: usize,
    bytes: u64,
}

impl<E> Clone for List<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for List<'_, E> {}

/// A list has more bytes than can be counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing to add")]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the list has more bytes than can be counted")
    }
}

impl core::error::Error for TooLong {}

impl<'l, E: AsEntry> List<'l, E> {
    /// A list of the entries of one table, none of them too.
    pub fn of(entries: &'l [E]) -> Result<Self, TooLong> {
        let mut lengths = entries.iter().map(|one| u64::from(one.entry().length()));
        let bytes = lengths.try_fold(0_u64, u64::checked_add);
        Ok(Self { entries, next: None, count: entries.len(), bytes: bytes.ok_or(TooLong)? })
    }

    /// The entries of this table, and then those of `next`.
    pub fn chained(entries: &'l [E], next: &'l List<'l, E>) -> Result<Self, TooLong> {
        let own = Self::of(entries)?;
        let bytes = own.bytes.checked_add(next.bytes).ok_or(TooLong)?;
        let count = own.count.checked_add(next.count).ok_or(TooLong)?;
        Ok(Self { entries, next: Some(next), count, bytes })
    }

    /// How many entries all its tables have.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// How many bytes all its entries have.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many tables it has.
    pub fn tables(&self) -> usize {
        core::iter::successors(Some(self), |list| list.next).count()
    }

    /// Every entry, in order, across all tables.
    pub fn walk(&self) -> Walk<'l, E> {
        self.part(0, self.bytes)
    }

    /// The entries of `bytes` bytes from the byte with this number on, the first and the last cut.
    /// What lies beyond the end is not there.
    pub fn part(&self, skip: u64, bytes: u64) -> Walk<'l, E> {
        Walk { entries: self.entries, next: self.next, skip, left: bytes }
    }
}

impl<E: AsEntry> fmt::Display for List<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes in {} entries", self.bytes, self.count)?;
        for (number, entry) in self.walk().enumerate() {
            write!(f, "{}{entry}", if number == 0 { ": " } else { "; " })?;
        }
        Ok(())
    }
}

/// See [`List::walk`] and [`List::part`].
#[derive(Debug)]
pub struct Walk<'l, E> {
    entries: &'l [E],
    next: Option<&'l List<'l, E>>,
    /// Bytes before those that are wanted.
    skip: u64,
    /// Bytes that are still wanted.
    left: u64,
}

impl<E: AsEntry> Iterator for Walk<'_, E> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        while self.left > 0 {
            let Some((first, others)) = self.entries.split_first() else {
                let next = self.next?;
                // A table that lies wholly before what is wanted is not looked at.
                if self.skip >= next.bytes {
                    return None;
                }
                (self.entries, self.next) = (next.entries, next.next);
                continue;
            };
            self.entries = others;
            let entry = first.entry();
            if self.skip >= u64::from(entry.length()) {
                self.skip -= u64::from(entry.length());
                continue;
            }
            // Below the length of an entry, which has 32 bits.
            let entry = entry.without_first(core::mem::take(&mut self.skip) as u32)?;
            let entry = entry.first(u32::try_from(self.left).unwrap_or(u32::MAX))?;
            self.left -= u64::from(entry.length());
            return Some(entry);
        }
        None
    }
}

#[cfg(test)]
pub(super) mod tests;
