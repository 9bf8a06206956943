//! The stacks that one CPU keeps at hand.
//!
//! A small array used as a stack of stacks: last freed, first given, so that what is given is warm.
//! It belongs to one CPU and is used with interrupts off there, so it needs neither a lock nor an
//! atomic; a hit is a load, a decrement and a store.
//!
//! ```text
//!   slots: [ 12 | 7 | 31 | 5 | - | - | - | - ]      len = 4
//!            coldest        ^ warmest: taken next
//! ```
//!
//! Invariants:
//!
//! 1. every stack in it is parked: mapped in full, clean, with clear dirty bits;
//! 2. this CPU is coherent with every stack in it ([`crate::erase`]): it was recycled here, or its
//!    TLB entries were dropped when it came from the depot; so a hit does no TLB work;
//! 3. it moves half its capacity at a time from and to the depot, so that a CPU that frees and
//!    takes around the border does not lock each time.
//!
//! Neighbours: [`crate::depot`] behind it, [`crate::pool`] above it.

use crate::addr::CpuId;
use crate::arena::SlotIndex;
use crate::depot::Depot;
use crate::erase::CpuBit;
use crate::record::SlotRecord;

/// How many stacks a CPU keeps.
pub const CACHE_STACKS: usize = 8;

/// How many move at a time between a CPU and the depot.
pub const CACHE_HALF: usize = CACHE_STACKS / 2;

/// What became of a stack offered to the cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a stack that was not kept must go elsewhere"]
#[expect(clippy::exhaustive_enums, reason = "the pool does something for each of them")]
pub enum Put {
    /// The cache has it.
    Kept,
    /// The cache was full and the caller still has it.
    Full,
}

/// What happened on this CPU so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct CacheStats {
    /// Stacks given from the cache, without a lock.
    pub hits: u64,
    /// Stacks given after a refill from the depot.
    pub refills: u64,
    /// Stacks mapped anew.
    pub misses: u64,
    /// Times that half of the cache went to the depot.
    pub flushes: u64,
    /// Pages erased when stacks came back.
    pub erased_pages: u64,
}

/// The stacks of one CPU. Filled and emptied by the [`Pool`](crate::pool::Pool) alone, and never
/// copied: a stack that two caches had would be given out twice.
#[derive(Debug)]
pub struct CpuCache {
    slots: [SlotIndex; CACHE_STACKS],
    len: usize,
    cpu: CpuId,
    bit: CpuBit,
    pub(crate) stats: CacheStats,
}

impl CpuCache {
    /// The empty cache of `cpu`.
    pub const fn new(cpu: CpuId) -> Self {
        let stats = CacheStats { hits: 0, refills: 0, misses: 0, flushes: 0, erased_pages: 0 };
        Self { slots: [SlotIndex::new(0); CACHE_STACKS], len: 0, cpu, bit: CpuBit::of(cpu), stats }
    }

    /// The CPU it belongs to.
    #[inline(always)]
    pub const fn cpu(&self) -> CpuId {
        self.cpu
    }

    /// The CPU as a member of a coherent set.
    #[inline(always)]
    pub(crate) const fn bit(&self) -> CpuBit {
        self.bit
    }

    /// How many stacks it has.
    #[inline(always)]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    #[inline(always)]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What it has, coldest first.
    pub fn stacks(&self) -> &[SlotIndex] {
        &self.slots[..self.len]
    }

    /// What happened so far.
    pub const fn stats(&self) -> CacheStats {
        self.stats
    }

    /// The warmest stack.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Option<SlotIndex> {
        let last = self.len.checked_sub(1)?;
        let slot = *self.slots.get(last)?;
        self.len = last;
        Some(slot)
    }

    /// Keeps a stack, if there is room.
    #[inline(always)]
    pub(crate) fn put(&mut self, slot: SlotIndex) -> Put {
        let len = self.len;
        match self.slots.get_mut(len) {
            Some(place) => {
                *place = slot;
                self.len = len + 1;
                Put::Kept
            }
            None => Put::Full,
        }
    }

    /// Takes stacks from the depot until the cache is half full or the depot empty. Returns how
    /// many. The caller must make this CPU coherent with them (they are the last ones in
    /// [`CpuCache::stacks`]).
    pub(crate) fn refill_from(&mut self, depot: &mut Depot, records: &[SlotRecord]) -> usize {
        let before = self.len;
        while self.len < CACHE_HALF {
            let Some(slot) = depot.take(records) else { break };
            self.slots[self.len] = slot;
            self.len += 1;
        }
        self.len - before
    }

    /// Gives the colder half of a full cache (in general: what exceeds half) to the depot. Returns
    /// how many.
    pub(crate) fn flush_half_to(&mut self, depot: &mut Depot, records: &[SlotRecord]) -> usize {
        let surplus = self.len.saturating_sub(CACHE_HALF);
        for &slot in &self.slots[..surplus] {
            depot.put(records, slot);
        }
        self.slots.copy_within(surplus..self.len, 0);
        self.len -= surplus;
        surplus
    }

    /// Gives everything to the depot. Returns how many.
    pub(crate) fn drain(&mut self, depot: &mut Depot, records: &[SlotRecord]) -> usize {
        let all = self.len;
        for &slot in &self.slots[..all] {
            depot.put(records, slot);
        }
        self.len = 0;
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The caller makes the CPU coherent with the last stacks of the cache, as many as a refill
    /// says: one too many is a wasted flush, one too few a stack whose old TLB entries swallow a
    /// dirtying. A thread that was moved to another CPU refills a cache that has some.
    #[test]
    fn t4_a_refill_says_how_many_stacks_came_whatever_was_there() {
        let records: [SlotRecord; 8] = core::array::from_fn(|_| SlotRecord::new());
        let mut depot = Depot::new();
        for slot in 1..8 {
            depot.put(&records, SlotIndex::new(slot));
        }
        let mut cache = CpuCache::new(CpuId::new(0));
        assert!(cache.is_empty());
        assert_eq!(cache.put(SlotIndex::new(0)), Put::Kept);
        assert!(!cache.is_empty());
        assert_eq!(cache.refill_from(&mut depot, &records), CACHE_HALF - 1);
        assert_eq!((cache.len(), cache.stacks()[0]), (CACHE_HALF, SlotIndex::new(0)));
        assert_eq!(cache.refill_from(&mut depot, &records), 0);
    }
}
