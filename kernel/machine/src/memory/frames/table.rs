//! The table with one entry per frame.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Bytes in a frame.
pub const FRAME_BYTES: u64 = 4096;

/// No frame's place in the table.
pub(super) const NONE: u32 = u32::MAX;

/// In a frame's count of users: a stack is mapped to it. Nothing shares such a frame.
pub(super) const OF_A_STACK: u32 = 1 << 31;

/// What is known of a frame.
pub(super) struct Entry {
    pub(super) users: AtomicU32,
    pub(super) next: AtomicU32,
}

pub(super) static TABLE: AtomicUsize = AtomicUsize::new(0);
pub(super) static ENTRIES: AtomicUsize = AtomicUsize::new(0);
/// The number of the first frame that has an entry: some machines have no memory at low addresses.
pub(super) static LOWEST: AtomicUsize = AtomicUsize::new(0);
pub(super) static TOTAL: AtomicUsize = AtomicUsize::new(0);

/// The place in the table of the frame at a physical address.
#[inline(always)]
pub(super) fn index_of(physical: u64) -> usize {
    ((physical / FRAME_BYTES) as usize).wrapping_sub(LOWEST.load(Ordering::Relaxed))
}

/// The physical address of the frame with this place in the table.
#[inline(always)]
pub(super) fn address_of(place: u32) -> u64 {
    (u64::from(place) + LOWEST.load(Ordering::Relaxed) as u64) * FRAME_BYTES
}

#[inline(always)]
pub(super) fn entry_at(index: usize) -> &'static Entry {
    assert!(index < ENTRIES.load(Ordering::Relaxed), "frame outside memory");
    // SAFETY: (1) inside the table, which stays; (2) any bits are an entry, and what was not
    // written yet is not looked at: an entry is written when its frame is given out for the first
    // time.
    unsafe { &*(TABLE.load(Ordering::Relaxed) as *const Entry).add(index) }
}
