//! Memory nodes: each has slots of its own, and a depot of its own, of the same
//! [`Stacks`](crate::Stacks).
//!
//! ```text
//!   arena    | slots of node 0                  | slots of node 2 | slots of node 1 |
//!   shared   | depot, free slots, lock: node 0  | the same        | the same        |
//!   CPU      on node 1: its cache has stacks of node 1 only
//! ```
//!
//! A stack is taken from the node of the CPU that asks, and comes back to the node that it is of,
//! whichever CPU lets go of it. When a node has no slot left, another's is taken; it goes home all
//! the same. Which frames are mapped to a slot is the backing's choice: it asks
//! [`Stacks::node_at`](crate::Stacks::node_at).

use crate::lock::SpinLock;
use core::sync::atomic::{AtomicU32, Ordering};
use kstack_core::pool::PoolShared;

/// The most memory nodes that stacks are divided among.
pub const MAX_NODES: usize = 8;

/// What CPUs share of the second node's stacks and of all further ones. In a static of the
/// kernel's, for [`Stacks::divide`](crate::Stacks::divide).
#[derive(Debug)]
pub struct Nodes {
    pub(crate) count: AtomicU32,
    /// Slots of each node but the first, from the arena's top down.
    pub(crate) slots_each: AtomicU32,
    pub(crate) further: [SpinLock<Option<PoolShared>>; MAX_NODES - 1],
}

impl Default for Nodes {
    fn default() -> Self {
        Self::new()
    }
}

impl Nodes {
    /// Not in use yet.
    pub const fn new() -> Self {
        Self {
            count: AtomicU32::new(1),
            slots_each: AtomicU32::new(0),
            further: [const { SpinLock::new(None) }; MAX_NODES - 1],
        }
    }

    pub(crate) fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// By arithmetic, as everything about slots.
    pub(crate) fn node_of(&self, slot: u32, slots: u32) -> u32 {
        let each = self.slots_each.load(Ordering::Relaxed);
        let from_top = (slots - 1 - slot).checked_div(each).unwrap_or(u32::MAX);
        if from_top < self.count() - 1 { from_top + 1 } else { 0 }
    }
}

/// There are more nodes than [`MAX_NODES`], or fewer slots that were never used than each should
/// have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing to add")]
pub struct NotDivided;
