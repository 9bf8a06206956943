//! What all CPUs share: parked stacks, free slots, and how many parked stacks are enough.
//!
//! Everything here is used under the lock of [`crate::pool::PoolShared`]. The lists are linked through the records, so
//! they have no capacity and need no memory of their own; a slot is in at most one list.
//!
//! ```text
//!   depot:  head ──▶ 12 ──▶ 7 ──▶ 31 ──▶ END          parked stacks, mapped and clean
//!   free:   head ──▶ 3 ──▶ END                        slots that were used and are unmapped now
//!   free:   never_used = 40                           slots 40.. were never used (page tables may not exist yet)
//! ```
//!
//! **How many are enough.** The target follows the traffic: at the end of each period it decays to 4/5 and grows by
//! the difference between stacks taken and stacks given in that period. A steady load needs no stock and gets none
//! (its stacks cycle through the CPU caches); swings as large as the last periods' are served without mapping
//! anything. What exceeds the target is unmapped for real by the shrinker.
//!
//! Neighbours: [`crate::cache`] in front, [`crate::pool`] above.

use crate::arena::SlotIndex;
use crate::record::SlotRecord;

/// The end of a list. No arena has this slot: [`FreeSlots`] never hands it out.
const END: u32 = u32::MAX;

/// A list of slots, last in, first out, linked through the records.
#[derive(Clone, Debug)]
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
    pub fn push(&mut self, records: &[SlotRecord], slot: SlotIndex) {
        records[slot.index()].set_next(self.head);
        self.head = slot.get();
        self.count += 1;
    }

    /// The slot added last.
    #[inline]
    pub fn pop(&mut self, records: &[SlotRecord]) -> Option<SlotIndex> {
        if self.head == END {
            return None;
        }
        let slot = SlotIndex::new(self.head);
        self.head = records[slot.index()].next();
        self.count -= 1;
        Some(slot)
    }

    /// Calls `each` for every slot, the one added last first.
    pub fn for_each(&self, records: &[SlotRecord], mut each: impl FnMut(SlotIndex)) {
        let mut at = self.head;
        while at != END {
            let slot = SlotIndex::new(at);
            each(slot);
            at = records[slot.index()].next();
        }
    }
}

/// Parked stacks that any CPU may take.
#[derive(Clone, Debug)]
pub struct Depot {
    parked: SlotList,
    target: u32,
    taken: u32,
    given: u32,
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
        Self { parked: SlotList::new(), target: Self::FIRST_TARGET, taken: 0, given: 0 }
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
    pub fn take(&mut self, records: &[SlotRecord]) -> Option<SlotIndex> {
        let slot = self.parked.pop(records);
        if slot.is_some() {
            self.taken = self.taken.saturating_add(1);
        }
        slot
    }

    /// A parked stack, from a CPU.
    pub fn put(&mut self, records: &[SlotRecord], slot: SlotIndex) {
        self.parked.push(records, slot);
        self.given = self.given.saturating_add(1);
    }

    /// A parked stack, to be unmapped: does not count as traffic.
    pub fn remove(&mut self, records: &[SlotRecord]) -> Option<SlotIndex> {
        self.parked.pop(records)
    }

    /// Ends a period: the target decays by a fifth and grows by the period's swing. Called at a steady rate, say once a
    /// second.
    pub fn end_period(&mut self) {
        let kept = self.target - self.target.div_ceil(5);
        self.target = kept.saturating_add(self.taken.abs_diff(self.given));
        self.taken = 0;
        self.given = 0;
    }

    /// Calls `each` for every stack in it.
    pub fn for_each(&self, records: &[SlotRecord], each: impl FnMut(SlotIndex)) {
        self.parked.for_each(records, each);
    }
}

/// Slots in which nothing is mapped.
#[derive(Clone, Debug)]
pub struct FreeSlots {
    returned: SlotList,
    never_used: u32,
    slots: u32,
}

impl FreeSlots {
    /// All `slots` of an arena, none of them used yet. The number `u32::MAX` is never given.
    pub const fn new(slots: u32) -> Self {
        Self { returned: SlotList::new(), never_used: 0, slots }
    }

    /// How many there are.
    pub const fn count(&self) -> u32 {
        self.returned.count() + (self.slots - self.never_used)
    }

    /// The lowest number that no stack ever had: records from here on are untouched.
    pub const fn never_used(&self) -> SlotIndex {
        SlotIndex::new(self.never_used)
    }

    /// A slot to map; one that was used before if possible, because its page tables are there.
    pub fn take(&mut self, records: &[SlotRecord]) -> Option<SlotIndex> {
        if let Some(slot) = self.returned.pop(records) {
            return Some(slot);
        }
        if self.never_used == self.slots {
            return None;
        }
        let slot = SlotIndex::new(self.never_used);
        self.never_used += 1;
        Some(slot)
    }

    /// A slot in which nothing is mapped any more.
    pub fn put(&mut self, records: &[SlotRecord], slot: SlotIndex) {
        self.returned.push(records, slot);
    }

    /// Calls `each` for every slot that was used and is free again.
    pub fn for_each_returned(&self, records: &[SlotRecord], each: impl FnMut(SlotIndex)) {
        self.returned.for_each(records, each);
    }
}
