//! From a stretch of virtual memory to entries: each page is asked for, and pages that follow each
//! other in physical memory become one entry.
//!
//! ```text
//!   virtual   | page 0 | page 1 | page 2 | page 3 |
//!   physical    0x7000   0x8000   0x3000   0x4000
//!   entries   |=== 0x7000 ======|=== 0x3000 ======|
//! ```

use super::entry::Entry;
use crate::addr::{Addr, AddrRange, ByteSize};
use core::fmt;

/// A page without physical memory behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing to add to an address")]
pub struct NotMapped(
    /// An address in it.
    pub Addr,
);

impl fmt::Display for NotMapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no memory at {:?}", self.0)
    }
}

impl core::error::Error for NotMapped {}

/// The entries of a stretch of virtual memory. `physical` answers where a byte lies in physical
/// memory; it is asked once a page.
pub fn pieces<F>(memory: AddrRange, physical: F) -> Pieces<F>
where
    F: FnMut(Addr) -> Option<u64>,
{
    Pieces { left: memory, physical, next: None }
}

/// See [`pieces`].
#[derive(Debug)]
pub struct Pieces<F> {
    left: AddrRange,
    physical: F,
    /// What was asked for and did not follow the last one.
    next: Option<Entry>,
}

impl<F: FnMut(Addr) -> Option<u64>> Pieces<F> {
    /// The part of the next page that belongs to the stretch.
    fn page(&mut self) -> Result<Option<Entry>, NotMapped> {
        let at = self.left.lowest;
        let left = self.left.size().get();
        if left == 0 {
            return Ok(None);
        }
        let in_page = ByteSize::PAGE.get() - at.get() % ByteSize::PAGE.get();
        let bytes = if left < in_page { left } else { in_page };
        let physical = (self.physical)(at).ok_or(NotMapped(at))?;
        // At most a page, and not empty; what a page table names does not wrap.
        let entry = Entry::at(physical, bytes as u32).map_err(|_| NotMapped(at))?;
        self.left.lowest = at.wrapping_add(ByteSize::new(bytes));
        Ok(Some(entry))
    }
}

impl<F: FnMut(Addr) -> Option<u64>> Iterator for Pieces<F> {
    type Item = Result<Entry, NotMapped>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut entry = match self.next.take() {
            Some(entry) => entry,
            None => match self.page() {
                Ok(Some(entry)) => entry,
                Ok(None) => return None,
                Err(missing) => {
                    self.left = AddrRange::EMPTY;
                    return Some(Err(missing));
                }
            },
        };
        loop {
            match self.page() {
                Ok(Some(page)) => match entry.joined(&page) {
                    Some(both) => entry = both,
                    None => {
                        self.next = Some(page);
                        return Some(Ok(entry));
                    }
                },
                Ok(None) => return Some(Ok(entry)),
                // The missing page is told: what comes before it is of no use alone.
                Err(missing) => {
                    self.left = AddrRange::EMPTY;
                    return Some(Err(missing));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dma::list::tests::Random;
    use std::vec::Vec;

    /// A byte's place by a table of pages: what a page table says.
    fn by_table(pages: &[u64]) -> impl Fn(Addr) -> Option<u64> + '_ {
        |addr| {
            let page = pages.get(addr.get() / 4096).copied().filter(|&page| page != 0)?;
            Some(page * 4096 + (addr.get() % 4096) as u64)
        }
    }

    /// Red where pages are joined by their virtual addresses, where a first part of a page counts
    /// as a whole one, and where the page that ends a piece is forgotten.
    #[test]
    fn d1_pieces_have_every_byte_once_at_its_physical_place() {
        let mut random = Random(1);
        for _ in 0..2000 {
            let pages: Vec<u64> = (0..8).map(|_| 1 + random.below(6)).collect();
            let lowest = random.below(4 * 4096) as usize;
            let bytes = random.below(4 * 4096) as usize;
            let range = AddrRange::sized(Addr::new(lowest), ByteSize::new(bytes));
            let entries: Result<Vec<Entry>, _> = pieces(range, by_table(&pages)).collect();
            let entries = entries.unwrap();
            let places: Vec<u64> =
                entries.iter().flat_map(|entry| entry.lowest()..=entry.last()).collect();
            let expected: Vec<u64> = (lowest..lowest + bytes)
                .map(|at| by_table(&pages)(Addr::new(at)).unwrap())
                .collect();
            assert_eq!(places, expected, "pages {pages:?}, {range:?}");
            for pair in entries.windows(2) {
                assert!(!pair[0].is_followed_by(&pair[1]), "{} and {} are one", pair[0], pair[1]);
            }
        }
    }

    #[test]
    fn d1_a_page_that_is_not_there_is_named_and_ends_it() {
        let range = AddrRange::sized(Addr::new(0x800), ByteSize::new(0x2000));
        let mut found = pieces(range, by_table(&[7, 0, 9]));
        assert_eq!(found.next(), Some(Err(NotMapped(Addr::new(0x1000)))));
        assert_eq!(found.next(), None);
        // Behind a piece that is whole.
        let mut found = pieces(range, by_table(&[7, 3, 0]));
        assert!(found.next().is_some_and(|piece| piece.is_ok()));
        assert_eq!(found.next(), Some(Err(NotMapped(Addr::new(0x2000)))));
        assert_eq!(found.next(), None);
        let mut none = pieces(AddrRange::EMPTY, by_table(&[7]));
        assert_eq!(none.next(), None);
    }
}
