//! What a kernel does for a pool of stacks: everything that needs a privilege; and what can fail.

use crate::addr::{Addr, AddrRange, ByteSize};
use crate::erase::DirtyPages;
use crate::record::AccountId;
use crate::sentences::sentences;

/// An account would exceed its limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing in it; a kernel's charge makes it")]
pub struct OverLimit;

/// What has run out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Exhausted {
    /// No frame for the page itself.
    Frame,
    /// No frame for a page table.
    PageTable,
}

/// What a kernel does for its stacks.
///
/// The pool says where; the kernel answers for what it does there. An implementation that maps,
/// erases or unmaps whatever address it is given is for one pool over address space that is the
/// pool's alone.
pub trait Pages {
    /// Whether a CPU may remember that a page was absent, and fault on it after it has been mapped
    /// (RISC-V). Then no CPU is coherent with a stack that is new, and each drops its entries
    /// before it first writes there.
    const ABSENT_IS_REMEMBERED: bool = false;

    /// Counts `size` towards `account`.
    fn charge(&mut self, account: AccountId, size: ByteSize) -> Result<(), OverLimit>;

    /// Ends a charge. Called where [`release`](super::Pool::release) is, so possibly in an
    /// interrupt handler.
    fn uncharge(&mut self, account: AccountId, size: ByteSize);

    /// Puts a zeroed frame at `page`, with clear dirty bit, present on every CPU and in every
    /// address space when it returns. On failure nothing is mapped at `page`; page tables that were
    /// made for it may stay.
    fn map_page(&mut self, page: Addr) -> Result<(), Exhausted>;

    /// Removes the mapping of `range`, makes every CPU forget it, then gives the frames back.
    /// Called only where waiting is allowed.
    fn unmap_pages(&mut self, range: AddrRange);

    /// For a pool of contiguous stacks ([`Pool::contiguous`](super::Pool::contiguous)): zeroed
    /// frames that follow each other, `pages` of them, whose top is the top of a body of the arena;
    /// by their addresses there. They are the pool's until [`Pages::give_run`]. Called where
    /// waiting is allowed, without a lock. By default there are none.
    fn take_run(&mut self, _pages: u8) -> Result<AddrRange, Exhausted> {
        Err(Exhausted::Frame)
    }

    /// The frames of a contiguous stack are the allocator's again. Called where
    /// [`Pages::unmap_pages`] is.
    fn give_run(&mut self, _stack: AddrRange) {}

    /// Makes what was written of a whole `body` zero again. Returns how many pages that took.
    /// Interrupts are off.
    ///
    /// 1. Which pages were written? For each of them: clears the dirty bit, *then* drops this CPU's
    ///    TLB entry (see [`crate::erase`] for the order). Where the hardware keeps no dirty bits:
    ///    all of them, and nothing to drop.
    /// 2. Asks `plan` which pages to erase, given those.
    /// 3. Zeroes them through another mapping, so that their dirty bits stay clear.
    fn erase(&mut self, body: AddrRange, plan: impl FnOnce(DirtyPages) -> DirtyPages) -> u32;

    /// Drops this CPU's TLB entries for `body`.
    fn flush_local(&mut self, body: AddrRange);

    /// Writes the end word of the stack whose lowest byte is `lowest`: the one word that does not
    /// read as zero, the same for every owner. Asked when the stack has been mapped, and when its
    /// lowest page has been erased. Through another mapping where there is one: through the stack's
    /// own it makes the lowest page dirty. By default there is no such word.
    fn mark_end(&mut self, _lowest: Addr) {}
}

/// Why a stack was not given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AcquireError {
    /// Every slot of the arena is in use.
    NoAddressSpace,
    /// No frame for a page of the stack.
    NoMemory,
    /// No frame for a page table.
    NoPageTable,
    /// The account would exceed its limit.
    OverLimit,
    /// No page, or more pages than a body has.
    BadSize,
    /// A stack of a kind that belongs to a CPU was asked for where threads ask.
    BelongsToCpu,
}

sentences!(AcquireError {
    NoAddressSpace => "every slot of the arena is in use",
    NoMemory => "no frame for a page of the stack",
    NoPageTable => "no frame for a page table",
    OverLimit => "the account would exceed its limit",
    BadSize => "a stack of no page, or of more pages than a body has",
    BelongsToCpu => "a stack of a kind that belongs to a CPU is not given to a thread",
});

sentences!(Exhausted {
    Frame => "no frame for a page of the stack",
    PageTable => "no frame for a page table",
});

sentences!(PoolError {
    RecordsMismatch => "there is not one record per slot",
    BodyTooLarge => "a body has more pages than dirtiness is kept of",
    HasGuards => "the arena of contiguous stacks has guards, which there is no room for",
});

impl core::fmt::Display for OverLimit {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        AcquireError::OverLimit.fmt(f)
    }
}

impl core::error::Error for OverLimit {}

impl From<OverLimit> for AcquireError {
    fn from(_: OverLimit) -> Self {
        Self::OverLimit
    }
}

impl From<Exhausted> for AcquireError {
    fn from(what: Exhausted) -> Self {
        match what {
            Exhausted::Frame => Self::NoMemory,
            Exhausted::PageTable => Self::NoPageTable,
        }
    }
}

/// Why a pool was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PoolError {
    /// There is not one record per slot.
    RecordsMismatch,
    /// A body has more pages than [`DirtyPages`] has bits.
    BodyTooLarge,
    /// Contiguous stacks in an arena whose geometry has guards.
    HasGuards,
}
