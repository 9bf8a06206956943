//! The heap of a program: the area that brk makes longer and shorter.

use super::space::Memory;
use crate::abi::USER_TOP;
use crate::error::Errno;
use crate::memory::areas::{Area, PAGE, flag};
use machine::arch::paging::Access;

impl Memory {
    /// Whether an area is part of what brk made, as Linux decides it for `maps`.
    pub fn is_heap(&self, area: &Area) -> bool {
        area.lowest < self.brk && area.top > self.brk_lowest
    }

    /// Where the heap begins.
    pub(crate) fn heap_lowest(&self) -> u64 {
        self.brk_lowest
    }

    /// Where the heap will start: above the image.
    pub fn set_brk_lowest(&mut self, address: u64) {
        self.brk_lowest = address.next_multiple_of(PAGE);
        self.brk = self.brk_lowest;
    }

    /// Moves the end of the heap; answers where it is then: where it was, if that cannot be.
    ///
    /// Only the range between the old end and the new one counts: what a program made of the heap
    /// below, holes, guards and other mappings, stays. One page stays free above it, and the gap
    /// below a stack, as on Linux.
    pub fn brk(&mut self, wanted: u64) -> u64 {
        if wanted < self.brk_lowest || wanted > USER_TOP - PAGE {
            return self.brk;
        }
        let (old, new) = (self.brk.next_multiple_of(PAGE), wanted.next_multiple_of(PAGE));
        let moved = if new < old {
            self.unmap(new, old).is_ok()
        } else if new > old {
            self.areas.is_free_with_gap(old, new + PAGE) && self.grow_heap(old, new).is_ok()
        } else {
            true
        };
        if moved {
            self.brk = wanted;
        }
        self.brk
    }

    fn grow_heap(&mut self, lowest: u64, top: u64) -> Result<(), Errno> {
        let area = Area::anonymous(lowest, top, true, Access { write: true, exec: false });
        let area = Area { flags: self.flags_to_come, ..area };
        self.may_have(&area, 0)?;
        let is_locked = area.has(flag::LOCKED) && !area.has(flag::LOCKED_ON_FAULT);
        self.areas.add(area)?;
        if is_locked {
            // As far as there is memory.
            let _as_far_as_it_goes = self.populate(lowest, top);
        }
        Ok(())
    }
}
