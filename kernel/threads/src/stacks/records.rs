//! The records of the mapped stacks: one for each slot, side by side.
//!
//! ```text
//!   RECORDS  | of node 0's slots | of node 2's | of node 1's |   as the slots are divided
//!              each page is memory of the node that its first slot is of
//! ```
//!
//! What a CPU does with a stack of its node writes to the stack's record, so that lies there, too.
//! Machines with 32-bit addresses have no room for a mapping of their own, and one node: there they
//! are in the heap.

use alloc::vec::Vec;
use kstack::addr::PAGE_BYTES;
use kstack::arena::SlotIndex;
use kstack::record::SlotRecord;
use machine::arch::layout::{ARENA_SLOTS, RECORDS};
use machine::arch::{cpu, paging};
use machine::memory::frames::{self, Frame};
use machine::nodes;

const SLOTS: usize = ARENA_SLOTS as usize;
const IN_A_PAGE: usize = PAGE_BYTES / size_of::<SlotRecord>();

/// Each page's address, with the first slot that has its record there.
fn pages(lowest: u64) -> impl Iterator<Item = (u64, SlotIndex)> {
    let page = move |number: usize| lowest + (number * PAGE_BYTES) as u64;
    let slot = |number: usize| SlotIndex::new((number * IN_A_PAGE) as u32);
    (0..SLOTS.div_ceil(IN_A_PAGE)).map(move |number| (page(number), slot(number)))
}

/// Makes a record for each slot. Once, at boot, before memory nodes are known.
pub(super) fn make() -> &'static mut [SlotRecord] {
    let Some(lowest) = RECORDS else {
        let mut records = Vec::new();
        records.resize_with(SLOTS, SlotRecord::new);
        return records.leak();
    };
    for (page, _) in pages(lowest) {
        let leaf = paging::kernel_leaf_or_new(page);
        let (Ok(leaf), Some(frame)) = (leaf, frames::alloc_zeroed()) else {
            panic!("no memory for the records of {SLOTS} stacks");
        };
        paging::set_kernel_leaf(leaf, frame);
    }
    let records = lowest as usize as *mut SlotRecord;
    for slot in 0..SLOTS {
        // SAFETY: (1) mapped above, and this part of the address space is nothing else's.
        unsafe { records.add(slot).write(SlotRecord::new()) };
    }
    // SAFETY: (1) all of them are written; (2) they stay where they are seen, whatever memory they
    // are in.
    unsafe { core::slice::from_raw_parts_mut(records, SLOTS) }
}

/// Moves each page of them to the memory of its slots' node. Once, before other CPUs are up.
pub(super) fn settle(node_of: impl Fn(SlotIndex) -> usize) {
    let Some(lowest) = RECORDS.filter(|_| nodes::count() > 1) else { return };
    for (page, slot) in pages(lowest) {
        move_to(page, node_of(slot));
    }
}

/// Where there is no memory of that node, it stays.
fn move_to(page: u64, node: usize) {
    let (Ok(leaf), Some(old)) = (paging::kernel_leaf_or_new(page), paging::kernel_frame(page))
    else {
        return;
    };
    let is_there = |frame: &Frame| nodes::of_memory(frame.addr()) == node;
    if is_there(&old) {
        return;
    }
    let Some(new) = frames::alloc_zeroed_on(node) else { return };
    let left = if is_there(&new) {
        cpu::without_interrupts(|| {
            // SAFETY: (1) two whole frames of ours, in the direct map; nothing is written to the
            // old one meanwhile: no other CPU is up, interrupts are off, and NMIs have no handler
            // yet that takes or returns stacks.
            unsafe { new.bytes_ptr().copy_from_nonoverlapping(old.bytes_ptr(), PAGE_BYTES) };
            // First nothing, then the other frame: two translations at a time are none.
            leaf.store(0, core::sync::atomic::Ordering::Release);
            cpu::flush_page(page);
            paging::set_kernel_leaf(leaf, new);
        });
        old
    } else {
        new
    };
    frames::release(left);
}

/// The memory node that a slot's record is on; `None` if it is in the heap.
pub fn node_of_record(slot: SlotIndex) -> Option<usize> {
    let at = RECORDS? + (slot.index() * size_of::<SlotRecord>()) as u64;
    paging::kernel_frame(at).map(|frame| nodes::of_memory(frame.addr()))
}
