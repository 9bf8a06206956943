//! What the page tables of every machine are asked, and answer.

use crate::memory::{IMAGE, frames};
use core::sync::atomic::{AtomicU64, Ordering};

/// What a page may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Writes.
    pub write: bool,
    /// Instruction fetches.
    pub exec: bool,
}

/// There was no frame for a page table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoMemory;

/// Puts a new table below an entry that was seen absent, and returns what the entry holds then.
/// `entry_for` is the entry that leads to a table at a physical address.
///
/// Two CPUs may find the same entry absent: the tables of the arena are made without a lock. The
/// first compare-and-swap wins; the other CPU gives its frame back and uses the winner's table.
/// `Release` orders the zeros of the new table before the entry, `Acquire` on failure orders the
/// loser's use after the winner's zeros.
#[cold]
pub(in crate::arch) fn new_table(
    entry: &AtomicU64,
    absent: u64,
    entry_for: impl FnOnce(u64) -> u64,
) -> Result<u64, NoMemory> {
    let table = frames::alloc_zeroed().ok_or(NoMemory)?;
    let new = entry_for(table.addr());
    match entry.compare_exchange(absent, new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Ok(new),
        Err(winner) => {
            frames::release(table);
            Ok(winner)
        }
    }
}

/// The first page at or above `from` and below `top` that is mapped. `absent_bytes` tells how large
/// the aligned stretch around an address is of which the tables have nothing, 0 for a page that is
/// mapped. So the walk costs what is present, not what lies between.
pub(in crate::arch) fn next_mapped(
    from: u64,
    top: u64,
    absent_bytes: impl Fn(u64) -> u64,
) -> Option<u64> {
    let mut page = from;
    while page < top {
        match absent_bytes(page) {
            0 => return Some(page),
            // The last stretch of the address space ends at its end.
            bytes => page = (page & !(bytes - 1)).checked_add(bytes)?,
        }
    }
    None
}

/// Calls `found` with each value of a table's first `entries` entries, a multiple of 8, that has
/// the bit `present`. Looks at eight together first: most of what tables have room for is absent.
#[inline(always)]
pub(in crate::arch) fn for_each_present(
    entries: u64,
    present: u64,
    value: impl Fn(u64) -> u64,
    mut found: impl FnMut(u64),
) {
    for first in (0..entries).step_by(8) {
        let eight = first..first + 8;
        if eight.clone().fold(0, |all, index| all | value(index)) & present != 0 {
            eight.map(&value).filter(|value| value & present != 0).for_each(&mut found);
        }
    }
}

/// Cuts memory, of which no page is given twice, into what one entry of the tables maps: `large`
/// bytes wherever that many lie in it, 4 KiB at its ends. So no entry reaches beyond: what is next
/// to memory may be a device, or another owner's. `map` is given an address, whether it is large,
/// and whether it may be written: what the image has read-only has no other address that is not. A
/// large piece that has some of that in it is cut as well.
pub fn in_pieces(
    lowest: u64,
    top: u64,
    large: u64,
    image: &[(u64, u64, Access)],
    mut map: impl FnMut(u64, bool, bool) -> Result<(), NoMemory>,
) -> Result<(), NoMemory> {
    const PAGE: u64 = 4096;
    let is_read_only = |at: u64, bytes: u64| {
        let parts = image.iter().filter(|(_, _, access)| !access.write);
        let frames = parts.map(|&(lowest, top, _)| (lowest - IMAGE, top - IMAGE));
        frames.into_iter().any(|(lowest, top)| at < top && lowest < at + bytes)
    };
    let (mut at, top) = (lowest.next_multiple_of(PAGE), top & !(PAGE - 1));
    while at < top {
        let fits = at.is_multiple_of(large) && top - at >= large;
        let is_large = fits && !is_read_only(at, large);
        map(at, is_large, is_large || !is_read_only(at, PAGE))?;
        at += if is_large { large } else { PAGE };
    }
    Ok(())
}
