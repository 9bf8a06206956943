//! How stacks leave a pool: those that are more than enough, or all that are parked.

use super::{Lock, Pages, Pool};
use crate::addr::ByteSize;
use crate::arena::SlotIndex;
use crate::depot::Depot;

impl Pool<'_> {
    /// Unmaps up to `most` stacks that are more than enough; says how many. Where waiting is
    /// allowed.
    pub fn shrink(&self, most: u32, shared: &impl Lock, backing: &mut impl Pages) -> u32 {
        self.unmap_while(most, shared, backing, |depot| depot.excess() > 0)
    }

    /// Unmaps up to `most` stacks of the depot, wanted or not, because memory is short; says how
    /// many. Where waiting is allowed. Stacks in CPU caches stay: drain those first.
    pub fn reclaim(&self, most: u32, shared: &impl Lock, backing: &mut impl Pages) -> u32 {
        self.unmap_while(most, shared, backing, |_| true)
    }

    /// Unmaps whatever of a slot is mapped and says that it is free.
    pub(super) fn unmap(&self, slot: SlotIndex, backing: &mut impl Pages) {
        let record = self.record(slot);
        let mapped = record.body_range(&self.arena, slot);
        record.set_mapped_pages(0);
        if mapped.size() != ByteSize::ZERO {
            backing.unmap_pages(mapped);
        }
        record.life().set_free();
    }

    fn unmap_while(
        &self,
        most: u32,
        shared: &impl Lock,
        backing: &mut impl Pages,
        wanted: impl Fn(&Depot) -> bool,
    ) -> u32 {
        (0..shared.nodes())
            .fold(0, |done, node| done + self.unmap_on(node, most - done, shared, backing, &wanted))
    }

    fn unmap_on(
        &self,
        node: u32,
        most: u32,
        shared: &impl Lock,
        backing: &mut impl Pages,
        wanted: &impl Fn(&Depot) -> bool,
    ) -> u32 {
        let mut done = 0;
        while done < most {
            let next = shared.with_node(node, |shared| {
                shared.to_unmap.pop(self.records).or_else(|| {
                    if wanted(&shared.depot) { shared.depot.remove(self.records) } else { None }
                })
            });
            let Some(slot) = next else { break };
            // Outside the lock: this waits for other CPUs.
            if self.is_contiguous {
                self.give_run(slot, backing);
            } else {
                self.unmap(slot, backing);
                shared.with_node(node, |shared| shared.free.put(self.records, slot));
            }
            done += 1;
        }
        done
    }
}
