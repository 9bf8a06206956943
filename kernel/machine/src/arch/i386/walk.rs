//! Page tables of three levels, and how they are walked: what all page tables of this machine have
//! below them.

use super::sysenter_page::SYSENTER_PAGE;
use crate::arch::any::paging::{NoMemory, for_each_present};
use crate::arch::pc::page_entry::{
    ADDRESS, LARGE, LARGE_BYTES, PRESENT, USER, WRITE, entry, next_table,
};
use crate::memory;
use crate::memory::frames::{self, Frame};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Entries of a table.
const ENTRIES: u64 = 512;
/// The entry of the top level that is the kernel's.
const KERNEL_INDEX: u64 = memory::IMAGE >> 30;

pub(super) static KERNEL_ROOT: AtomicUsize = AtomicUsize::new(0);
/// The frame with the code for `sysenter`, which every address space maps.
pub(super) static SYSENTER_FRAME: AtomicU64 = AtomicU64::new(0);

/// The physical address of the kernel's own tables: for threads without a process.
#[inline(always)]
pub fn kernel_root() -> u64 {
    KERNEL_ROOT.load(Ordering::Relaxed) as u64
}

/// The table of the second level for an address: made with the address space, or there is none.
pub(super) fn level2(root: u64, address: u64) -> Option<u64> {
    let value = entry(root, address >> 30 & 3).load(Ordering::Acquire);
    (value & PRESENT != 0).then_some(value & ADDRESS)
}

/// The leaf entry for an address, with the table above it made if it is missing.
pub(in crate::arch) fn leaf(
    root: u64,
    address: u64,
    flags: u64,
) -> Result<&'static AtomicU64, NoMemory> {
    let level2 = level2(root, address).ok_or(NoMemory)?;
    let level1 = next_table(entry(level2, address >> 21), flags)?;
    Ok(entry(level1, address >> 12))
}

/// The leaf entry for an address, if the tables above it are there.
pub(in crate::arch) fn find(root: u64, address: u64) -> Option<&'static AtomicU64> {
    let value = entry(level2(root, address)?, address >> 21).load(Ordering::Acquire);
    if value & PRESENT == 0 || value & LARGE != 0 {
        return None;
    }
    Some(entry(value & ADDRESS, address >> 12))
}

/// Bytes of the aligned stretch around an address of which the tables have nothing; 0: the page is
/// mapped.
pub(in crate::arch) fn absent_bytes(root: u64, address: u64) -> u64 {
    let Some(table) = level2(root, address) else { return 1 << 30 };
    let value = entry(table, address >> 21).load(Ordering::Acquire);
    if value & PRESENT == 0 {
        return LARGE_BYTES;
    }
    let value = entry(value & ADDRESS, address >> 12).load(Ordering::Acquire);
    if value & PRESENT == 0 { 4096 } else { 0 }
}

/// The leaf entry of a kernel page, with the tables above it made if they are missing.
pub fn kernel_leaf_or_new(address: u64) -> Result<&'static AtomicU64, NoMemory> {
    leaf(kernel_root(), address, PRESENT | WRITE)
}

/// Fills new tables: the kernel part is that of all address spaces; the user part is empty, but for
/// the page through which programs use `sysenter`.
pub(in crate::arch) fn fill_user(root: u64) -> Option<()> {
    for index in 0..KERNEL_INDEX {
        entry(root, index).store(frames::alloc_zeroed()?.addr() | PRESENT, Ordering::Relaxed);
    }
    let kernel = entry(kernel_root(), KERNEL_INDEX).load(Ordering::Relaxed);
    entry(root, KERNEL_INDEX).store(kernel, Ordering::Relaxed);
    let page = leaf(root, SYSENTER_PAGE, PRESENT | WRITE | USER).ok()?;
    page.store(SYSENTER_FRAME.load(Ordering::Relaxed) | PRESENT | USER, Ordering::Release);
    Some(())
}

/// Frees tables with all below them that is not shared by all address spaces: table pages, not what
/// leaves map.
pub(in crate::arch) fn free_user(root: u64) {
    for index in 0..KERNEL_INDEX {
        let level2 = entry(root, index).load(Ordering::Relaxed);
        if level2 & PRESENT == 0 {
            continue;
        }
        let level1 = |index| entry(level2 & ADDRESS, index).load(Ordering::Relaxed);
        for_each_present(ENTRIES, PRESENT, level1, |level1| {
            frames::release(Frame::at(level1 & ADDRESS));
        });
        frames::release(Frame::at(level2 & ADDRESS));
    }
    frames::release(Frame::at(root));
}
