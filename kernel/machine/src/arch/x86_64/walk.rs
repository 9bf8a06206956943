//! Page tables of four levels, and how they are walked: what all page tables of this machine have
//! below them.

use crate::arch::any::paging::{NoMemory, for_each_present};
use crate::arch::pc::page_entry::{ADDRESS, LARGE, PRESENT, WRITE, entry, next_table};
use crate::memory::frames::{self, Frame};
use core::sync::atomic::{AtomicU64, Ordering};

pub(super) static KERNEL_ROOT: AtomicU64 = AtomicU64::new(0);

/// The physical address of the kernel's own tables: for threads without a process.
#[inline(always)]
pub fn kernel_root() -> u64 {
    KERNEL_ROOT.load(Ordering::Relaxed)
}

/// The leaf entry for an address, with the tables above it made if they are missing.
pub(in crate::arch) fn leaf(
    root: u64,
    address: u64,
    flags: u64,
) -> Result<&'static AtomicU64, NoMemory> {
    let level3 = next_table(entry(root, address >> 39), flags)?;
    let level2 = next_table(entry(level3, address >> 30), flags)?;
    let level1 = next_table(entry(level2, address >> 21), flags)?;
    Ok(entry(level1, address >> 12))
}

/// The leaf entry for an address, if the tables above it are there.
pub(in crate::arch) fn find(root: u64, address: u64) -> Option<&'static AtomicU64> {
    let mut table = root;
    for shift in [39, 30, 21] {
        let value = entry(table, address >> shift).load(Ordering::Acquire);
        if value & PRESENT == 0 || value & LARGE != 0 {
            return None;
        }
        table = value & ADDRESS;
    }
    Some(entry(table, address >> 12))
}

/// Bytes of the aligned stretch around an address of which the tables have nothing; 0: the page is
/// mapped.
pub(in crate::arch) fn absent_bytes(root: u64, address: u64) -> u64 {
    let mut table = root;
    for shift in [39, 30, 21] {
        let value = entry(table, address >> shift).load(Ordering::Acquire);
        if value & PRESENT == 0 {
            return 1 << shift;
        }
        table = value & ADDRESS;
    }
    let value = entry(table, address >> 12).load(Ordering::Acquire);
    if value & PRESENT == 0 { 4096 } else { 0 }
}

/// The leaf entry of a kernel page, with the tables above it made if they are missing.
pub fn kernel_leaf_or_new(address: u64) -> Result<&'static AtomicU64, NoMemory> {
    leaf(kernel_root(), address, PRESENT | WRITE)
}

/// Fills new tables: the kernel half is that of all address spaces, the user half empty.
pub(in crate::arch) fn fill_user(root: u64) -> Option<()> {
    for index in 256..512 {
        entry(root, index)
            .store(entry(kernel_root(), index).load(Ordering::Relaxed), Ordering::Relaxed);
    }
    Some(())
}

/// Frees tables with all below them that is not shared by all address spaces: table pages, not what
/// leaves map.
pub(in crate::arch) fn free_user(root: u64) {
    fn free_below(table: u64, entries: u64, level: u32) {
        if level > 1 {
            let value = |index| entry(table, index).load(Ordering::Relaxed);
            for_each_present(entries, PRESENT, value, |value| {
                free_below(value & ADDRESS, 512, level - 1);
            });
        }
        frames::release(Frame::at(table));
    }
    free_below(root, 256, 4);
}
