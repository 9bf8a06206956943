//! An entry of a page table: 64 bits, of one layout with four levels and with physical address
//! extension.
//!
//! Source: Intel SDM vol. 3, chapter 5, "4-level paging" and "PAE paging".

use crate::arch::any::mappings::{Entry, Rights};
use crate::arch::any::paging::{Access, NoMemory, new_table};
use crate::memory::direct;
use crate::memory::frames::Frame;
use core::sync::atomic::{AtomicU64, Ordering};

/// It maps something, or leads to a table.
pub const PRESENT: u64 = 1;
/// Writes are allowed.
pub const WRITE: u64 = 1 << 1;
/// User mode is.
pub const USER: u64 = 1 << 2;
/// For devices.
pub const UNCACHED: u64 = 1 << 4;
/// Set by the CPU on the first write through a translation.
pub const DIRTY: u64 = 1 << 6;
/// It maps 2 MiB.
pub const LARGE: u64 = 1 << 7;
/// Other tables have the same.
pub const GLOBAL: u64 = 1 << 8;
/// Instruction fetches are not allowed.
pub const NO_EXEC: u64 = 1 << 63;
/// Where the address is in it.
pub const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// What a large entry maps.
pub const LARGE_BYTES: u64 = 2 << 20;

/// The entry number `index` of the table at physical address `table`.
#[inline(always)]
pub fn entry(table: u64, index: u64) -> &'static AtomicU64 {
    // SAFETY: (1) tables are frames in the direct map; (2) an index has nine bits; (3) the CPU may
    // change accessed and dirty bits at any time, hence atomics.
    unsafe { &*direct::<AtomicU64>(table).add(index as usize & 511) }
}

/// The table below an entry, made if it is missing.
pub fn next_table(entry: &AtomicU64, flags: u64) -> Result<u64, NoMemory> {
    let value = entry.load(Ordering::Acquire);
    if value & PRESENT != 0 {
        return Ok(value & ADDRESS);
    }
    Ok(new_table(entry, value, |table| table | flags)? & ADDRESS)
}

/// The flags for what a page may be used for.
pub const fn bits(access: Access) -> u64 {
    (if access.write { WRITE } else { 0 }) | (if access.exec { 0 } else { NO_EXEC })
}

/// What an entry says, where it may be a table's or, at the last level, not.
pub(in crate::arch) fn said(value: u64, is_last: bool) -> Entry {
    if value & PRESENT == 0 {
        return Entry::Absent;
    }
    let access = Access { write: value & WRITE != 0, exec: value & NO_EXEC == 0 };
    let rights = Rights { access, user: value & USER != 0 };
    if is_last || value & LARGE != 0 {
        Entry::Maps(value & ADDRESS, rights)
    } else {
        Entry::Table(value & ADDRESS, rights)
    }
}

/// Makes a page of the kernel's read-only, or writable. The caller flushes.
pub fn set_writable(leaf: &AtomicU64, write: bool) {
    if write {
        leaf.fetch_or(WRITE, Ordering::AcqRel);
    } else {
        leaf.fetch_and(!WRITE, Ordering::AcqRel);
    }
}

/// Makes an absent leaf entry map a frame: writable, not executable, in all address spaces.
#[inline(always)]
pub fn set_kernel_leaf(leaf: &AtomicU64, frame: Frame) {
    // Absent to present needs no flush: x86 caches no absent translations (Intel SDM vol. 3,
    // 5.10.2.3).
    leaf.store(frame.addr() | PRESENT | WRITE | GLOBAL | NO_EXEC, Ordering::Release);
}

/// Behind writes to a stack that another CPU may erase, so that it sees which pages are dirty.
/// Nothing to do: the CPU sets the bit before the store it is about can be seen (SDM 3A, 4.8 and
/// 9.1.2.2).
#[inline(always)]
pub const fn settle_dirty() {}

/// Whether a page of a stack was written to since this was last asked; the caller then drops the
/// cached translation. The writer has handed the stack over since, so the bit is seen.
#[inline(always)]
pub fn take_dirty(leaf: &AtomicU64) -> bool {
    let dirty = leaf.load(Ordering::Relaxed) & DIRTY != 0;
    if dirty {
        leaf.fetch_and(!DIRTY, Ordering::AcqRel);
    }
    dirty
}

/// Whether a page of a stack was written to since that was last taken, as a query.
#[inline(always)]
pub fn is_dirty(leaf: &AtomicU64) -> bool {
    leaf.load(Ordering::Relaxed) & DIRTY != 0
}

/// The value of a leaf without the bits that the CPU changes by itself.
pub const fn without_dirty(value: u64) -> u64 {
    const ACCESSED: u64 = 1 << 5;
    value & !(ACCESSED | DIRTY)
}

/// The frame that a present leaf entry maps.
#[inline(always)]
pub const fn leaf_frame(value: u64) -> Option<Frame> {
    if value & PRESENT != 0 { Some(Frame::at(value & ADDRESS)) } else { None }
}
