//! What all CPUs share: parked stacks, free slots, and how many parked stacks are enough.
//!
//! Everything here is used under the lock of [`crate::pool::PoolShared`]. The lists are linked
//! through the records, so they have no capacity and need no memory of their own; a slot is in at
//! most one list.
//!
//! ```text
//!   depot:  head ──▶ 12 ──▶ 7 ──▶ 31 ──▶ END          parked stacks, mapped and clean
//!   free:   head ──▶ 3 ──▶ END                        slots that were used and are unmapped now
//!   free:   never_used = 40                           slots 40.. were never used (page tables may not exist yet)
//! ```
//!
//! **How many are enough.** The target follows the swings: at the end of each period it decays to
//! 4/5 and grows by the difference between stacks taken and stacks given in that period; and it is
//! at least as large as the period's *swing*, the difference between the most and the fewest stacks
//! that the period's traffic left here. A steady load needs no stock and gets none (its stacks
//! cycle through the CPU caches); a swing that comes again and again, within one period or across
//! several, finds its stacks here and maps nothing. What exceeds the target is unmapped for real by
//! the shrinker.
//!
//! Neighbours: [`crate::cache`] in front, [`crate::pool`] above.

use crate::arena::SlotIndex;
use crate::record::SlotRecord;

/// The end of a list. No arena has this slot: [`FreeSlots`] never hands it out.
const END: u32 = u32::MAX;

/// A list of slots, last in, first out, linked through the records. Neither this nor what is made
/// of it can be copied: a slot that two lists had would be given out twice.
#[derive(Debug)]
pub struct SlotList {
    head: u32,
    count: u32,
}

impl Default for SlotList {
    fn default() -> Self {
        Self::new()
    }
}

impl SlotList {
    /// Empty.
    pub const fn new() -> Self {
        Self { head: END, count: 0 }
    }

    /// How many slots it has.
    #[inline(always)]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Adds a slot, which must be in no list.
    #[inline]
    pub(crate) fn push(&mut self, records: &[SlotRecord], slot: SlotIndex) {
        records[slot.index()].set_next(self.head);
        self.head = slot.get();
        self.count += 1;
    }

    /// The slot added last.
    #[inline]
    pub(crate) fn pop(&mut self, records: &[SlotRecord]) -> Option<SlotIndex> {
        if self.head == END {
            return None;
        }
        let slot = SlotIndex::new(self.head);
        self.head = records[slot.index()].next();
        self.count -= 1;
        Some(slot)
    }

    /// Calls `each` for every slot, the one added last first.
    #[cfg(test)]
    pub(crate) fn for_each(&self, records: &[SlotRecord], mut each: impl FnMut(SlotIndex)) {
        let mut at = self.head;
        while at != END {
            let slot = SlotIndex::new(at);
            each(slot);
            at = records[slot.index()].next();
        }
    }
}

/// Parked stacks that any CPU may take.
#[derive(Debug)]
pub struct Depot {
    parked: SlotList,
    target: u32,
    /// Stacks given less stacks taken in this period, so far; and the least and the most that it
    /// was.
    balance: i32,
    fewest: i32,
    most: i32,
}

impl Default for Depot {
    fn default() -> Self {
        Self::new()
    }
}

impl Depot {
    /// The target before the first period has ended.
    pub const FIRST_TARGET: u32 = 16;

    /// Empty.
    pub const fn new() -> Self {
        Self { parked: SlotList::new(), target: Self::FIRST_TARGET, balance: 0, fewest: 0, most: 0 }
    }

    /// How many stacks it has.
    #[inline(always)]
    pub const fn count(&self) -> u32 {
        self.parked.count()
    }

    /// How many are enough.
    #[inline(always)]
    pub const fn target(&self) -> u32 {
        self.target
    }

    /// How many are more than enough.
    #[inline(always)]
    pub const fn excess(&self) -> u32 {
        self.count().saturating_sub(self.target)
    }

    /// A parked stack, for a CPU.
    pub(crate) fn take(&mut self, records: &[SlotRecord]) -> Option<SlotIndex> {
        let slot = self.parked.pop(records);
        if slot.is_some() {
            self.balance = self.balance.saturating_sub(1);
            self.fewest = self.fewest.min(self.balance);
        }
        slot
    }

    /// A parked stack, from a CPU.
    pub(crate) fn put(&mut self, records: &[SlotRecord], slot: SlotIndex) {
        self.parked.push(records, slot);
        self.balance = self.balance.saturating_add(1);
        self.most = self.most.max(self.balance);
    }

    /// A parked stack, to be unmapped: does not count as traffic.
    pub(crate) fn remove(&mut self, records: &[SlotRecord]) -> Option<SlotIndex> {
        self.parked.pop(records)
    }

    /// Ends a period: the target decays by a fifth, grows by what is left of the period's swing,
    /// and is at least that swing. Called at a steady rate, say once a second.
    pub(crate) fn end_period(&mut self) {
        let kept = self.target - self.target.div_ceil(5);
        let swing = self.most.abs_diff(self.fewest);
        self.target = kept.saturating_add(self.balance.unsigned_abs()).max(swing);
        self.balance = 0;
        self.fewest = 0;
        self.most = 0;
    }

    /// Calls `each` for every stack in it.
    #[cfg(test)]
    pub(crate) fn for_each(&self, records: &[SlotRecord], each: impl FnMut(SlotIndex)) {
        self.parked.for_each(records, each);
    }
}

/// Slots in which nothing is mapped.
#[derive(Debug)]
pub struct FreeSlots {
    returned: SlotList,
    /// From here up to `top`, no slot was ever used.
    never_used: u32,
    top: u32,
}

impl FreeSlots {
    /// All `slots` of an arena, none of them used yet. The number `u32::MAX` is never given.
    pub(crate) const fn new(slots: u32) -> Self {
        Self { returned: SlotList::new(), never_used: 0, top: slots }
    }

    /// Takes the highest `slots` that were never used, for another node; `None` if there are not so
    /// many. No slot is in both.
    pub(crate) const fn split_off(&mut self, slots: u32) -> Option<Self> {
        if slots > self.top - self.never_used {
            return None;
        }
        let (from, top) = (self.top - slots, self.top);
        self.top = from;
        Some(Self { returned: SlotList::new(), never_used: from, top })
    }

    /// How many there are.
    pub const fn count(&self) -> u32 {
        self.returned.count() + (self.top - self.never_used)
    }

    /// The slots that no stack ever had: their records are untouched.
    pub const fn never_used(&self) -> core::ops::Range<u32> {
        self.never_used..self.top
    }

    /// A slot to map; one that was used before if possible, because its page tables are there.
    pub(crate) fn take(&mut self, records: &[SlotRecord]) -> Option<SlotIndex> {
        if let Some(slot) = self.returned.pop(records) {
            return Some(slot);
        }
        if self.never_used == self.top {
            return None;
        }
        let slot = SlotIndex::new(self.never_used);
        self.never_used += 1;
        Some(slot)
    }

    /// A slot in which nothing is mapped any more.
    pub(crate) fn put(&mut self, records: &[SlotRecord], slot: SlotIndex) {
        self.returned.push(records, slot);
    }

    /// Calls `each` for every slot that was used and is free again.
    #[cfg(test)]
    pub(crate) fn for_each_returned(&self, records: &[SlotRecord], each: impl FnMut(SlotIndex)) {
        self.returned.for_each(records, each);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slots that were used are this node's for good: counted among those that can go, one slot
    /// would be in two nodes' hands.
    #[test]
    fn t6_a_node_gets_at_most_the_slots_that_were_never_used() {
        let records: [SlotRecord; 4] = core::array::from_fn(|_| SlotRecord::new());
        let mut free = FreeSlots::new(4);
        assert_eq!(free.take(&records), Some(SlotIndex::new(0)));
        assert!(free.split_off(4).is_none());
        let other = free.split_off(3).expect("as many as there are");
        assert_eq!((free.count(), other.never_used()), (0, 1..4));
        assert!(free.take(&records).is_none());
        assert!(free.split_off(0).is_some_and(|none| none.count() == 0));
    }
}
