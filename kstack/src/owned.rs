//! Stacks that are owned: a static that has them all, and a right to one that ends when it is
//! dropped.
//!
//! ```text
//!   static STACKS: Stacks<Pages>            arena, records, pool, lock; caches are per CPU
//!        │ acquire_thread(7)                waits at most for memory
//!        ▼
//!   Stack<Pages>                            the right to run on it: kept by the thread
//!        │ drop                             any context but an NMI; never waits, never unmaps
//!        ▼
//!   a CPU's cache, the depot, or unmapped by shrink()
//! ```

use crate::backing::{Answers, Backing};
use crate::lock::SpinLock;
use crate::nodes::Nodes;
use crate::registry::{self, Registry};
use core::mem::ManuallyDrop;
use core::sync::atomic::AtomicPtr;
use kstack_core::addr::{Addr, AddrRange, CpuId};
use kstack_core::arena::{Arena, SlotIndex};
use kstack_core::cache::CacheStats;
use kstack_core::erase::ErasePolicy;
use kstack_core::geometry::Geometry;
use kstack_core::kind::StackKind;
use kstack_core::pool::{
    AcquireError, BorrowedStack, Census, LiveStack, Lock, Pool, PoolError, PoolShared,
    ReleaseOutcome, Request, StackRef,
};
use kstack_core::record::SlotRecord;
use kstack_core::stacks::ThreadId;

/// All stacks of a kernel: arena, records, pool and lock. Made by [`stacks!`](crate::stacks!) as a
/// static, or by [`Stacks::new`].
#[derive(Debug)]
pub struct Stacks<B> {
    registry: Registry,
    pub(crate) shared: SpinLock<PoolShared>,
    /// The shared parts of more memory nodes than one.
    pub(crate) nodes: AtomicPtr<Nodes>,
    backing: B,
}

/// The lock that the pool asks for.
pub(crate) struct Shared<'s, B>(pub(crate) &'s Stacks<B>);

impl<B: Backing> Stacks<B> {
    /// The stacks of `arena`, with one record per slot.
    ///
    /// # Errors
    ///
    /// [`PoolError`](kstack_core::pool::PoolError) if there is not one record per slot, or a body
    /// has more pages than dirtiness is kept of.
    ///
    /// # Safety
    ///
    /// 1. The address space of the arena is these stacks' alone, and nothing is mapped there.
    /// 2. `backing` was made for them: what it promises as a [`Backing`] it promises for this
    ///    arena.
    /// 3. Once a CPU has loaded its block, each other one loads its own before it takes an
    ///    exception or unwinds.
    pub unsafe fn new(
        arena: Arena,
        records: &'static mut [SlotRecord],
        policy: ErasePolicy,
        backing: B,
    ) -> Result<Self, PoolError> {
        let (pool, shared) = Pool::new(arena, records, policy)?;
        // SAFETY: (1) to (3) by the caller's promise; stacks that belong to CPUs are dropped by no
        // other code.
        Ok(unsafe { Self::of(pool, shared, backing) })
    }

    /// Physically contiguous stacks, by the same interface: in a part of the kernel's map of all
    /// memory, where [`Backing::take_run`] says. For code that needs one piece of physical memory,
    /// and for machines whose address space has no room for an arena.
    ///
    /// ```text
    ///   map of all memory   | others | stack | others | stack | stack | others |
    ///                                ^ arena's slots: every place a stack could have
    /// ```
    ///
    /// There is no guard: a frame that overshoots writes to what follows, and no access fails. What
    /// is left are the tests of SP at entries, and the end word ([`crate::end_word`]), which stops
    /// the system with the same report, late.
    ///
    /// # Errors
    ///
    /// As for [`Stacks::new`], and [`PoolError::HasGuards`] for a geometry with guards
    /// ([`Geometry::without_guards`] makes one without).
    ///
    /// # Safety
    ///
    /// 1. The arena is mapped as a whole, readable and writable, on every CPU and in every address
    ///    space, and stays so.
    /// 2. and 3. as for [`Stacks::new`].
    pub unsafe fn contiguous(
        arena: Arena,
        records: &'static mut [SlotRecord],
        backing: B,
    ) -> Result<Self, PoolError> {
        let (pool, shared) = Pool::contiguous(arena, records, ErasePolicy::Full)?;
        // SAFETY: (1) what lies in the arena is the pool's while a record says that it is a stack;
        // (2) to (4) by the caller's promise.
        Ok(unsafe { Self::of(pool, shared, backing) })
    }

    /// What [`stacks!`](crate::stacks!) expands to; refuses what cannot be while it is compiled.
    ///
    /// # Safety
    ///
    /// As for [`Stacks::new`], with the arena of `slots` slots at or above `lowest`; `records` are
    /// new and used by nothing else.
    #[doc(hidden)]
    #[must_use]
    pub const unsafe fn over(
        lowest: usize,
        slots: u32,
        geometry: Geometry,
        records: &'static [SlotRecord],
        backing: B,
    ) -> Self {
        let Some(lowest) = Arena::lowest_from(Addr::new(lowest), geometry) else {
            panic!("the arena of stacks reaches past the end of the address space")
        };
        let Ok(arena) = Arena::new(lowest, slots, geometry) else {
            panic!("the arena of stacks has no slot, or reaches past the end of the address space")
        };
        let Ok((pool, shared)) = Pool::over_new(arena, records, ErasePolicy::Dirtied) else {
            panic!("a stack of this geometry is too large")
        };
        // SAFETY: (1) by the caller's promise.
        unsafe { Self::of(pool, shared, backing) }
    }

    /// # Safety
    ///
    /// As for [`Registry::new`]; `shared` was made with `pool`.
    const unsafe fn of(pool: Pool<'static>, shared: PoolShared, backing: B) -> Self {
        // SAFETY: (1) by the caller's promise.
        let registry = unsafe { Registry::new(pool) };
        let nodes = AtomicPtr::new(core::ptr::null_mut());
        Self { registry, shared: SpinLock::new(shared), nodes, backing }
    }

    /// Makes these stacks the ones that entry code, the overflow handler and the unwinder know.
    /// Before the first stack is asked for, which [`cpu::bring_up`](crate::cpu::bring_up) sees to
    /// by itself.
    pub fn install(&'static self) {
        registry::install(&self.registry);
    }

    /// Makes these stacks known beside those that are installed: threads run on either. Stacks that
    /// belong to CPUs are the installed ones'. Once, before the first of these is asked for.
    pub fn install_beside(&'static self) {
        registry::install_beside(&self.registry);
    }

    /// What entry code, the overflow handler and the unwinder know of these stacks.
    #[inline(always)]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Where they lie.
    #[inline(always)]
    pub const fn arena(&self) -> &Arena {
        self.registry.arena()
    }

    /// The backing.
    #[inline(always)]
    pub const fn backing(&self) -> &B {
        &self.backing
    }

    #[inline(always)]
    pub(crate) const fn pool(&self) -> &Pool<'static> {
        // SAFETY: (1) this module uses it with its own lock and the backing's caches, as `new` was
        // promised.
        unsafe { self.registry.pool() }
    }

    /// A thread's stack, as large as a body, every byte zero. `owner` is what the kernel calls the
    /// thread: a [`ThreadId`] or its number, of which 0 is none. Called where waiting is allowed.
    ///
    /// From this CPU's cache it takes no lock and no TLB work; from the depot the pool's lock once,
    /// for half a cache of stacks; otherwise the backing maps each page. Always inlined, like
    /// [`Pool::acquire`].
    ///
    /// # Errors
    ///
    /// [`AcquireError`] names what was missing: address space, a frame, a page table, or the
    /// account's limit. All that was taken until then is given back.
    #[inline(always)]
    pub fn acquire_thread(
        &'static self,
        owner: impl Into<ThreadId>,
    ) -> Result<Stack<B>, AcquireError> {
        self.acquire_any(&Request::thread(owner.into()))
    }

    /// A stack for `request`, every byte zero; of a kind that threads have. Called where waiting is
    /// allowed.
    ///
    /// # Errors
    ///
    /// As for [`Stacks::acquire_thread`]; [`AcquireError::BadSize`] for no page or more than a body
    /// has, [`AcquireError::BelongsToCpu`] for a kind that threads do not have.
    #[inline]
    pub fn acquire(&'static self, request: &Request) -> Result<Stack<B>, AcquireError> {
        if request.kind.belongs_to_cpu() {
            return Err(AcquireError::BelongsToCpu);
        }
        self.acquire_any(request)
    }

    /// A stack that belongs to a CPU, of `pages` pages or as large as a body. Called where waiting
    /// is allowed.
    ///
    /// # Errors
    ///
    /// As for [`Stacks::acquire`].
    ///
    /// # Safety
    ///
    /// 1. It is dropped only when that CPU is off: until then an unwinder may read it at any time.
    pub unsafe fn acquire_for_cpu(
        &'static self,
        kind: StackKind,
        cpu: CpuId,
        pages: Option<u8>,
    ) -> Result<Stack<B>, AcquireError> {
        self.acquire_any(&Request::for_cpu(kind, cpu, pages))
    }

    #[inline(always)]
    fn acquire_any(&'static self, request: &Request) -> Result<Stack<B>, AcquireError> {
        let (mut local, mut pages) = (Answers(&self.backing), Answers(&self.backing));
        let stack = self.pool().acquire(request, &mut local, &Shared(self), &mut pages)?;
        let stack = Stack { stack: ManuallyDrop::new(stack), stacks: self };
        #[cfg(feature = "address-sanitizer")]
        crate::poison::forget_frames(stack.range());
        Ok(stack)
    }

    /// Keeps a stack from being unmapped or given to another thread while it is read. `None` once
    /// its owner has let go.
    pub fn borrow(&'static self, stack: StackRef) -> Option<Borrowed<B>> {
        let borrowed = self.pool().borrow(stack.slot, stack.generation)?;
        Some(Borrowed { borrowed: ManuallyDrop::new(borrowed), stacks: self })
    }

    /// Before `cpu`, on which this runs, writes to a stack or runs on it: forgets translations that
    /// are older than the last erasing. A load and a test when there is nothing to do. Interrupts
    /// off.
    #[inline(always)]
    pub fn make_coherent(&self, slot: SlotIndex, cpu: CpuId) {
        self.pool().make_coherent(slot, cpu, &mut Answers(&self.backing));
    }

    /// Unmaps up to `max` stacks that are more than enough. Returns how many. Where waiting is
    /// allowed.
    pub fn shrink(&self, max: u32) -> u32 {
        self.pool().shrink(max, &Shared(self), &mut Answers(&self.backing))
    }

    /// Unmaps up to `max` parked stacks, wanted or not, because memory is short. Returns how many.
    /// Where waiting is allowed. Stacks in CPU caches stay: drain those first.
    pub fn reclaim(&self, max: u32) -> u32 {
        self.pool().reclaim(max, &Shared(self), &mut Answers(&self.backing))
    }

    /// Empties the cache of the CPU this runs on into the depot. Returns how many stacks.
    pub fn drain_this_cpu(&self) -> usize {
        self.backing.with_cache(|cache| self.pool().drain_cpu(cache, &Shared(self)))
    }

    /// Ends a period of the depot, which follows the swings of the load; see [`crate::depot`]. At a
    /// steady rate, say once a second.
    pub fn end_period(&self) {
        self.each_node(PoolShared::end_period).for_each(drop);
    }

    /// How many stacks [`Stacks::shrink`] would unmap now.
    pub fn excess(&self) -> u32 {
        self.each_node(|shared| shared.excess()).sum()
    }

    /// How many stacks the depot has, and how many it wants.
    pub fn depot_counts(&self) -> (u32, u32) {
        let counts = self.each_node(|shared| (shared.depot().count(), shared.depot().target()));
        counts.fold((0, 0), |(all, wanted), (count, target)| (all + count, wanted + target))
    }

    /// How many slots and pages are where.
    pub fn census(&self) -> Census {
        self.pool().census()
    }

    /// What the cache of the CPU this runs on has seen so far.
    pub fn cache_stats(&self) -> CacheStats {
        self.backing.with_cache(|cache| cache.stats())
    }

    /// Runs `body` with interrupts off and the lock held, as if another CPU had it. For showing
    /// that something does not wait for it: what does, waits here without end.
    #[doc(hidden)]
    pub fn while_locked<R>(&self, body: impl FnOnce() -> R) -> R {
        Shared(self).with(|_| body())
    }

    #[inline(always)]
    fn note(&self, outcome: ReleaseOutcome) -> ReleaseOutcome {
        if let ReleaseOutcome::Flushed { excess: 1.. }
        | ReleaseOutcome::SentHome { excess: 1.. }
        | ReleaseOutcome::ToUnmap = outcome
        {
            self.backing.on_surplus();
        }
        outcome
    }
}

/// A stack and the right to run on it. Dropping it gives it back: in any context but an NMI, when
/// nothing runs on it any more.
#[derive(Debug)]
#[must_use = "a stack that is not kept is given back at once"]
pub struct Stack<B: Backing> {
    stack: ManuallyDrop<LiveStack>,
    stacks: &'static Stacks<B>,
}

impl<B: Backing> Stack<B> {
    /// Which stack it is, for [`Stacks::borrow`].
    #[inline(always)]
    pub fn as_ref(&self) -> StackRef {
        self.stack.as_ref()
    }

    /// Its bounds: the mapped part.
    #[inline(always)]
    pub fn range(&self) -> AddrRange {
        self.stacks.pool().body(self.stack.slot())
    }

    /// What is known about it: owner, depth, kind.
    #[inline(always)]
    pub fn record(&self) -> &'static SlotRecord {
        self.stacks.registry.record(self.stack.slot())
    }

    /// The stacks that it is one of.
    #[inline(always)]
    pub const fn stacks(&self) -> &'static Stacks<B> {
        self.stacks
    }

    /// Its frames are given up: a kernel that is compiled with the address sanitizer may touch all
    /// of it. Nothing without that.
    pub fn forget_frames(&self) {
        #[cfg(feature = "address-sanitizer")]
        crate::poison::forget_frames(self.range());
    }

    /// Gives it back and says where it went.
    #[inline]
    pub fn release(self) -> ReleaseOutcome {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: (1) `this` is forgotten: nothing takes the stack out again.
        unsafe { this.give_back() }
    }

    /// Before this CPU writes to the stack or runs on it: forgets translations that are older than
    /// the last erasing. Interrupts off.
    #[inline(always)]
    pub fn make_coherent(&self, cpu: CpuId) {
        self.stacks.make_coherent(self.stack.slot(), cpu);
    }

    /// # Safety
    ///
    /// 1. Nothing is done with `self` afterwards.
    #[inline(always)]
    unsafe fn give_back(&mut self) -> ReleaseOutcome {
        // SAFETY: (1) by the caller's promise it is taken out once.
        let stack = unsafe { ManuallyDrop::take(&mut self.stack) };
        let stacks = self.stacks;
        #[cfg(feature = "address-sanitizer")]
        crate::poison::forget_frames(stacks.pool().body(stack.slot()));
        stacks.note(stacks.backing.with_cache(|cache| {
            stacks.pool().release(stack, cache, &Shared(stacks), &mut Answers(&stacks.backing))
        }))
    }
}

impl<B: Backing> Drop for Stack<B> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: (1) this is the end of `self`.
        unsafe { self.give_back() };
    }
}

/// A stack that stays mapped, and its owner's, while it is read. Dropping it ends that, in any
/// context but an NMI.
#[derive(Debug)]
#[must_use = "a borrow that is not kept ends at once"]
pub struct Borrowed<B: Backing> {
    borrowed: ManuallyDrop<BorrowedStack>,
    stacks: &'static Stacks<B>,
}

impl<B: Backing> Borrowed<B> {
    /// Its bounds: the mapped part.
    pub fn range(&self) -> AddrRange {
        self.stacks.pool().body(self.borrowed.slot())
    }

    /// The registry that knows it.
    pub fn registry(&self) -> &'static Registry {
        &self.stacks.registry
    }

    /// For [`unwind::for_each_of`](crate::unwind::for_each_of).
    pub fn stack(&self) -> &BorrowedStack {
        &self.borrowed
    }
}

impl<B: Backing> Drop for Borrowed<B> {
    fn drop(&mut self) {
        // SAFETY: (1) this is the end of `self`, and the only place that takes it out.
        let borrowed = unsafe { ManuallyDrop::take(&mut self.borrowed) };
        let stacks = self.stacks;
        stacks.note(stacks.backing.with_cache(|cache| {
            stacks.pool().give_back(borrowed, cache, &Shared(stacks), &mut Answers(&stacks.backing))
        }));
    }
}

/// The [`Stacks`] of a backing: arena, records, pool and lock, for a static. What cannot be is
/// refused while it is compiled.
///
/// It is unsafe to expand: the addresses, `slots` times the geometry's stride from `lowest` on
/// (rounded up to where an arena may begin), must be used by nothing else, and the other conditions
/// of [`Stacks::new`] must hold.
///
/// ```
/// # use kstack::{Backing, Stacks, addr::{Addr, AddrRange}, cache::CpuCache, pool::Exhausted};
/// # struct Pages;
/// # // SAFETY: (1) it is never asked here.
/// # unsafe impl Backing for Pages {
/// #     fn map_page(&self, _: Addr) -> Result<(), Exhausted> { Err(Exhausted::Frame) }
/// #     fn unmap_pages(&self, _: AddrRange) {}
/// #     fn without_interrupts<R>(&self, body: impl FnOnce() -> R) -> R { body() }
/// #     fn with_cache<R>(&self, body: impl FnOnce(&mut CpuCache) -> R) -> R {
/// #         body(&mut CpuCache::new(kstack::addr::CpuId::new(0)))
/// #     }
/// # }
/// // SAFETY: (1) nothing else is from here to 0xffff_c900_0100_0000; (2) `Pages` is for these
/// // stacks; (3) `bring_up` sees to it.
/// static STACKS: Stacks<Pages> =
///     unsafe { kstack::stacks!(Pages, lowest: 0xffff_c900_0000_0000, slots: 512) };
/// assert_eq!(STACKS.census().free, 512);
/// ```
#[macro_export]
macro_rules! stacks {
    ($backing:expr, lowest: $lowest:expr, slots: $slots:expr $(,)?) => {
        $crate::stacks!($backing, lowest: $lowest, slots: $slots, geometry: $crate::GEOMETRY)
    };
    ($backing:expr, lowest: $lowest:expr, slots: $slots:expr, geometry: $geometry:expr $(,)?) => {{
        static RECORDS: [$crate::record::SlotRecord; $slots] =
            [const { $crate::record::SlotRecord::new() }; $slots];
        $crate::Stacks::over($lowest, $slots as u32, $geometry, &RECORDS, $backing)
    }};
}
