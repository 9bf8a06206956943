//! From birth to death of a stack: who gets it, what it costs, where it goes.
//!
//! All decisions are here; what needs a privilege (mapping a page, reading a dirty bit, erasing) is
//! asked of a [`Pages`], so that the same code runs in the kernel and, over a mock, on the host.
//!
//! ```text
//!             acquire                                               release
//!   charge ──▶ CPU cache ──(empty)──▶ depot, half a cache        last reference gone
//!                 │ hit: no lock          │ (empty)                  │
//!                 │                       ▼                          ▼
//!                 │                  free slot, mapped         uncharge, read dirty bits, erase
//!                 ▼                  page by page                    │
//!               live ◀────────────────────┘                          ▼
//!                                                   CPU cache ──(full)──▶ depot ──(above target)──▶ shrink: unmap
//! ```
//!
//! Invariants:
//!
//! 1. a slot is in exactly one place: one CPU cache, the depot, the list of stacks to unmap, the
//!    free slots, or held (live, ending, recycling);
//! 2. a parked stack has its whole body mapped, reads as zero but for its end word, and has clear
//!    dirty bits, if the backing marks the end through another mapping; a stack of another size is
//!    never parked for reuse;
//! 3. an account is charged exactly while the stack is held;
//! 4. a failed [`Pool::acquire`] has given back what it took, in reverse order;
//! 5. [`Pool::release`] and [`Pool::give_back`] never unmap, never wait and never fail: usable in
//!    an interrupt handler.
//!
//! What cannot fail: bookkeeping. Records exist from the start, and lists are linked through them.
//!
//! Neighbours: [`crate::cache`], [`crate::depot`], [`crate::lifetime`], [`crate::erase`],
//! [`crate::record`].

use crate::addr::{AddrRange, ByteSize, CpuId};
use crate::arena::{Arena, SlotIndex};
use crate::cache::{CpuCache, Put};
use crate::depot::{Depot, FreeSlots, SlotList};
use crate::erase::{DirtyPages, ErasePolicy};
use crate::lifetime::{Generation, LifeState, Released};
use crate::record::SlotRecord;
use crate::stacks::ThreadId;

mod handles;
mod pages;
mod runs;
mod unmapping;

pub use handles::{BorrowedStack, Census, LiveStack, ReleaseOutcome, Request, StackRef};
pub use pages::{AcquireError, Exhausted, OverLimit, Pages, PoolError};

/// How the pool reaches what the CPUs share. Implemented by the kernel's lock around a
/// [`PoolShared`], which must be usable with interrupts off.
pub trait Lock {
    /// Runs `f` with exclusive access to the shared part: that of the node of the CPU this runs on,
    /// where there are several.
    fn with<R>(&self, f: impl FnOnce(&mut PoolShared) -> R) -> R;

    /// How many memory nodes there are, each with a shared part of its own
    /// ([`PoolShared::split_off`]).
    #[inline(always)]
    fn nodes(&self) -> u32 {
        1
    }

    /// Runs `f` with exclusive access to the shared part of a node.
    fn with_node<R>(&self, _node: u32, f: impl FnOnce(&mut PoolShared) -> R) -> R {
        self.with(f)
    }

    /// The node that a slot is of.
    #[inline(always)]
    fn node_of(&self, _slot: SlotIndex) -> u32 {
        0
    }

    /// Whether a slot is of the node of the CPU this runs on: that CPU may keep it at hand.
    #[inline(always)]
    fn is_near(&self, _slot: SlotIndex) -> bool {
        true
    }
}

/// How the pool reaches this CPU's cache from a context that may be moved to another CPU.
pub trait CpuLocal {
    /// Runs `f` on the cache of the CPU this runs on, with interrupts off.
    fn with_cache<R>(&mut self, f: impl FnOnce(&mut CpuCache) -> R) -> R;
}

/// For callers that have interrupts off already.
impl CpuLocal for CpuCache {
    #[inline(always)]
    fn with_cache<R>(&mut self, f: impl FnOnce(&mut CpuCache) -> R) -> R {
        f(self)
    }
}

/// What all CPUs share; the kernel wraps it in its lock. [`Pool::new`] makes the one that has all
/// slots; with several memory nodes each gets its part of them by [`PoolShared::split_off`].
#[derive(Debug)]
pub struct PoolShared {
    /// Parked stacks for any CPU.
    pub(crate) depot: Depot,
    /// Slots in which nothing is mapped.
    pub(crate) free: FreeSlots,
    /// Stacks of other sizes, to be unmapped by the next [`Pool::shrink`].
    pub(crate) to_unmap: SlotList,
}

impl PoolShared {
    /// All slots of `arena` free.
    const fn new(arena: &Arena) -> Self {
        Self::of(FreeSlots::new(arena.slots()))
    }

    /// No slot is free: the allocator says which is next.
    const fn without_slots() -> Self {
        Self::of(FreeSlots::new(0))
    }

    const fn of(free: FreeSlots) -> Self {
        Self { depot: Depot::new(), free, to_unmap: SlotList::new() }
    }

    /// The shared part of one more memory node, with the highest `slots` that no stack ever had;
    /// they are no longer in this one. `None` if there are not so many left.
    pub const fn split_off(&mut self, slots: u32) -> Option<Self> {
        match self.free.split_off(slots) {
            Some(free) => Some(Self::of(free)),
            None => None,
        }
    }

    /// The parked stacks.
    pub const fn depot(&self) -> &Depot {
        &self.depot
    }

    /// The slots in which nothing is mapped.
    pub const fn free(&self) -> &FreeSlots {
        &self.free
    }

    /// Ends a period of the depot; see [`crate::depot`]. Called at a steady rate, say once a
    /// second.
    pub fn end_period(&mut self) {
        self.depot.end_period();
    }

    /// How many stacks [`Pool::shrink`] would unmap now.
    pub const fn excess(&self) -> u32 {
        self.depot.excess() + self.to_unmap.count()
    }
}

/// The stacks of one arena.
#[derive(Clone, Copy, Debug)]
pub struct Pool<'r> {
    arena: Arena,
    records: &'r [SlotRecord],
    body_pages: u8,
    /// What the policy erases in any case, and the most it erases.
    always: DirtyPages,
    whole: DirtyPages,
    /// `arena.body(0)` and the stride, so that a body costs one multiplication and two additions.
    first_body: AddrRange,
    stride: ByteSize,
    /// Where a stack comes to lie is the allocator's choice: see [`runs`].
    is_contiguous: bool,
}

impl<'r> Pool<'r> {
    /// The pool over `arena` with one record per slot, all of them new and the pool's alone; and
    /// what its CPUs share, with all slots free.
    ///
    /// # Errors
    ///
    /// [`PoolError`] if there is not one record per slot, or a body is larger than
    /// [`DirtyPages::MAX`] pages.
    pub fn new(
        arena: Arena,
        records: &'r mut [SlotRecord],
        policy: ErasePolicy,
    ) -> Result<(Self, PoolShared), PoolError> {
        // Whatever they were used for before: a record that says "live" would keep its slot from
        // being given out.
        records.fill_with(SlotRecord::new);
        Self::over_new(arena, records, policy)
    }

    /// The same over records that are new and that no other pool has: for a static, whose records
    /// cannot be borrowed mutably. What `kstack::stacks!` is made of; [`Pool::new`] sees to both
    /// conditions by itself.
    #[doc(hidden)]
    pub const fn over_new(
        arena: Arena,
        records: &'r [SlotRecord],
        policy: ErasePolicy,
    ) -> Result<(Self, PoolShared), PoolError> {
        if records.len() != arena.slots() as usize {
            return Err(PoolError::RecordsMismatch);
        }
        let pages = arena.geometry().body().in_pages();
        if pages > DirtyPages::MAX {
            return Err(PoolError::BodyTooLarge);
        }
        let body_pages = pages as u8;
        let pool = Self {
            arena,
            records,
            body_pages,
            always: policy.plan(DirtyPages::NONE, body_pages),
            whole: DirtyPages::topmost(body_pages),
            first_body: arena.body(SlotIndex::new(0)),
            stride: arena.geometry().stride(),
            is_contiguous: false,
        };
        Ok((pool, PoolShared::new(&arena)))
    }

    /// The body of a slot, whatever of it is mapped.
    #[inline(always)]
    const fn whole_body(&self, slot: SlotIndex) -> AddrRange {
        let offset = ByteSize::new(self.stride.get() * slot.index());
        AddrRange {
            lowest: self.first_body.lowest.wrapping_add(offset),
            top: self.first_body.top.wrapping_add(offset),
        }
    }

    /// The arena.
    #[inline(always)]
    pub const fn arena(&self) -> &Arena {
        &self.arena
    }

    /// All records; index: slot.
    #[cfg(test)]
    pub(crate) const fn records(&self) -> &'r [SlotRecord] {
        self.records
    }

    /// The record of a slot of this arena.
    #[inline(always)]
    pub const fn record(&self, slot: SlotIndex) -> &'r SlotRecord {
        &self.records[slot.index()]
    }

    /// The mapped part of a slot's body.
    #[inline(always)]
    pub fn body(&self, slot: SlotIndex) -> AddrRange {
        self.record(slot).body_range(&self.arena, slot)
    }

    /// A stack for `request`: from the cache, from the depot, or mapped anew. Every byte reads as
    /// zero. Called where waiting is allowed; `local` turns interrupts off only around the cache.
    ///
    /// The CPU that then writes the first frame through the stack's own mapping must be coherent
    /// with it. It is if the caller was not moved to another CPU since; otherwise it calls
    /// [`Pool::make_coherent`] first.
    ///
    /// Always inlined: a request is nearly all constants, and a hit costs the fewer instructions
    /// for it. The rest is not.
    ///
    /// # Errors
    ///
    /// [`AcquireError`] names what was missing; all that was taken until then is given back.
    #[inline(always)]
    pub fn acquire(
        &self,
        request: &Request,
        local: &mut impl CpuLocal,
        shared: &impl Lock,
        backing: &mut impl Pages,
    ) -> Result<LiveStack, AcquireError> {
        let pages = request.pages.unwrap_or(self.body_pages);
        let size = ByteSize::pages(pages as usize);
        backing.charge(request.account, size)?;
        if pages == self.body_pages {
            let parked = local.with_cache(|cache| {
                let slot = cache.take()?;
                cache.stats.hits += 1;
                Some(slot)
            });
            if let Some(slot) = parked {
                return Ok(self.hand_out(slot, request));
            }
        }
        // A copy, made here: on a hit the request stays in registers.
        self.acquire_charged(*request, pages, local, shared, backing)
    }

    /// The rest of [`Pool::acquire`] when the cache has nothing that fits: from the depot, or
    /// mapped anew. The charge is made already. Not inlined, so that a hit saves no registers for
    /// it.
    #[cold]
    #[inline(never)]
    fn acquire_charged(
        &self,
        request: Request,
        pages: u8,
        local: &mut impl CpuLocal,
        shared: &impl Lock,
        backing: &mut impl Pages,
    ) -> Result<LiveStack, AcquireError> {
        if pages == self.body_pages {
            let parked = local.with_cache(|cache| self.refill(cache, shared, backing));
            if let Some(slot) = parked {
                return Ok(self.hand_out(slot, &request));
            }
        }
        let size = ByteSize::pages(pages as usize);
        match self.map_anew(pages, shared, backing) {
            Ok(slot) => {
                local.with_cache(|cache| cache.stats.misses += 1);
                Ok(self.hand_out(slot, &request))
            }
            Err(error) => {
                backing.uncharge(request.account, size);
                Err(error)
            }
        }
    }

    /// Before `cpu`, on which this runs, switches to the stack or writes into it: drops the TLB
    /// entries that could swallow a dirtying. A load and a test when there is nothing to do. See
    /// [`crate::erase`].
    #[inline(always)]
    pub fn make_coherent(&self, slot: SlotIndex, cpu: CpuId, backing: &mut impl Pages) {
        let record = self.record(slot);
        if record.needs_flush(cpu) {
            backing.flush_local(self.arena.body(slot));
            record.mark_coherent(cpu);
        }
    }

    /// The owner lets go: nothing runs on the stack any more. With interrupts off, on any CPU, in
    /// any context but an NMI.
    #[inline]
    pub fn release(
        &self,
        stack: LiveStack,
        cache: &mut CpuCache,
        shared: &impl Lock,
        backing: &mut impl Pages,
    ) -> ReleaseOutcome {
        let slot = stack.slot();
        let record = self.record(slot);
        match record.life().release_owner() {
            Released::StillBorrowed => ReleaseOutcome::StillBorrowed,
            Released::Last => self.recycle(slot, record, cache, shared, backing),
        }
    }

    /// Keeps another owner's stack alive for reading. `None` once its owner is gone, or if the slot
    /// has a new life.
    pub fn borrow(&self, slot: SlotIndex, generation: Generation) -> Option<BorrowedStack> {
        let record = self.records.get(slot.index())?;
        record.life().try_borrow(generation).map(|borrow| BorrowedStack { slot, borrow })
    }

    /// Ends a borrow; takes the stack back if it was the last. Context as for [`Pool::release`].
    pub fn give_back(
        &self,
        borrowed: BorrowedStack,
        cache: &mut CpuCache,
        shared: &impl Lock,
        backing: &mut impl Pages,
    ) -> ReleaseOutcome {
        let record = self.record(borrowed.slot);
        match record.life().release_borrow(borrowed.borrow) {
            Released::StillBorrowed => ReleaseOutcome::StillBorrowed,
            Released::Last => self.recycle_for_owner(borrowed.slot, cache, shared, backing),
        }
    }

    /// The owner is gone and the stack was borrowed until now: a rare end, so this copy of
    /// [`Pool::recycle`] is out of line.
    #[cold]
    #[inline(never)]
    fn recycle_for_owner(
        &self,
        slot: SlotIndex,
        cache: &mut CpuCache,
        shared: &impl Lock,
        backing: &mut impl Pages,
    ) -> ReleaseOutcome {
        self.recycle(slot, self.record(slot), cache, shared, backing)
    }

    /// Empties the cache of a CPU that goes away into the depot; says how many stacks. Never
    /// unmaps.
    pub fn drain_cpu(&self, cache: &mut CpuCache, shared: &impl Lock) -> usize {
        shared.with(|shared| cache.drain(&mut shared.depot, self.records))
    }

    /// Counts all slots, without a lock: exact when nothing happens meanwhile.
    pub fn census(&self) -> Census {
        self.census_of(|_| true)
    }

    /// The same for some of the slots: those of a memory node.
    pub fn census_of(&self, counts: impl Fn(SlotIndex) -> bool) -> Census {
        let mut census = Census::default();
        let slots = (0..).map(SlotIndex::new);
        for (_, record) in slots.zip(self.records).filter(|&(slot, _)| counts(slot)) {
            let pages = u64::from(record.mapped_pages());
            census.mapped_pages += pages;
            match record.life().state() {
                LifeState::Free => census.free += 1,
                LifeState::Parked => census.parked += 1,
                LifeState::Live => {
                    census.live += 1;
                    census.used_pages += pages;
                }
                LifeState::Ending | LifeState::Recycling => {
                    census.ending += 1;
                    census.used_pages += pages;
                }
            }
        }
        census
    }

    /// Fills in the record; the last store makes the stack live.
    #[inline(always)]
    fn hand_out(&self, slot: SlotIndex, request: &Request) -> LiveStack {
        let record = self.record(slot);
        record.fill_in(request.kind, request.owner, request.cpu, request.account);
        LiveStack(StackRef { slot, generation: record.life().make_live() })
    }

    /// Half a cache from the depot, and one of them. This CPU is made coherent with all of them
    /// here, so that later hits do no TLB work. (The thread may have moved since it found the other
    /// cache empty: this one may have some.)
    fn refill(
        &self,
        cache: &mut CpuCache,
        shared: &impl Lock,
        backing: &mut impl Pages,
    ) -> Option<SlotIndex> {
        let got = shared.with(|shared| cache.refill_from(&mut shared.depot, self.records));
        let first = cache.len() - got;
        for &slot in &cache.stacks()[first..] {
            self.make_coherent(slot, cache.cpu(), backing);
        }
        let slot = cache.take()?;
        cache.stats.refills += 1;
        Some(slot)
    }

    /// A free slot with its `pages` top-most pages mapped. On failure all is as before.
    fn map_anew<B: Pages>(
        &self,
        pages: u8,
        shared: &impl Lock,
        backing: &mut B,
    ) -> Result<SlotIndex, AcquireError> {
        if pages == 0 || pages > self.body_pages {
            return Err(AcquireError::BadSize);
        }
        if self.is_contiguous {
            return self.take_run(pages, backing);
        }
        let take = |shared: &mut PoolShared| shared.free.take(self.records);
        let slot = shared
            .with(take)
            .or_else(|| (0..shared.nodes()).find_map(|node| shared.with_node(node, take)))
            .ok_or(AcquireError::NoAddressSpace)?;
        let record = self.record(slot);
        let top = self.arena.body(slot).top;
        for (done, page) in (0_u8..).zip(DirtyPages::topmost(pages).addresses(top)) {
            if let Err(what) = backing.map_page(page) {
                self.unmap(slot, backing);
                let home = shared.node_of(slot);
                shared.with_node(home, |shared| shared.free.put(self.records, slot));
                return Err(what.into());
            }
            record.set_mapped_pages(done + 1);
        }
        if B::ABSENT_IS_REMEMBERED {
            record.coherent().reset_to_none();
        } else {
            record.coherent().reset_to_all();
        }
        backing.mark_end(record.body_range(&self.arena, slot).lowest);
        Ok(slot)
    }

    /// The last reference is gone: uncharge, clean, park.
    #[inline(always)]
    fn recycle(
        &self,
        slot: SlotIndex,
        record: &SlotRecord,
        cache: &mut CpuCache,
        shared: &impl Lock,
        backing: &mut impl Pages,
    ) -> ReleaseOutcome {
        let pages = record.mapped_pages();
        backing.uncharge(record.account(), ByteSize::pages(pages as usize));
        record.set_owner(ThreadId::NONE);
        if pages != self.body_pages {
            return self.leave_to_shrink(slot, shared);
        }
        let body = self.whole_body(slot);
        if !record.coherent().has(cache.bit()) {
            // This CPU's entries may be older than the last clearing, also for pages that are clean
            // now.
            backing.flush_local(body);
        }
        // The policy's plan for a whole body, without its case distinction.
        let mut pages = DirtyPages::NONE;
        let erased = backing.erase(body, |dirty| {
            pages = dirty.or(self.always).and(self.whole);
            pages
        });
        if pages.contains(self.body_pages - 1) {
            // The end word went with the page that it is in.
            backing.mark_end(body.lowest);
        }
        cache.stats.erased_pages += u64::from(erased);
        record.coherent().reset_to_bit(cache.bit());
        record.life().park();
        if !shared.is_near(slot) {
            return self.send_home(slot, shared);
        }
        match cache.put(slot) {
            Put::Kept => ReleaseOutcome::Cached,
            Put::Full => self.flush_and_put(slot, cache, shared),
        }
    }

    #[cold]
    #[inline(never)]
    fn leave_to_shrink(&self, slot: SlotIndex, shared: &impl Lock) -> ReleaseOutcome {
        self.record(slot).life().park();
        let home = shared.node_of(slot);
        shared.with_node(home, |shared| shared.to_unmap.push(self.records, slot));
        ReleaseOutcome::ToUnmap
    }

    /// A parked stack of another node than this CPU's, into the depot of its own.
    #[cold]
    #[inline(never)]
    fn send_home(&self, slot: SlotIndex, shared: &impl Lock) -> ReleaseOutcome {
        let excess = shared.with_node(shared.node_of(slot), |shared| {
            shared.depot.put(self.records, slot);
            shared.excess()
        });
        ReleaseOutcome::SentHome { excess }
    }

    #[cold]
    #[inline(never)]
    fn flush_and_put(
        &self,
        slot: SlotIndex,
        cache: &mut CpuCache,
        shared: &impl Lock,
    ) -> ReleaseOutcome {
        let excess = shared.with(|shared| {
            cache.flush_half_to(&mut shared.depot, self.records);
            shared.excess()
        });
        cache.stats.flushes += 1;
        let put = cache.put(slot);
        debug_assert!(put == Put::Kept);
        ReleaseOutcome::Flushed { excess }
    }
}

#[cfg(test)]
mod tests;
