//! [`Stacks`] that are divided among memory nodes: which node a slot is of, and the lock that the
//! pool asks for.

use crate::backing::Backing;
use crate::nodes::{Nodes, NotDivided};
use crate::owned::{Shared, Stacks};
use core::sync::atomic::Ordering;
use kstack_core::addr::Addr;
use kstack_core::arena::{Place, SlotIndex};
use kstack_core::pool::{Census, Lock, PoolShared};

impl<B: Backing> Stacks<B> {
    #[inline(always)]
    fn nodes(&self) -> Option<&'static Nodes> {
        // SAFETY: (1) null, or the static that `divide` was given.
        unsafe { self.nodes.load(Ordering::Acquire).as_ref() }
    }

    /// Gives each of `count` memory nodes an equal part of the slots, and a depot. Once, on the
    /// first CPU, before others ask for stacks; those that are held until then are of node 0. From
    /// then on [`Backing::node`] is asked.
    ///
    /// # Errors
    ///
    /// [`NotDivided`], and nothing has changed.
    pub fn divide(&self, nodes: &'static Nodes, count: u32) -> Result<(), NotDivided> {
        let is_contiguous = self.pool().is_contiguous();
        let each = if is_contiguous { 0 } else { self.arena().slots() / count.max(1) };
        let further = nodes.further.get(..count.saturating_sub(1) as usize).ok_or(NotDivided)?;
        if Shared(self).with(|shared| shared.free().never_used().len() as u32) / each.max(1)
            < further.len() as u32 * u32::from(!is_contiguous)
        {
            return Err(NotDivided);
        }
        for part in further {
            let shared = Shared(self).with(|shared| shared.split_off(each));
            self.backing().without_interrupts(|| {
                part.with(|| self.backing().relax(), |part| *part = shared);
            });
        }
        nodes.slots_each.store(each, Ordering::Relaxed);
        nodes.count.store(count.max(1), Ordering::Relaxed);
        self.nodes.store(core::ptr::from_ref(nodes).cast_mut(), Ordering::Release);
        Ok(())
    }

    /// How many memory nodes these stacks are divided among.
    pub fn node_count(&self) -> u32 {
        self.nodes().map_or(1, Nodes::count)
    }

    /// The node of a stack: the memory behind it should be there.
    pub fn node_of(&self, slot: SlotIndex) -> u32 {
        let Some(nodes) = self.nodes() else { return 0 };
        if self.pool().is_contiguous() {
            return self.backing().node_of(self.arena().body(slot).lowest);
        }
        nodes.node_of(slot.get(), self.arena().slots())
    }

    /// The node of the stack that an address of the arena is of.
    pub fn node_at(&self, at: Addr) -> u32 {
        match self.arena().place(at) {
            Place::Outside => 0,
            Place::GuardBelow { slot, .. }
            | Place::Body { slot, .. }
            | Place::GuardAbove { slot, .. } => self.node_of(slot),
        }
    }

    /// Counts the slots of a node, without a lock: exact when nothing happens meanwhile.
    pub fn census_on(&self, node: u32) -> Census {
        self.pool().census_of(|slot| self.node_of(slot) == node)
    }

    /// How many stacks a node's depot has, and how many it wants.
    pub fn depot_counts_on(&self, node: u32) -> (u32, u32) {
        Shared(self).with_node(node, |shared| (shared.depot().count(), shared.depot().target()))
    }

    /// Asks each node's shared part, one after the other.
    pub(crate) fn each_node<R>(
        &self,
        ask: impl Fn(&mut PoolShared) -> R,
    ) -> impl Iterator<Item = R> {
        (0..self.node_count()).map(move |node| Shared(self).with_node(node, &ask))
    }

    #[cold]
    #[inline(never)]
    fn is_of_this_node(&self, slot: SlotIndex) -> bool {
        self.node_of(slot) == self.backing().node()
    }
}

impl<B: Backing> Lock for Shared<'_, B> {
    #[inline]
    fn with<R>(&self, body: impl FnOnce(&mut PoolShared) -> R) -> R {
        let stacks = self.0;
        if stacks.nodes().is_some() {
            return self.with_node(stacks.backing().node(), body);
        }
        let backing = stacks.backing();
        backing.without_interrupts(|| stacks.shared.with(|| backing.relax(), body))
    }

    #[inline]
    fn nodes(&self) -> u32 {
        self.0.node_count()
    }

    fn with_node<R>(&self, node: u32, body: impl FnOnce(&mut PoolShared) -> R) -> R {
        let stacks = self.0;
        let backing = stacks.backing();
        backing.without_interrupts(|| {
            let further = stacks.nodes().filter(|nodes| (1..nodes.count()).contains(&node));
            match further {
                None => stacks.shared.with(|| backing.relax(), body),
                Some(nodes) => nodes.further[node as usize - 1].with(
                    || backing.relax(),
                    |part| match part {
                        Some(part) => body(part),
                        None => unreachable!("a node was counted before it had its part"),
                    },
                ),
            }
        })
    }

    #[inline]
    fn node_of(&self, slot: SlotIndex) -> u32 {
        self.0.node_of(slot)
    }

    #[inline(always)]
    fn is_near(&self, slot: SlotIndex) -> bool {
        self.0.nodes.load(Ordering::Relaxed).is_null() || self.0.is_of_this_node(slot)
    }
}
