//! Which physical memory is free while the kernel comes up, before anything keeps books of it.
//!
//! ```text
//!   RAM of the loader's map       |=========================|      |===========|
//!   what is not RAM after all                 |##|
//!   taken: image, archive, table     |##|           |####|
//!   free                          |==|  |=====|  |==|    |==|      |===========|
//! ```
//!
//! Loaders list stretches in any order, let them overlap, and begin them within a page. A page is
//! free if it lies in RAM as a whole and no byte of it is anything else's.

use crate::boot_info::BootInfo;
use crate::memory::frames::FRAME_BYTES;

/// Stretches that can be taken.
const MAX_TAKEN: usize = 8;

/// The loader's map, less what has been taken.
#[derive(Debug)]
pub struct BootMap<'i> {
    info: &'i BootInfo,
    taken: [(u64, u64); MAX_TAKEN],
    count: usize,
}

impl<'i> BootMap<'i> {
    /// All RAM.
    pub const fn new(info: &'i BootInfo) -> Self {
        Self { info, taken: [(0, 0); MAX_TAKEN], count: 0 }
    }

    /// Takes a stretch out, whatever is there.
    pub fn take(&mut self, lowest: u64, top: u64) {
        self.taken[self.count] = (lowest, top);
        self.count += 1;
    }

    /// Takes so many bytes, in one stretch that ends at `limit` or below; where they begin, if
    /// there is room.
    pub fn find(&mut self, bytes: u64, limit: u64) -> Option<u64> {
        let bytes = bytes.next_multiple_of(FRAME_BYTES);
        let fits = |&(lowest, top): &(u64, u64)| {
            lowest.checked_add(bytes).is_some_and(|end| end <= top.min(limit))
        };
        let (lowest, _) = self.free().find(fits)?;
        self.take(lowest, lowest + bytes);
        Some(lowest)
    }

    /// The bytes of the longest free stretch below `limit`.
    pub fn longest(&self, limit: u64) -> u64 {
        self.free().map(|(lowest, top)| top.min(limit).saturating_sub(lowest)).max().unwrap_or(0)
    }

    /// What is free: whole pages, in ascending order, no page twice.
    pub fn free(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut from = 0;
        core::iter::from_fn(move || {
            let (lowest, top) = self.next_free(from)?;
            from = top;
            Some((lowest, top))
        })
    }

    /// What is no memory of ours, page by page.
    fn holes(&self) -> impl Iterator<Item = (u64, u64)> {
        let reserved = self.info.regions().filter(|region| !region.is_ram);
        let reserved = reserved.map(|region| (region.lowest, region.top()));
        let holes = reserved.chain(self.taken[..self.count].iter().copied());
        holes.filter(|(lowest, top)| lowest < top).map(|(lowest, top)| (down(lowest), up(top)))
    }

    /// The first free stretch at `from` or above.
    #[inline(never)]
    fn next_free(&self, from: u64) -> Option<(u64, u64)> {
        let mut at = from;
        loop {
            let ram = self.info.ram().map(|region| (up(region.lowest), down(region.top())));
            let (lowest, end) = ram.filter(|&(lowest, top)| top > at && lowest < top).min()?;
            at = at.max(lowest);
            if let Some((_, top)) = self.holes().find(|&(lowest, top)| lowest <= at && at < top) {
                at = top;
                continue;
            }
            let next_hole = self.holes().map(|(lowest, _)| lowest).filter(|&lowest| lowest > at);
            return Some((at, next_hole.min().unwrap_or(end).min(end)));
        }
    }
}

const fn down(address: u64) -> u64 {
    address & !(FRAME_BYTES - 1)
}

const fn up(address: u64) -> u64 {
    // An end at the very top stays there, without its last page.
    down(address.saturating_add(FRAME_BYTES - 1))
}
