//! The kernel's stacks: the library's pool over this machine's pages, and one owner type for every kind of stack.
//!
//! Acquiring is for threads, with interrupts on and no spinlock held: a mapping that fails half-way is undone, and that waits
//! for the other CPUs to forget it. Giving back works in interrupts too and never unmaps. That there are stacks more than enough is
//! told to a function that [`set_up`] is given; a thread unmaps them then with [`shrink`].

pub mod pages;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem::ManuallyDrop;
use kstack::registry::{self, Registry};
use kstack_core::addr::{Addr, AddrRange, CpuId};
use kstack_core::arena::{Arena, SlotIndex};
use kstack_core::cache::{CacheStats, CpuCache};
use kstack_core::depot::Depot;
use kstack_core::erase::ErasePolicy;
use kstack_core::kind::StackKind;
pub use kstack_core::pool::StackRef;
use kstack_core::pool::{
    AcquireError, BorrowedStack, CpuLocal, Fate, LiveStack, Lock, Pool, PoolShared, Request,
};
use kstack_core::record::{AccountId, OwnerId, SlotRecord};
use machine::arch::cpu;
use machine::arch::layout::{ARENA, ARENA_SLOTS};
use machine::cpus;
use machine::fn_cell::FnCell;
use machine::spin::SpinLock;
use pages::StackPages;

/// Why there is no stack.
pub type StackError = AcquireError;

static SHARED: SpinLock<Option<PoolShared>> = SpinLock::new(None);
/// What is called, from any context, when there are stacks more than enough.
static ON_EXCESS: FnCell<fn()> = FnCell::new();

/// The lock that the pool asks for.
struct SharedLock;

impl Lock for SharedLock {
    #[inline]
    fn with<R>(&self, f: impl FnOnce(&mut PoolShared) -> R) -> R {
        f(SHARED.lock().as_mut().expect("set up at boot"))
    }
}

/// The cache of whichever CPU this runs on.
struct ThisCpu;

impl CpuLocal for ThisCpu {
    #[inline(always)]
    fn with_cache<R>(&mut self, f: impl FnOnce(&mut CpuCache) -> R) -> R {
        cpu::without_interrupts(|| cpus::with_cache(f))
    }
}

/// Makes the arena, its records and the pool. Once, at boot, before the first stack. `on_excess` is called, from any context, when there
/// are stacks more than enough.
pub fn set_up(on_excess: fn()) {
    ON_EXCESS.set(Some(on_excess));
    let geometry = kstack::arch::current::GEOMETRY;
    let lowest = Arena::lowest_from(Addr::new(ARENA as usize), geometry);
    let arena = lowest.map(|lowest| Arena::new(lowest, ARENA_SLOTS, geometry));
    let arena = arena.and_then(Result::ok).expect("the arena lies where it may");
    let mut records = Vec::new();
    records.resize_with(ARENA_SLOTS as usize, SlotRecord::new);
    let (pool, shared) =
        Pool::new(arena, records.leak(), ErasePolicy::Dirtied).expect("a record for every slot");
    *SHARED.lock() = Some(shared);
    // SAFETY: (1) ARENA is nobody else's in the map of the address space; (2) the shared part, the caches of `cpus` and `StackPages` serve
    // this pool alone; (3) CPUs' stacks are never dropped; (4) the first thing that a CPU does is to load its block.
    let registry = unsafe { Registry::new(pool) };
    registry::install(Box::leak(Box::new(registry)));
}

/// The registry of all stacks.
#[inline(always)]
pub fn registry() -> &'static Registry {
    registry::get().expect("set up at boot")
}

/// The pool.
#[inline(always)]
fn pool() -> &'static Pool<'static> {
    // SAFETY: (1) this module uses it with what `set_up` made, and shows it to no other.
    unsafe { registry().pool() }
}

/// The arena.
pub fn arena() -> &'static Arena {
    registry().arena()
}

/// A stack and the right to use it. Dropping it gives it back.
#[derive(Debug)]
pub struct OwnedStack(ManuallyDrop<LiveStack>);

impl OwnedStack {
    /// A thread's stack, zeroed, of the default size.
    #[inline(always)]
    pub fn acquire_thread(owner: u64) -> Result<Self, StackError> {
        // The CPU that builds the first frame is entered by `make_coherent`; this is only where the thread may start.
        Self::acquire(&Request {
            kind: StackKind::Thread,
            owner: OwnerId::new(owner),
            cpu: CpuId::new(0),
            account: AccountId::SYSTEM,
            pages: None,
        })
    }

    /// A stack that belongs to a CPU.
    pub fn acquire_for_cpu(kind: StackKind, cpu: CpuId, pages: usize) -> Result<Self, StackError> {
        let pages = u8::try_from(pages).ok();
        let account = AccountId::SYSTEM;
        Self::acquire(&Request { kind, owner: OwnerId::NONE, cpu, account, pages })
    }

    #[inline(always)]
    fn acquire(request: &Request) -> Result<Self, StackError> {
        let stack = pool().acquire(request, &mut ThisCpu, &SharedLock, &mut StackPages)?;
        Ok(Self(ManuallyDrop::new(stack)))
    }

    /// Which stack it is.
    #[inline(always)]
    pub fn as_ref(&self) -> StackRef {
        self.0.as_ref()
    }

    /// Its bounds: the mapped part.
    #[inline(always)]
    pub fn range(&self) -> AddrRange {
        pool().body(self.0.slot())
    }
}

impl Drop for OwnedStack {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: (1) this is the end of `self`, and the only place that takes it out.
        give_back(unsafe { ManuallyDrop::take(&mut self.0) });
    }
}

/// Gives a stack back. Not inlined, so that a place where there may be one to drop, and mostly is none, has a test only.
#[inline(never)]
fn give_back(stack: LiveStack) {
    cpu::without_interrupts(|| {
        note_fate(cpus::with_cache(|cache| {
            pool().release(stack, cache, &SharedLock, &mut StackPages)
        }));
    });
}

#[inline(always)]
fn note_fate(fate: Fate) {
    if let Fate::Flushed { excess: 1.. } | Fate::ToUnmap = fate {
        tell_of_excess();
    }
}

#[cold]
#[inline(never)]
fn tell_of_excess() {
    if let Some(tell) = ON_EXCESS.get() {
        tell();
    }
}

/// Before this CPU writes to a stack or runs on it: forgets translations that are older than the last erasing. Interrupts off.
#[cold]
#[inline(never)]
pub fn make_coherent(slot: SlotIndex, cpu: CpuId) {
    pool().make_coherent(slot, cpu, &mut StackPages);
}

/// The lowest SP sampled on a stack in its present life.
pub fn lowest_seen(slot: SlotIndex) -> Option<Addr> {
    registry().record(slot).watermark().lowest_sample()
}

/// Runs `body` with a stack that stays there meanwhile, even if its thread ends; `None` if it is gone already.
pub fn with_borrowed<R>(stack: StackRef, body: impl FnOnce(&BorrowedStack) -> R) -> Option<R> {
    let pool = pool();
    let borrowed = pool.borrow(stack.slot, stack.generation)?;
    let result = body(&borrowed);
    let fate = cpu::without_interrupts(|| {
        cpus::with_cache(|cache| pool.give_back(borrowed, cache, &SharedLock, &mut StackPages))
    });
    note_fate(fate);
    Some(result)
}

/// The bounds of a borrowed stack: the mapped part.
pub fn range_of(stack: &BorrowedStack) -> AddrRange {
    pool().body(stack.slot())
}

/// How many stacks are more than enough now.
pub fn excess() -> u32 {
    SharedLock.with(|shared| shared.excess())
}

/// Begins a new period, after which the depot looks anew at how many stacks were enough.
pub fn end_period() {
    SharedLock.with(|shared| shared.depot.end_period());
}

/// Unmaps up to `most` stacks that are more than enough; how many it were.
pub fn shrink(most: u32) -> u32 {
    pool().shrink(most, &SharedLock, &mut StackPages)
}

/// Empties the cache of the CPU this runs on into the depot; how many stacks it were.
pub fn drain_this_cpu() -> usize {
    ThisCpu.with_cache(|cache| pool().drain_cpu(cache, &SharedLock))
}

/// Unmaps up to `most` stacks of the depot, wanted or not; how many it were.
pub fn reclaim(most: u32) -> u32 {
    pool().reclaim(most, &SharedLock, &mut StackPages)
}

/// What the cache of the CPU this runs on has seen so far.
pub fn cache_stats() -> CacheStats {
    ThisCpu.with_cache(|cache| cache.stats())
}

/// How many stacks the depot has, and how many it wants.
pub fn depot_counts() -> (u32, u32) {
    SharedLock.with(|shared| (shared.depot.count(), Depot::target(&shared.depot)))
}

/// Runs `body` while somebody else, as far as the pool can tell, has the part that the CPUs share: whatever asks for it
/// spins for ever. For showing that something does not. Interrupts are off in `body`.
pub fn while_shared_is_locked<R>(body: impl FnOnce() -> R) -> R {
    SharedLock.with(|_| body())
}

/// How many slots and pages are where.
pub fn census() -> kstack_core::pool::Census {
    pool().census()
}
