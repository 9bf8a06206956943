//! What must be erased before a stack is given to another owner: exactly what was written.
//!
//! The page tables know which pages were written (the dirty bit D). A page whose D is clear still
//! reads as zero, so it needs nothing. The difficulty is that a CPU's TLB may remember D=1 from
//! before D was cleared.
//!
//! # Why a remembered D=1 is dangerous
//!
//! A CPU sets D in the page table when it writes through a translation whose *TLB entry* says D=0.
//! If its entry says D=1 it writes without looking at the page table. So an entry with D=1 that
//! outlives the clearing of D swallows the next dirtying: the page is written, D stays clear, the
//! page is not erased, and the next owner reads it. Entries may also be *filled* speculatively at
//! any time, copying the D of that moment.
//!
//! # The rule
//!
//! The record of each stack keeps a set of CPUs, *coherent*, with the invariant
//!
//! > **(C)** a CPU in the set has a TLB entry with D=1 for a page of the body only if D is set in
//! > the page table.
//!
//! | step                               | page table   | TLB of the CPU                       | coherent set        |
//! |------------------------------------|--------------|--------------------------------------|---------------------|
//! | map a fresh zeroed frame           | D=0          | no CPU has an entry (unmap shot them)| all CPUs; none, if a CPU may remember "absent" |
//! | speculative fill, or read, on c    | unchanged    | entry := D                           | unchanged; (C) kept |
//! | write on c in the set              | D:=1         | entry := D=1                         | unchanged; (C) kept |
//! | recycle on c in the set            | D:=0, then … | … entries of the *dirty* pages dropped | {c}               |
//! | recycle on c not in the set        | D:=0, then … | … entries of *all* pages dropped     | {c}                 |
//! | about to run or write on c ∉ set   | unchanged    | entries of all pages dropped         | c joins             |
//!
//! Consequences that are easy to get wrong, each of which the tests show by breaking it:
//!
//! 1. *Clear first, then drop the entry.* The other way round a speculative fill in between copies
//!    D=1.
//! 2. *A recycler outside the set drops all pages*, also those whose D it finds clear: its entry
//!    may be older.
//! 3. *The CPU that builds the first frame writes too*; it must be in the set like one that runs on
//!    the stack.
//! 4. *A CPU that writes into a stack it does not run on* (a waker that stores a result into a
//!    waiter's frame) need not be in the set as long as the owner has written that page before in
//!    this life: D is set already. Frames larger than a page are probed page by page by the
//!    compiler, so every page of a live frame has been written by its owner.
//!
//! Erasing itself goes through another mapping of the frame, so D stays clear.
//!
//! The set is a word, so that looking at it is one load on every machine. CPUs from number 64 on
//! (32 where a word has 32 bits) are never in it and flush each time.
//!
//! Neighbours: [`crate::record`] holds the set, [`crate::pool`] applies the rule, the kernel's
//! dispatcher asks [`CoherentSet::needs_flush`] before it switches to a stack.

#[cfg(not(all(test, loom)))]
use core::sync::atomic::{AtomicUsize, Ordering};
#[cfg(all(test, loom))]
use loom::sync::atomic::{AtomicUsize, Ordering};

use crate::addr::{Addr, ByteSize, CpuId};

/// Pages of a body as bits: bit 0 is the **top-most** page, where a stack begins; bit i lies i
/// pages further down.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct DirtyPages(u32);

impl DirtyPages {
    /// No page.
    pub const NONE: Self = Self(0);

    /// The most pages a body may have.
    pub const MAX: usize = 32;

    /// The pages whose bits are set.
    #[inline(always)]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits.
    #[inline(always)]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The `pages` top-most pages; [`DirtyPages::MAX`] of them if it is more.
    #[inline(always)]
    pub const fn topmost(pages: u8) -> Self {
        // Shift in 64 bits: shifting a u32 by 32 would overflow.
        let pages = if pages as usize > Self::MAX { Self::MAX as u8 } else { pages };
        Self(((1_u64 << pages) - 1) as u32)
    }

    /// With one more page, counted from the top. All of them, if it is none of the
    /// [`DirtyPages::MAX`] that there can be: what is not known must be erased.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, page_from_top: u8) -> Self {
        match 1_u32.checked_shl(page_from_top as u32) {
            Some(page) => Self(self.0 | page),
            None => Self(u32::MAX),
        }
    }

    /// The pages of either.
    #[inline(always)]
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The pages of both.
    #[inline(always)]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether a page, counted from the top, is one of them.
    #[inline(always)]
    pub const fn contains(self, page_from_top: u8) -> bool {
        match self.0.checked_shr(page_from_top as u32) {
            Some(rest) => rest & 1 != 0,
            None => false,
        }
    }

    /// Whether there is none.
    #[inline(always)]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many.
    #[inline(always)]
    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// The lowest address of each page in a body that ends at `top`; the top-most page first.
    #[inline(always)]
    pub fn addresses(self, top: Addr) -> PageAddresses {
        PageAddresses { left: self.0, top }
    }

    /// The bit of the page in which `addr` lies, for a body that ends at `top`; `None` outside the
    /// top-most 32 pages.
    pub const fn page_of(addr: Addr, top: Addr) -> Option<u8> {
        if addr.get() >= top.get() {
            return None;
        }
        let page = ByteSize::new(top.bytes_above(addr).get() - 1).in_pages();
        if page < Self::MAX { Some(page as u8) } else { None }
    }
}

/// The pages of a [`DirtyPages`], as addresses.
#[derive(Clone, Debug)]
pub struct PageAddresses {
    left: u32,
    top: Addr,
}

impl Iterator for PageAddresses {
    type Item = Addr;

    #[inline(always)]
    fn next(&mut self) -> Option<Addr> {
        if self.left == 0 {
            return None;
        }
        let page = self.left.trailing_zeros() as usize;
        self.left &= self.left - 1;
        Some(self.top.wrapping_sub(ByteSize::pages(page + 1)))
    }
}

/// How much of a stack is erased when it is released.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum ErasePolicy {
    /// The pages that were written.
    #[default]
    Dirtied,
    /// Every mapped page, whatever the dirty bits say.
    Full,
}

impl ErasePolicy {
    /// Which of the `mapped` top-most pages to erase, if the page tables say that `dirty` were
    /// written.
    #[inline(always)]
    pub const fn plan(self, dirty: DirtyPages, mapped: u8) -> DirtyPages {
        let all = DirtyPages::topmost(mapped);
        match self {
            Self::Dirtied => dirty.and(all),
            Self::Full => all,
        }
    }
}

/// One CPU as a member of a [`CoherentSet`], worked out once: empty for a CPU that the set cannot
/// name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuBit(usize);

impl CpuBit {
    /// The bit of `cpu`.
    #[inline(always)]
    pub const fn of(cpu: CpuId) -> Self {
        Self(if cpu.get() < CoherentSet::CPUS { 1 << cpu.get() } else { 0 })
    }
}

/// The CPUs that are coherent with a stack's dirty bits; see the module for the invariant.
///
/// Written only by the CPU that recycles the stack or is about to run on it; those follow each
/// other through the scheduler's or the pool's own synchronisation, so plain loads and stores
/// suffice.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct CoherentSet(AtomicUsize);

impl CoherentSet {
    /// How many CPUs the set can name; the others flush each time.
    pub const CPUS: u32 = usize::BITS;

    /// No CPU.
    #[cfg(not(all(test, loom)))]
    pub const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// The same for the models, whose atomics are made at run time.
    #[cfg(all(test, loom))]
    pub fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Whether `cpu` must drop its TLB entries for the whole body before it runs on the stack or
    /// writes into it.
    #[inline(always)]
    pub fn needs_flush(&self, cpu: CpuId) -> bool {
        cpu.get() >= Self::CPUS || self.0.load(Ordering::Relaxed) >> cpu.get() & 1 == 0
    }

    /// Whether the CPU is in the set.
    #[inline(always)]
    pub(crate) fn has(&self, cpu: CpuBit) -> bool {
        self.0.load(Ordering::Relaxed) & cpu.0 != 0
    }

    /// `cpu` has dropped its entries.
    #[inline(always)]
    pub(crate) fn mark_coherent(&self, cpu: CpuId) {
        let set = self.0.load(Ordering::Relaxed);
        self.0.store(set | CpuBit::of(cpu).0, Ordering::Relaxed);
    }

    /// The CPU of this bit cleared the dirty bits and dropped its entries: only it is coherent now.
    #[inline(always)]
    pub(crate) fn reset_to_bit(&self, cpu: CpuBit) {
        self.0.store(cpu.0, Ordering::Relaxed);
    }

    /// The stack was mapped a moment ago where nothing was mapped before: no CPU has an old entry.
    #[inline(always)]
    pub(crate) fn reset_to_all(&self) {
        self.0.store(usize::MAX, Ordering::Relaxed);
    }

    /// The same where CPUs may remember that nothing was mapped: each has to forget that first.
    #[inline(always)]
    pub(crate) fn reset_to_none(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// The set as bits, for display.
    #[inline(always)]
    pub fn bits(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
