//! What is known of each slot of the arena, outside stack memory.
//!
//! One record per slot, all words atomic: overflow handlers, NMIs and other CPUs read them without a lock. A reader may see a
//! record in the middle of a change; it then sees a stack that is just coming or going, never another slot's memory.

use crate::addr::{Addr, AddrRange, ByteSize, CpuId};
use crate::arena::{Arena, SlotIndex};
use crate::kind::StackKind;
use crate::stacks::StackId;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

const NO_CPU: u32 = u32::MAX;

/// The record of one slot.
#[derive(Debug)]
#[repr(align(64))]
pub struct SlotRecord {
    owner: AtomicU64,
    /// CPUs whose TLB is known to hold nothing stale of this stack; see `erase`.
    pub coherent: AtomicU64,
    lowest_sp: AtomicUsize,
    /// Links the depot and the free list.
    pub next: AtomicU32,
    cpu: AtomicU32,
    kind: AtomicU8,
    pages: AtomicU8,
}

impl SlotRecord {
    /// The record of a slot that was never used.
    pub const fn new() -> Self {
        Self {
            owner: AtomicU64::new(0),
            coherent: AtomicU64::new(0),
            lowest_sp: AtomicUsize::new(usize::MAX),
            next: AtomicU32::new(u32::MAX),
            cpu: AtomicU32::new(NO_CPU),
            kind: AtomicU8::new(0),
            pages: AtomicU8::new(0),
        }
    }

    /// From now on the slot holds a live stack.
    #[inline(always)]
    pub fn set_live(&self, kind: StackKind, owner: u64, cpu: Option<CpuId>) {
        self.owner.store(owner, Ordering::Relaxed);
        self.cpu.store(cpu.map_or(NO_CPU, CpuId::get), Ordering::Relaxed);
        self.lowest_sp.store(usize::MAX, Ordering::Relaxed);
        self.kind.store(kind as u8, Ordering::Release);
    }

    /// From now on it does not.
    #[inline(always)]
    pub fn set_dead(&self) {
        self.kind.store(0, Ordering::Release);
    }

    /// How many pages of the body are mapped: the topmost ones.
    #[inline(always)]
    pub fn pages(&self) -> u8 {
        self.pages.load(Ordering::Acquire)
    }

    /// Says how many pages are mapped.
    pub fn set_pages(&self, pages: u8) {
        self.pages.store(pages, Ordering::Release);
    }

    /// The mapped part of the body.
    pub fn mapped_range(&self, arena: &Arena, slot: SlotIndex) -> AddrRange {
        let top = arena.body(slot).top;
        AddrRange { lowest: top.wrapping_sub(ByteSize::pages(self.pages().into())), top }
    }

    /// The live stack in the slot, named.
    pub fn stack(&self, arena: &Arena, slot: SlotIndex) -> Option<StackId> {
        let kind = StackKind::from_u8(self.kind.load(Ordering::Acquire))?;
        let cpu = self.cpu.load(Ordering::Relaxed);
        Some(StackId {
            kind,
            cpu: (cpu != NO_CPU).then(|| CpuId::new(cpu)),
            owner: self.owner.load(Ordering::Relaxed),
            range: self.mapped_range(arena, slot),
        })
    }

    /// A sample of SP: keeps the lowest. The true depth is at least this.
    #[inline(always)]
    pub fn sample_sp(&self, sp: Addr) {
        if sp.get() < self.lowest_sp.load(Ordering::Relaxed) {
            self.lowest_sp.store(sp.get(), Ordering::Relaxed);
        }
    }

    /// The lowest SP sampled since the stack became live.
    pub fn lowest_sp(&self) -> Option<Addr> {
        let sp = self.lowest_sp.load(Ordering::Relaxed);
        (sp != usize::MAX).then(|| Addr::new(sp))
    }
}

impl Default for SlotRecord {
    fn default() -> Self {
        Self::new()
    }
}
