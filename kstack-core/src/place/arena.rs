//! One stretch of address space cut into equal slots: which stack an address belongs to is
//! arithmetic.
//!
//! Because every slot has the same [`Geometry`], "which stack, which side, how far" is a division
//! and two comparisons. It needs no lock, no list and no memory access, so it works in the overflow
//! handler and in an NMI.
//!
//! ```text
//!   slot 0                                   slot 1
//!   | guard below | body        | guard above | guard below | body ...
//!   ^ arena lowest ^ body(0).lowest            ^ arena lowest + stride
//! ```
//!
//! A body may be *part* mapped (an exception stack of 8 KiB in a 16 KiB body): the mapped part ends
//! at the body's top, and the rest of the body acts as a wider guard below. The stack's record says
//! how much is mapped.

use crate::addr::{Addr, AddrRange, ByteSize};
use crate::geometry::Geometry;
use crate::sentences::sentences;
use core::fmt;

/// The number of a slot in its arena.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct SlotIndex(u32);

impl SlotIndex {
    /// The slot with this number.
    #[inline(always)]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    #[inline(always)]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number as an index into a table of records.
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A range of address space that holds `slots` stacks of one geometry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arena {
    lowest: Addr,
    slots: u32,
    geometry: Geometry,
}

/// Where an address lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a slot has these parts and no others")]
pub enum Place {
    /// Not in the arena.
    Outside,
    /// In the guard below the body of `slot`.
    GuardBelow {
        /// The slot that owns the guard.
        slot: SlotIndex,
        /// Bytes from the address up to the body's lowest byte; at least 1.
        distance: ByteSize,
    },
    /// In the body of `slot`.
    Body {
        /// The slot.
        slot: SlotIndex,
        /// Bytes from the address up to the body's top; at least 1. For an SP this is the depth.
        depth: ByteSize,
    },
    /// In the guard above the body of `slot`.
    GuardAbove {
        /// The slot that owns the guard.
        slot: SlotIndex,
        /// Bytes from the body's top up to the address; 0 for the first byte above.
        distance: ByteSize,
    },
}

/// Why an arena was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ArenaError {
    /// The first body would not be aligned as the geometry demands.
    MisalignedBody,
    /// It would reach past the end of the address space, or would have no slot.
    BadSize,
}

sentences!(ArenaError {
    MisalignedBody => "the first body of the arena is not aligned as its geometry demands",
    BadSize => "the arena has no slot, or reaches past the end of the address space",
});

impl fmt::Display for SlotIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Arena {
    /// The arena whose first slot starts at `lowest`. `lowest + guard_below` must have the
    /// geometry's alignment: [`Arena::lowest_from`] finds such an address.
    ///
    /// # Errors
    ///
    /// [`ArenaError`] names the rule that the values break.
    pub const fn new(lowest: Addr, slots: u32, geometry: Geometry) -> Result<Self, ArenaError> {
        let first_body = lowest.wrapping_add(geometry.guard_below());
        if !first_body.is_aligned(geometry.align()) {
            return Err(ArenaError::MisalignedBody);
        }
        match (geometry.stride().get()).checked_mul(slots as usize) {
            Some(0) | None => Err(ArenaError::BadSize),
            Some(bytes) => match lowest.checked_add(ByteSize::new(bytes)) {
                None => Err(ArenaError::BadSize),
                Some(_) => Ok(Self { lowest, slots, geometry }),
            },
        }
    }

    /// The lowest address at or above `hint` at which an arena of this geometry may start; `None`
    /// if there is none.
    pub const fn lowest_from(hint: Addr, geometry: Geometry) -> Option<Addr> {
        let Some(body) = hint.checked_add(geometry.guard_below()) else { return None };
        match body.get().checked_next_multiple_of(geometry.align().get()) {
            Some(body) => Addr::new(body).checked_sub(geometry.guard_below()),
            None => None,
        }
    }

    /// The shape of its stacks.
    #[inline(always)]
    pub const fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// How many slots it has.
    #[inline(always)]
    pub const fn slots(&self) -> u32 {
        self.slots
    }

    /// All its addresses, guards included.
    #[inline(always)]
    pub const fn range(&self) -> AddrRange {
        let bytes = self.geometry.stride().get() * self.slots as usize;
        AddrRange::sized(self.lowest, ByteSize::new(bytes))
    }

    /// All addresses of a slot, guards included. `slot` must be one of this arena's.
    #[inline(always)]
    pub const fn slot(&self, slot: SlotIndex) -> AddrRange {
        let stride = self.geometry.stride();
        let lowest = self.lowest.wrapping_add(ByteSize::new(stride.get() * slot.index()));
        AddrRange::sized(lowest, stride)
    }

    /// The body of a slot: what a stack may use. `slot` must be one of this arena's.
    #[inline(always)]
    pub const fn body(&self, slot: SlotIndex) -> AddrRange {
        let lowest = self.slot(slot).lowest.wrapping_add(self.geometry.guard_below());
        AddrRange::sized(lowest, self.geometry.body())
    }

    /// Where `addr` lies. Closed form: usable without a lock in any context. About 15 instructions.
    #[inline(always)]
    pub const fn place(&self, addr: Addr) -> Place {
        let offset = addr.bytes_above(self.lowest).get();
        let stride = self.geometry.stride().get();
        let slot = offset / stride;
        if slot >= self.slots as usize {
            return Place::Outside;
        }
        let slot = SlotIndex(slot as u32);
        let within = offset % stride;
        let body_lowest = self.geometry.guard_below().get();
        let body_top = body_lowest + self.geometry.body().get();
        if within < body_lowest {
            Place::GuardBelow { slot, distance: ByteSize::new(body_lowest - within) }
        } else if within < body_top {
            Place::Body { slot, depth: ByteSize::new(body_top - within) }
        } else {
            Place::GuardAbove { slot, distance: ByteSize::new(within - body_top) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOWEST: Addr = Addr::new(0xffff_c900_0000_1000);

    fn arena(geometry: Geometry) -> Arena {
        let lowest = Arena::lowest_from(LOWEST, geometry).expect("far from the end");
        Arena::new(lowest, 3, geometry).expect("the test's arena is valid")
    }

    #[test]
    fn b1_every_byte_of_three_slots_is_placed_as_the_drawing_has_it() {
        for geometry in
            [Geometry::X86_64, Geometry::ARM64, Geometry::I386, Geometry::ARM32, Geometry::RISCV64]
        {
            let arena = arena(geometry);
            for number in 0..3 {
                let slot = SlotIndex::new(number);
                let (all, body) = (arena.slot(slot), arena.body(slot));
                for addr in (all.lowest.get()..all.top.get()).map(Addr::new) {
                    let expected = if addr < body.lowest {
                        Place::GuardBelow { slot, distance: body.lowest.bytes_above(addr) }
                    } else if addr < body.top {
                        Place::Body { slot, depth: body.top.bytes_above(addr) }
                    } else {
                        Place::GuardAbove { slot, distance: addr.bytes_above(body.top) }
                    };
                    assert_eq!(arena.place(addr), expected);
                }
            }
            let range = arena.range();
            assert_eq!(arena.place(range.top), Place::Outside);
            assert_eq!(arena.place(range.lowest.wrapping_sub(ByteSize::new(1))), Place::Outside);
            assert_eq!(arena.place(Addr::new(0)), Place::Outside);
            assert_eq!(arena.place(Addr::new(usize::MAX)), Place::Outside);
        }
    }

    #[test]
    fn t1_one_bit_of_sp_tells_an_overflow_where_bodies_are_aligned_to_twice_their_size() {
        for geometry in [Geometry::ARM64, Geometry::ARM32] {
            let arena = arena(geometry);
            for number in 0..3 {
                let body = arena.body(SlotIndex::new(number));
                for sp in (body.lowest.get()..body.top.get()).map(Addr::new) {
                    assert!(!geometry.sp_bit_says_overflow(sp));
                }
                let guard = body.lowest.get() - geometry.guard_below().get();
                for sp in (guard..body.lowest.get()).map(Addr::new) {
                    assert!(geometry.sp_bit_says_overflow(sp));
                }
            }
        }
    }

    #[test]
    fn t1_an_arena_that_would_misalign_its_bodies_is_refused() {
        let from = |hint, geometry| Arena::lowest_from(hint, geometry).expect("room");
        let lowest = from(LOWEST, Geometry::ARM64).wrapping_add(ByteSize::PAGE);
        assert_eq!(Arena::new(lowest, 1, Geometry::ARM64), Err(ArenaError::MisalignedBody));
        let high = from(Addr::new(usize::MAX - 0xf_ffff), Geometry::X86_64);
        assert_eq!(Arena::new(high, 1 << 20, Geometry::X86_64), Err(ArenaError::BadSize));
        assert_eq!(Arena::new(high, 0, Geometry::X86_64), Err(ArenaError::BadSize));
        // The last slot may not end where addresses end: its top would be 0.
        let fits = (usize::MAX - high.get()) / Geometry::X86_64.stride().get();
        assert!(Arena::new(high, fits as u32, Geometry::X86_64).is_ok());
        assert_eq!(Arena::new(high, fits as u32 + 1, Geometry::X86_64), Err(ArenaError::BadSize));
    }

    /// Red if a sum wraps: the arena would start near address 0.
    #[test]
    fn t1_an_arena_that_cannot_start_above_the_hint_starts_nowhere() {
        for geometry in [Geometry::X86_64, Geometry::ARM64, Geometry::RISCV64] {
            let align = geometry.align().get();
            let below = geometry.guard_below().get();
            for hint in
                [usize::MAX, usize::MAX - below, usize::MAX - below + 1, usize::MAX - align + 2]
            {
                assert_eq!(Arena::lowest_from(Addr::new(hint), geometry), None, "{hint:#x}");
            }
            for hint in [0, 1, align, 0x7654_3210, usize::MAX - 4 * align] {
                let lowest = Arena::lowest_from(Addr::new(hint), geometry).expect("room");
                assert!(lowest.get() >= hint && lowest.get() - hint < align, "{hint:#x}");
                assert!(lowest.wrapping_add(geometry.guard_below()).is_aligned(geometry.align()));
            }
        }
    }
}
