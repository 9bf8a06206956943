//! What is known about one slot, outside stack memory.
//!
//! One [`SlotRecord`] per slot of the arena, in an array that the kernel provides. The record and
//! the lists that link slots never live inside stack memory: an overflow cannot reach them, and an
//! erased stack is zero but for its end word, which is the same for every owner.
//!
//! ```text
//!   records[0]  records[1]  records[2] ...         one cache line each
//!      │           │           │
//!   slot 0      slot 1      slot 2                  arena (address space; body part mapped, guards never)
//! ```
//!
//! Who writes and who reads: the holder of a slot (its cache, the depot under its lock, its owner,
//! the CPU about to run on it) writes; other code reads at any time without a lock (overflow
//! handlers, backtraces, the registry). All fields are atomics; each is correct for itself, and
//! [`SlotRecord::snapshot`] says whether they belong together. That rests on three orders, which
//! the models (`cargo xtask test`) explore in the memory model of C11:
//!
//! - all fields of a life are written before its word says "live" (a release that every reader of
//!   the word acquires);
//! - a field is written in a later life only after the word has left this one, and each such write
//!   is a release or comes after a release fence (`SlotRecord::fill_in`: one fence for all of them
//!   costs the arms and riscv64 less than five releases): a reader that sees it (an acquire) sees
//!   in the word, which it reads afterwards, that the life is over;
//! - a reader looks at the word, then at the fields, then at the word.
//!
//! Invariants:
//!
//! 1. the *mapped* pages are the top-most pages of the body: `mapped` of them, without a hole;
//! 2. `mapped` is raised after a page is there and lowered before it goes, so a reader never trusts
//!    an absent page;
//! 3. `next` is meaningful only to the list that holds the slot, under that list's lock.
//!
//! Neighbours: [`crate::lifetime`], [`crate::meter`], [`crate::erase`] (the coherent set),
//! [`crate::depot`] (`next`), [`crate::pool`] (who fills all this in).

use core::fmt;
#[cfg(not(all(test, loom)))]
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(all(test, loom))]
use loom::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

use crate::addr::{Addr, AddrRange, ByteSize, CpuId};
use crate::arena::{Arena, SlotIndex};
use crate::erase::{CoherentSet, CpuBit};
use crate::kind::StackKind;
use crate::lifetime::{Generation, Life, LifeState};
use crate::meter::Watermark;
use crate::stacks::{StackId, ThreadId};

/// Whose memory a stack counts as: a token that the kernel chooses and gets back when the charge
/// ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct AccountId(u32);

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl AccountId {
    /// The system itself.
    pub const SYSTEM: Self = Self(0);

    /// The account with this number.
    #[inline(always)]
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    /// The number.
    #[inline(always)]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Looks at a record whose life changes meanwhile, before it is given up.
const MAX_LOOKS: usize = 4;

/// What is known about one slot.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct SlotRecord {
    owner: AtomicU64,
    coherent: CoherentSet,
    life: Life,
    watermark: Watermark,
    /// The slot below in the list that holds this one.
    next: AtomicU32,
    cpu: AtomicU32,
    charged: AtomicU32,
    kind: AtomicU8,
    mapped: AtomicU8,
}

/// A record read without a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// Where the slot is in its life.
    pub state: LifeState,
    /// Which life that is.
    pub generation: Generation,
    /// What the stack is for; `None` for a slot that was never used.
    pub kind: Option<StackKind>,
    /// The CPU it belongs to or last ran on.
    pub cpu: CpuId,
    /// The thread it belongs to.
    pub owner: ThreadId,
    /// The account that is charged.
    pub account: AccountId,
    /// How much of the body is mapped, counted from its top.
    pub mapped: ByteSize,
    /// The lowest SP sampled in this life: the stack has been at least this deep.
    pub lowest_sample: Option<Addr>,
    /// Whether the stack was held, in one and the same life, before and after reading, so that all
    /// fields are of that life. A slot at rest is never settled: it may be given out at any moment,
    /// and its fields mean nothing.
    pub settled: bool,
}

impl SlotRecord {
    /// The record of a slot that was never used.
    #[cfg(not(all(test, loom)))]
    pub const fn new() -> Self {
        Self {
            owner: AtomicU64::new(0),
            coherent: CoherentSet::new(),
            life: Life::new(),
            watermark: Watermark::new(),
            next: AtomicU32::new(0),
            cpu: AtomicU32::new(0),
            charged: AtomicU32::new(0),
            kind: AtomicU8::new(0),
            mapped: AtomicU8::new(0),
        }
    }

    /// The same for the models, whose atomics are made at run time.
    #[cfg(all(test, loom))]
    pub fn new() -> Self {
        Self {
            owner: AtomicU64::new(0),
            coherent: CoherentSet::new(),
            life: Life::new(),
            watermark: Watermark::new(),
            next: AtomicU32::new(0),
            cpu: AtomicU32::new(0),
            charged: AtomicU32::new(0),
            kind: AtomicU8::new(0),
            mapped: AtomicU8::new(0),
        }
    }

    /// Who holds the stack.
    #[inline(always)]
    pub fn life(&self) -> &Life {
        &self.life
    }

    /// The CPUs whose TLB cannot swallow a dirtying of this stack.
    #[inline(always)]
    pub(crate) fn coherent(&self) -> &CoherentSet {
        &self.coherent
    }

    /// The sampled depth.
    #[inline(always)]
    pub fn watermark(&self) -> &Watermark {
        &self.watermark
    }

    /// Whether `cpu` must drop its TLB entries for the body before it runs on this stack or writes
    /// its first frame.
    #[inline(always)]
    pub fn needs_flush(&self, cpu: CpuId) -> bool {
        self.coherent.needs_flush(cpu)
    }

    /// The same for the CPU of this bit: a load and a test.
    #[inline(always)]
    pub fn needs_flush_by(&self, cpu: CpuBit) -> bool {
        !self.coherent.has(cpu)
    }

    /// `cpu` has dropped its TLB entries for the body.
    #[inline(always)]
    pub(crate) fn mark_coherent(&self, cpu: CpuId) {
        self.coherent.mark_coherent(cpu);
    }

    /// What the stack is for; `None` for a slot that was never used.
    #[inline(always)]
    pub fn kind(&self) -> Option<StackKind> {
        StackKind::from_u8(self.kind.load(Ordering::Acquire))
    }

    /// The CPU the stack belongs to or last ran on.
    #[inline(always)]
    pub fn cpu(&self) -> CpuId {
        CpuId::new(self.cpu.load(Ordering::Acquire))
    }

    /// The thread the stack belongs to.
    #[inline(always)]
    pub fn owner(&self) -> ThreadId {
        ThreadId::new(self.owner.load(Ordering::Acquire))
    }

    /// Says all of a new life, but for its word, which says "live" last.
    #[inline(always)]
    pub(crate) fn fill_in(&self, kind: StackKind, owner: ThreadId, cpu: CpuId, account: AccountId) {
        // For each of the stores below, and the watermark's: a reader that sees one of them sees
        // that the life before is over.
        fence(Ordering::Release);
        self.kind.store(kind as u8, Ordering::Relaxed);
        self.owner.store(owner.get(), Ordering::Relaxed);
        self.cpu.store(cpu.get(), Ordering::Relaxed);
        self.charged.store(account.0, Ordering::Relaxed);
        self.watermark.reset();
    }

    /// Changes the thread the stack belongs to.
    #[inline(always)]
    pub(crate) fn set_owner(&self, owner: ThreadId) {
        self.owner.store(owner.get(), Ordering::Release);
    }

    /// The account that is charged while the stack is live.
    #[inline(always)]
    pub fn account(&self) -> AccountId {
        AccountId(self.charged.load(Ordering::Acquire))
    }

    /// How many pages of the body are mapped, counted from its top.
    #[inline(always)]
    pub fn mapped_pages(&self) -> u8 {
        self.mapped.load(Ordering::Acquire)
    }

    /// Says how many pages are mapped. Raise it after mapping, lower it before unmapping.
    #[inline(always)]
    pub(crate) fn set_mapped_pages(&self, pages: u8) {
        self.mapped.store(pages, Ordering::Release);
    }

    /// The slot below in the list that holds this one.
    #[inline(always)]
    pub(crate) fn next(&self) -> u32 {
        self.next.load(Ordering::Relaxed)
    }

    /// Links this slot above another.
    #[inline(always)]
    pub(crate) fn set_next(&self, next: u32) {
        self.next.store(next, Ordering::Relaxed);
    }

    /// The part of the body that is mapped: what SP may be in. Empty (`top..top`) if nothing is.
    #[inline(always)]
    pub fn body_range(&self, arena: &Arena, slot: SlotIndex) -> AddrRange {
        let top = arena.body(slot).top;
        let size = ByteSize::pages(self.mapped_pages() as usize);
        AddrRange { lowest: top.wrapping_sub(size), top }
    }

    /// The stack in this slot, named, while it is held. Its range is the part that is
    /// mapped. All of it is of one life.
    #[inline]
    pub fn stack(&self, arena: &Arena, slot: SlotIndex) -> Option<StackId> {
        let mut held = self.held()?;
        // A slot whose life changes under each look is in the hands of others: after a few it has
        // no stack, as far as can be told.
        for _ in 0..MAX_LOOKS {
            let kind = self.kind()?;
            let stack = StackId {
                kind,
                cpu: kind.belongs_to_cpu().then(|| self.cpu()),
                owner: self.owner(),
                range: self.body_range(arena, slot),
            };
            let now = self.held()?;
            if now == held {
                return Some(stack);
            }
            held = now;
        }
        None
    }

    /// The life in which the stack is held, if it is. Two equal answers mean that
    /// the life lasted in between.
    #[inline(always)]
    fn held(&self) -> Option<Generation> {
        let (state, generation) = self.life.state_and_generation();
        matches!(state, LifeState::Live | LifeState::Ending).then_some(generation)
    }

    /// Everything at once, for readers that hold nothing.
    pub fn snapshot(&self) -> Snapshot {
        let (state, generation) = self.life.state_and_generation();
        let held = matches!(state, LifeState::Live | LifeState::Ending);
        let read = Snapshot {
            state,
            generation,
            kind: self.kind(),
            cpu: self.cpu(),
            owner: self.owner(),
            account: self.account(),
            mapped: ByteSize::pages(self.mapped_pages() as usize),
            lowest_sample: self.watermark.lowest_sample(),
            settled: false,
        };
        Snapshot { settled: held && self.held() == Some(generation), ..read }
    }
}
