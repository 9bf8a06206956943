//! What is free on each memory node: a list of frames that came back, and what was never given out.
//!
//! ```text
//!   a frame is asked for on a CPU of node 1:    node 1's list, node 1's fresh memory, then the nearest node's
//!   a frame comes back, wherever:               into the list of the node that its memory is of
//! ```
//!
//! Until [`divide`] all memory is node 0's, and on a machine with one node it stays that.

use super::table::{Entry, FRAME_BYTES, NONE, TOTAL, address_of, entry_at};
use crate::nodes::{self, MAX_NODES};
use crate::spin::SpinLock;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Stretches of memory that are kept at most; more are left unused.
const MAX_STRETCHES: usize = 160;

/// What is free of one node's memory.
pub(super) struct FreeList {
    /// The frame given back last, by its place in the table.
    pub(super) first: u32,
    /// The run given back last, by the place of its first frame.
    pub(super) first_run: u32,
    /// Frames in the lists and in the stretches.
    pub(super) free: usize,
    /// Frames that were never given out, by their place in the table: from the first number up to
    /// the second.
    pub(super) fresh: [(u32, u32); MAX_STRETCHES],
    /// Where each stretch began: from there up to its first fresh frame all entries are written.
    pub(super) begins: [u32; MAX_STRETCHES],
    pub(super) stretches: usize,
    /// The stretch that frames are taken from.
    pub(super) current: usize,
}

impl FreeList {
    const fn new() -> Self {
        Self {
            first: NONE,
            first_run: NONE,
            free: 0,
            fresh: [(0, 0); MAX_STRETCHES],
            begins: [0; MAX_STRETCHES],
            stretches: 0,
            current: 0,
        }
    }

    /// A stretch whose frames from `at` up to `top` are fresh. Whether there is room to keep that.
    pub(super) fn add(&mut self, begin: u32, at: u32, top: u32) -> bool {
        let place = self.stretches;
        let (Some(fresh), Some(begins)) = (self.fresh.get_mut(place), self.begins.get_mut(place))
        else {
            return false;
        };
        *fresh = (at, top);
        *begins = begin;
        self.stretches += 1;
        self.free += top.saturating_sub(at) as usize;
        true
    }

    /// A frame that has no user any more.
    #[inline(always)]
    pub(super) fn put(&mut self, (index, entry): (usize, &Entry)) {
        entry.next.store(self.first, Ordering::Relaxed);
        self.first = index as u32;
        self.free += 1;
    }

    #[inline(always)]
    fn take(&mut self) -> Option<u32> {
        let index = if self.first == NONE {
            self.take_fresh()?
        } else {
            let index = self.first;
            self.first = entry_at(index as usize).next.load(Ordering::Relaxed);
            index
        };
        self.free -= 1;
        Some(index)
    }

    /// A frame that was never given out, or else one of a run.
    #[cold]
    fn take_fresh(&mut self) -> Option<u32> {
        loop {
            let Some((at, top)) = self.fresh[..self.stretches].get_mut(self.current) else {
                return self.break_run();
            };
            if at < top {
                *at += 1;
                return Some(*at - 1);
            }
            self.current += 1;
        }
    }
}

/// By node.
pub(super) static FREE: [SpinLock<FreeList>; MAX_NODES] =
    [const { SpinLock::new(FreeList::new()) }; MAX_NODES];
static TOTALS: [AtomicUsize; MAX_NODES] = [const { AtomicUsize::new(0) }; MAX_NODES];
static FALLBACKS: [AtomicUsize; MAX_NODES] = [const { AtomicUsize::new(0) }; MAX_NODES];

/// The list of a node.
#[inline(always)]
pub(super) fn list_of(node: usize) -> &'static SpinLock<FreeList> {
    &FREE[node % MAX_NODES]
}

/// Those of all nodes.
pub(super) fn all_lists() -> impl Iterator<Item = &'static SpinLock<FreeList>> {
    FREE.iter().take(nodes::count())
}

/// A frame of this node, or, when it has none left, of the nearest one that has; by its place in
/// the table.
#[inline(always)]
pub(super) fn take(node: usize) -> Option<u32> {
    let found = list_of(node).lock().take();
    if found.is_some() { found } else { elsewhere(node, FreeList::take) }
}

/// Asks the other nodes, the nearest first, and counts that.
#[cold]
#[inline(never)]
pub(super) fn elsewhere(node: usize, ask: impl Fn(&mut FreeList) -> Option<u32>) -> Option<u32> {
    let mut others = nodes::others_by_distance(node);
    let found = others.find_map(|other| ask(&mut list_of(other).lock()));
    if found.is_some() {
        FALLBACKS[node % MAX_NODES].fetch_add(1, Ordering::Relaxed);
    }
    found
}

/// How often a frame was asked for on this node, and given from another.
pub fn fallbacks(node: usize) -> usize {
    FALLBACKS[node % MAX_NODES].load(Ordering::Relaxed)
}

/// Frames that are free on a node now.
pub fn free_count_on(node: usize) -> usize {
    list_of(node).lock().free
}

/// Frames of a node's that the allocator was given at boot.
pub fn total_count_on(node: usize) -> usize {
    if nodes::count() == 1 {
        return TOTAL.load(Ordering::Relaxed);
    }
    TOTALS[node % MAX_NODES].load(Ordering::Relaxed)
}

/// Gives each node its memory, once, when all nodes are known and other CPUs are not up. Says
/// whether all of it could be kept.
pub fn divide() -> bool {
    if nodes::count() == 1 {
        return true;
    }
    let mut all = FREE[0].lock();
    let (fresh, begins, stretches) = (all.fresh, all.begins, all.stretches);
    let mut single = all.first;
    *all = FreeList::new();
    drop(all);
    let mut is_kept = true;
    for (&begin, &(at, top)) in begins.iter().zip(&fresh).take(stretches) {
        let mut from = begin;
        while from < top {
            let physical = address_of(from);
            let border = nodes::next_border(physical).saturating_sub(address_of(0)) / FRAME_BYTES;
            let end = border.min(u64::from(top)).max(u64::from(from) + 1) as u32;
            let node = nodes::of_memory(physical);
            is_kept &= list_of(node).lock().add(from, at.clamp(from, end), end);
            TOTALS[node % MAX_NODES].fetch_add((end - from) as usize, Ordering::Relaxed);
            from = end;
        }
    }
    while single != NONE {
        let entry = entry_at(single as usize);
        let next = entry.next.load(Ordering::Relaxed);
        let node = nodes::of_memory(address_of(single));
        list_of(node).lock().put((single as usize, entry));
        single = next;
    }
    is_kept
}

/// What was never given out so far, lowest first: a copy.
pub fn fresh() -> impl Iterator<Item = (u64, u64)> {
    (0..nodes::count()).flat_map(|node| {
        let (fresh, stretches) = {
            let free = list_of(node).lock();
            (free.fresh, free.stretches)
        };
        let pairs = fresh.into_iter().take(stretches);
        pairs.map(|(at, top)| (address_of(at), address_of(top)))
    })
}
