//! The kernel's stacks: the library's pool over this machine's pages, and one owner type for every
//! kind of stack.
//!
//! Acquiring is for threads, with interrupts on and no spinlock held: a mapping that fails half-way
//! is undone, and that waits for the other CPUs to forget it. Giving back works in interrupts too
//! and never unmaps. That there are stacks more than enough is told to a function that [`set_up`]
//! is given; a thread unmaps them then with [`shrink`].

pub mod accounts;
pub mod contiguous;
pub mod depths;
pub mod pages;
pub mod records;
mod runs;

use alloc::boxed::Box;
use core::sync::atomic::{AtomicPtr, Ordering};
use kstack::addr::{Addr, AddrRange, CpuId};
use kstack::arena::{Arena, SlotIndex};
use kstack::cache::CacheStats;
use kstack::erase::ErasePolicy;
use kstack::nodes::Nodes;
pub use kstack::pool::StackRef;
use kstack::pool::{AcquireError, Request};
use kstack::record::{AccountId, SlotRecord};
use kstack::registry::Registry;
use kstack::stacks::{StackId, ThreadId};
use kstack::{Borrowed, Stack, Stacks};
use machine::arch::layout::{ARENA, ARENA_SLOTS};
use machine::memory::fallible::NoMemory;
use pages::StackPages;
pub use pages::all_stacks;

/// Why there is no stack.
pub type StackError = AcquireError;

/// A stack and the right to use it. Dropping it gives it back.
pub type OwnedStack = Stack<StackPages>;

/// Those that threads get: the mapped ones, or the contiguous ones.
static OF_THREADS: AtomicPtr<Stacks<StackPages>> = AtomicPtr::new(core::ptr::null_mut());

/// Makes the arena, its records and the pool. Once, at boot, before the first stack.
/// `on_excess` is called, from any context, when there are stacks more than enough.
pub fn set_up(on_excess: fn()) {
    pages::ON_EXCESS.set(Some(on_excess));
    let geometry = kstack::arch::current::GEOMETRY;
    let lowest = Arena::lowest_from(Addr::new(ARENA as usize), geometry);
    let arena = lowest.map(|lowest| Arena::new(lowest, ARENA_SLOTS, geometry));
    let arena = arena.and_then(Result::ok).expect("the arena lies where it may");
    #[cfg(feature = "address-sanitizer")]
    // SAFETY: (1) at boot, by the only CPU.
    unsafe {
        kstack::sanitizer::begin(&arena)
    };
    // SAFETY: (1) ARENA is only these stacks' in the map of the address space; (2) `StackPages`
    // serves these stacks alone; (3) the first thing that a CPU does is to load its block.
    let stacks =
        unsafe { Stacks::new(arena, records::make(), ErasePolicy::Dirtied, StackPages::MAPPED) };
    let stacks: &'static _ = Box::leak(Box::new(stacks.expect("a record for every slot")));
    stacks.install();
    pages::install(stacks);
    give_threads(stacks);
}

/// Gives each memory node its part of the stacks, where there are several. Once, before other CPUs
/// are up.
pub fn settle_nodes() {
    static NODES: Nodes = Nodes::new();
    runs::divide(all_stacks(), &NODES);
    records::settle(|slot| all_stacks().node_at(arena().body(slot).lowest) as usize);
}

fn give_threads(stacks: &'static Stacks<StackPages>) {
    OF_THREADS.store(core::ptr::from_ref(stacks).cast_mut(), Ordering::Release);
}

/// Gives threads physically contiguous stacks from now on: the boot option `stacks=contiguous`.
pub fn make_threads_contiguous() -> Result<(), NoMemory> {
    contiguous::pool().map(give_threads)
}

/// The registry of all stacks.
#[inline(always)]
pub fn registry() -> &'static Registry {
    all_stacks().registry()
}

/// The arena.
pub fn arena() -> &'static Arena {
    all_stacks().arena()
}

/// A thread's stack, zeroed, of the default size. Inlined, as the pool's hit is: a call, its frame
/// and a result through memory cost half of what a hit does.
#[inline(always)]
pub fn acquire_thread(owner: ThreadId) -> Result<OwnedStack, StackError> {
    of_threads().acquire_thread(owner)
}

/// Where threads' stacks come from.
#[inline(always)]
fn of_threads() -> &'static Stacks<StackPages> {
    // SAFETY: (1) null, or what `set_up` or `contiguous::pool` leaked.
    let stacks = unsafe { OF_THREADS.load(Ordering::Acquire).as_ref() };
    stacks.expect("set up at boot")
}

/// A thread's stack that is physically contiguous, zeroed, of the default size.
pub fn acquire_contiguous(owner: ThreadId) -> Result<OwnedStack, StackError> {
    contiguous::pool().map_err(|_| StackError::NoMemory)?.acquire_thread(owner)
}

/// The pool that a stack is of.
fn home(stack: AddrRange) -> &'static Stacks<StackPages> {
    let mapped = all_stacks();
    if mapped.arena().range().contains(stack.lowest) {
        return mapped;
    }
    contiguous::pool_if_made().unwrap_or(mapped)
}

/// Every live stack, of either kind, with its record.
pub fn live() -> impl Iterator<Item = (&'static SlotRecord, StackId)> {
    kstack::registry::all()
        .flat_map(|all| all.live().map(move |(slot, stack)| (all.record(slot), stack)))
}

/// The same, charged to a group.
#[inline(always)]
pub fn acquire_charged(owner: ThreadId, account: AccountId) -> Result<OwnedStack, StackError> {
    let mut request = Request::thread(owner);
    request.account = account;
    of_threads().acquire(&request)
}

/// Before this CPU writes to a stack, of either kind, or runs on it: forgets translations that are
/// older than the last erasing. Interrupts off.
#[cold]
#[inline(never)]
pub(crate) fn make_coherent(stack: AddrRange, slot: SlotIndex, cpu: CpuId) {
    home(stack).make_coherent(slot, cpu);
}

/// Keeps a stack there while it is read, even if its thread ends; `None` if it is gone already. A
/// slot's number is one of its own pool, so it takes where the stack lies, too.
pub(crate) fn borrow(range: AddrRange, stack: StackRef) -> Option<Borrowed<StackPages>> {
    home(range).borrow(stack)
}

/// The pools there are.
fn pools() -> impl Iterator<Item = &'static Stacks<StackPages>> {
    core::iter::once(all_stacks()).chain(contiguous::pool_if_made())
}

/// How many stacks are more than enough now.
pub fn excess() -> u32 {
    pools().map(Stacks::excess).sum()
}

/// Begins a new period, after which the depot looks anew at how many stacks were enough.
pub fn end_period() {
    pools().for_each(Stacks::end_period);
}

/// Unmaps up to `most` stacks that are more than enough. Returns how many.
pub fn shrink(most: u32) -> u32 {
    pools().fold(0, |done, pool| done + pool.shrink(most - done))
}

/// Empties the cache of the CPU this runs on into the depot. Returns how many stacks.
pub fn drain_this_cpu() -> usize {
    all_stacks().drain_this_cpu()
}

/// Unmaps up to `most` stacks of the depot, wanted or not. Returns how many.
pub fn reclaim(most: u32) -> u32 {
    all_stacks().reclaim(most)
}

/// What the cache of the CPU this runs on has seen so far.
pub fn cache_stats() -> CacheStats {
    all_stacks().cache_stats()
}

/// How many stacks the depot has, and how many it wants.
pub fn depot_counts() -> (u32, u32) {
    all_stacks().depot_counts()
}

/// Runs `body` while another CPU, as far as the pool can tell, has the part that the CPUs share:
/// what asks for it spins without end. For showing that something does not. Interrupts are off in
/// `body`.
pub fn while_shared_is_locked<R>(body: impl FnOnce() -> R) -> R {
    all_stacks().while_locked(body)
}

/// Bytes of stacks in use that are of a memory node: what `KernelStack` is there.
pub fn used_bytes_on(node: usize) -> usize {
    let used = pools().map(|pool| pool.census_on(node as u32).used_pages as usize);
    used.sum::<usize>() * kstack::addr::PAGE_BYTES
}

/// Nothing below this address was written through the mapping of this stack since it was taken. By
/// the CPU that runs on it, interrupts off.
pub(crate) fn untouched_below(stack: AddrRange) -> Addr {
    pages::untouched_below(stack)
}

/// How many slots and pages are where.
pub fn census() -> kstack::pool::Census {
    all_stacks().census()
}
