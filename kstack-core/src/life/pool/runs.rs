//! Physically contiguous stacks: where one comes to lie is the page allocator's choice.
//!
//! The arena of such a pool is a part of the kernel's map of all memory, cut at the alignment of
//! stacks, so that "which stack is this address on" is the same arithmetic. A slot is in use while
//! the allocator has given its frames to the pool, and is other memory before and after:
//!
//! ```text
//!   map of all memory   | others | stack | others | others | stack | stack | others |
//!   slot                    0        1        2        3       4       5        6
//!   record                free     live     free     free    parked   live    free
//! ```
//!
//! Everything else is as it is with mapped stacks: charge, caches, depot, lives, erasing, end word.
//! What is lost is the guard: see [`crate::geometry::Geometry::without_guards`].

use super::{AcquireError, Pages, Pool, PoolError, PoolShared};
use crate::addr::ByteSize;
use crate::arena::{Arena, Place, SlotIndex};
use crate::erase::ErasePolicy;
use crate::lifetime::LifeState;
use crate::record::SlotRecord;

impl<'r> Pool<'r> {
    /// A pool of physically contiguous stacks. `arena` is a part of a map of all memory, with a
    /// geometry without guards; [`Pages::take_run`] says where in it each stack lies.
    ///
    /// # Errors
    ///
    /// As for [`Pool::new`]; [`PoolError::HasGuards`] if the arena's geometry has guards.
    pub fn contiguous(
        arena: Arena,
        records: &'r mut [SlotRecord],
        policy: ErasePolicy,
    ) -> Result<(Self, PoolShared), PoolError> {
        if arena.geometry().has_guards() {
            return Err(PoolError::HasGuards);
        }
        let (pool, _) = Self::new(arena, records, policy)?;
        Ok((Self { is_contiguous: true, ..pool }, PoolShared::without_slots()))
    }

    /// Whether these stacks are physically contiguous.
    pub const fn is_contiguous(&self) -> bool {
        self.is_contiguous
    }

    /// A stack of `pages` pages where the allocator has room. On failure all is as before.
    pub(super) fn take_run(
        &self,
        pages: u8,
        backing: &mut impl Pages,
    ) -> Result<SlotIndex, AcquireError> {
        let stack = backing.take_run(pages)?;
        let last = stack.top.wrapping_sub(ByteSize::new(1));
        let slot = match self.arena.place(last) {
            Place::Body { slot, depth } if depth.get() == 1 => slot,
            // No record for it: it cannot be a stack.
            _ => {
                backing.give_run(stack);
                return Err(AcquireError::NoAddressSpace);
            }
        };
        let record = self.record(slot);
        debug_assert!(record.life().state() == LifeState::Free && record.mapped_pages() == 0);
        record.set_mapped_pages(pages);
        // Every CPU reaches all memory through the same map, which does not change.
        record.coherent().reset_to_all();
        backing.mark_end(stack.lowest);
        Ok(slot)
    }

    /// The frames of a parked stack go back to the allocator, who may give them to another CPU's
    /// stack at once: the record is free before.
    pub(super) fn give_run(&self, slot: SlotIndex, backing: &mut impl Pages) {
        let record = self.record(slot);
        let stack = record.body_range(&self.arena, slot);
        record.set_mapped_pages(0);
        record.life().set_free();
        backing.give_run(stack);
    }
}
