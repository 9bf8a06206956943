//! One registry of every stack: arena and records, readable from any context without a lock.
//!
//! Installed once at boot. From then on any address can be classified, by arithmetic and one record.

use crate::local::CpuLocal;
use core::sync::atomic::{AtomicPtr, Ordering};
use kstack_core::addr::{Addr, CpuId};
use kstack_core::arena::{Arena, Place, SlotIndex};
use kstack_core::pool::Pool;
use kstack_core::record::SlotRecord;
use kstack_core::stacks::{StackId, StackLookup};
use kstack_core::verdict::StackTable;

/// All stacks of the pool's arena.
#[derive(Debug)]
pub struct Registry {
    pool: Pool<'static>,
}

static REGISTRY: AtomicPtr<Registry> = AtomicPtr::new(core::ptr::null_mut());

/// Installs the registry. Before the first stack is given out.
pub fn install(registry: &'static Registry) {
    REGISTRY.store(core::ptr::from_ref(registry).cast_mut(), Ordering::Release);
}

/// The installed registry, if there is one yet.
#[inline(always)]
pub fn get() -> Option<&'static Registry> {
    let registry = REGISTRY.load(Ordering::Acquire);
    // SAFETY: (1) null, or a reference to a static that `install` stored.
    unsafe { registry.as_ref() }
}

impl Registry {
    /// A registry of this pool's stacks.
    pub const fn new(pool: Pool<'static>) -> Self {
        Self { pool }
    }

    /// The pool.
    #[inline(always)]
    pub const fn pool(&self) -> &Pool<'static> {
        &self.pool
    }

    /// The arena.
    #[inline(always)]
    pub const fn arena(&self) -> &Arena {
        self.pool.arena()
    }

    /// The record of a slot of this arena.
    #[inline(always)]
    pub fn record(&self, slot: SlotIndex) -> &'static SlotRecord {
        self.pool.record(slot)
    }

    /// Every live stack.
    pub fn live(&self) -> impl Iterator<Item = (SlotIndex, StackId)> + '_ {
        (0..self.arena().slots()).map(SlotIndex::new).filter_map(|slot| {
            self.record(slot).stack(self.arena(), slot).map(|stack| (slot, stack))
        })
    }
}

impl StackLookup for Registry {
    #[inline]
    fn stack_at(&self, addr: Addr) -> Option<StackId> {
        match self.arena().place(addr) {
            Place::Body { slot, .. } => self
                .record(slot)
                .stack(self.arena(), slot)
                .filter(|stack| stack.range.contains(addr)),
            _ => None,
        }
    }
}

impl StackTable for Registry {
    fn stack_in(&self, slot: SlotIndex) -> Option<StackId> {
        self.record(slot).stack(self.arena(), slot)
    }

    fn running_on(&self, _cpu: CpuId) -> Option<StackId> {
        // Asked by the CPU itself, in its fault handler.
        let top = CpuLocal::this().thread_top();
        self.stack_at(Addr::new(top.get().wrapping_sub(1)))
    }
}
