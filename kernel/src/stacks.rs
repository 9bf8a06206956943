//! The kernel's stacks: the library's pool over this machine's pages, and one owner type for every kind of stack.
//!
//! Acquiring is for threads, with interrupts on and no spinlock held: a mapping that fails half-way is undone, and that waits
//! for the other CPUs to forget it. Giving back works in interrupts too and never unmaps. Stacks that are more than enough
//! are unmapped by the thread `stackd`.

use crate::arch::layout::{ARENA, ARENA_SLOTS};
use crate::memory::stack_pages::StackPages;
use crate::sched::{self, Thread, WaitQueue};
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicPtr, Ordering};
use kstack::registry::Registry;
use kstack::{Borrowed, Stack, Stacks};
use kstack_core::addr::{Addr, AddrRange, CpuId};
use kstack_core::arena::{Arena, SlotIndex};
use kstack_core::cache::CacheStats;
use kstack_core::erase::ErasePolicy;
use kstack_core::kind::StackKind;
use kstack_core::pool::AcquireError;
pub use kstack_core::pool::StackRef;
use kstack_core::record::SlotRecord;

/// Why there is no stack.
pub type StackError = AcquireError;

/// A stack and the right to use it. Dropping it gives it back.
pub type OwnedStack = Stack<StackPages>;

static STACKS: AtomicPtr<Stacks<StackPages>> = AtomicPtr::new(core::ptr::null_mut());
static EXCESS: WaitQueue = WaitQueue::new();

/// Makes the arena, its records and the pool. Once, at boot, before the first stack. Not a static: the records come from the heap, whose
/// memory a small machine's image would have to carry.
pub fn set_up() {
    let geometry = kstack::arch::current::GEOMETRY;
    let lowest = Arena::lowest_from(Addr::new(ARENA as usize), geometry);
    let arena = lowest.map(|lowest| Arena::new(lowest, ARENA_SLOTS, geometry));
    let arena = arena.and_then(Result::ok).expect("the arena lies where it may");
    let mut records = Vec::new();
    records.resize_with(ARENA_SLOTS as usize, SlotRecord::new);
    // SAFETY: (1) ARENA is nobody else's in the map of the address space; (2) `StackPages` serves these stacks alone; (3) the first thing
    // that a CPU does is to load its block.
    let stacks = unsafe { Stacks::new(arena, records.leak(), ErasePolicy::Dirtied, StackPages) };
    let stacks: &'static _ = Box::leak(Box::new(stacks.expect("a record for every slot")));
    stacks.install();
    STACKS.store(core::ptr::from_ref(stacks).cast_mut(), Ordering::Release);
}

/// All stacks.
#[inline(always)]
pub fn all_stacks() -> &'static Stacks<StackPages> {
    // SAFETY: (1) null, or what `set_up` leaked.
    unsafe { STACKS.load(Ordering::Acquire).as_ref() }.expect("set up at boot")
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

/// A thread's stack, zeroed, of the default size.
#[inline]
pub fn acquire_thread(owner: u64) -> Result<OwnedStack, StackError> {
    all_stacks().acquire_thread(owner)
}

/// Before this CPU writes to a stack or runs on it: forgets translations that are older than the last erasing. Interrupts off.
#[cold]
#[inline(never)]
pub fn make_coherent(slot: SlotIndex, cpu: CpuId) {
    all_stacks().make_coherent(slot, cpu);
}

#[cold]
#[inline(never)]
pub(crate) fn wake_stackd() {
    EXCESS.wake_all();
}

/// The lowest SP sampled on a stack in its present life.
pub fn lowest_seen(slot: SlotIndex) -> Option<Addr> {
    registry().record(slot).watermark().lowest_sample()
}

/// Keeps a stack there while it is read, even if its thread ends; `None` if it is gone already.
pub fn borrow(stack: StackRef) -> Option<Borrowed<StackPages>> {
    all_stacks().borrow(stack)
}

/// Starts the thread that unmaps what is more than enough.
pub fn start_stackd() {
    let started = sched::spawn_kernel("stackd", |_| stackd(), 0);
    started.expect("a thread at boot");
}

fn stackd() {
    loop {
        EXCESS.wait_uninterruptibly(|| all_stacks().excess() > 0);
        shrink(u32::MAX);
        all_stacks().end_period();
    }
}

/// Unmaps up to `most` stacks that are more than enough. Returns how many.
pub fn shrink(most: u32) -> u32 {
    all_stacks().shrink(most)
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

/// Runs `body` while another CPU, as far as the pool can tell, has the part that the CPUs share: what asks for it spins without end. For
/// showing that something does not. Interrupts are off in `body`.
pub fn while_shared_is_locked<R>(body: impl FnOnce() -> R) -> R {
    all_stacks().while_locked(body)
}

/// How many slots and pages are where.
pub fn census() -> kstack_core::pool::Census {
    all_stacks().census()
}

/// One stack, for people.
#[derive(Debug)]
pub struct StackInfo {
    /// What it is for.
    pub kind: StackKind,
    /// The CPU it belongs to or runs on.
    pub cpu: Option<CpuId>,
    /// The thread it belongs to.
    pub owner: String,
    /// Its bounds.
    pub range: AddrRange,
    /// Where SP is, if that is known: of threads that are not running.
    pub sp: Option<Addr>,
    /// The lowest SP sampled.
    pub lowest_seen: Option<Addr>,
}

/// Every live stack.
pub fn all() -> Vec<StackInfo> {
    let threads = sched::all();
    let owner_of = |id: u64| threads.iter().find(|thread| thread.id() == id);
    let info = |(slot, stack): (SlotIndex, kstack_core::stacks::StackId)| {
        let thread = owner_of(stack.owner);
        StackInfo {
            kind: stack.kind,
            cpu: stack.cpu.or_else(|| thread.map(|thread| CpuId::new(thread.last_cpu()))),
            owner: thread.map_or_else(|| "-".to_string(), |thread| describe(thread)),
            range: stack.range,
            sp: thread
                .filter(|thread| !thread.is_on_cpu())
                .map(|thread| Addr::new(thread.saved_sp())),
            lowest_seen: lowest_seen(slot),
        }
    };
    registry().live().map(info).collect()
}

/// Writes a line for each live stack: kind, CPU, bounds, owner.
pub fn write_all(to: &mut dyn Write) -> fmt::Result {
    let mut threads = sched::try_all().map_err(|_| fmt::Error)?;
    threads.sort_unstable_by_key(|thread| thread.id());
    for (_, stack) in registry().live() {
        let found = threads.binary_search_by_key(&stack.owner, |thread| thread.id());
        let owner = found.ok().and_then(|at| threads.get(at));
        let cpu = stack.cpu.map(CpuId::get).or_else(|| owner.map(|thread| thread.last_cpu()));
        let cpu = cpu.map_or(-1, i64::from);
        write!(to, "{} {cpu} {:?} ", stack.kind, stack.range)?;
        match owner {
            Some(thread) => writeln!(to, "{} {}", thread.id(), thread.name())?,
            None => writeln!(to, "-")?,
        }
    }
    Ok(())
}

fn describe(thread: &Thread) -> String {
    alloc::format!("{} {}", thread.id(), thread.name())
}

/// The pool's figures, for people.
pub fn counts() -> String {
    let census = census();
    let (parked, target) = depot_counts();
    alloc::format!(
        "{} live, {} parked (depot {parked}, wants {target}), {} being taken back, {} slots free; {} pages mapped, {} in use",
        census.live,
        census.parked,
        census.ending,
        census.free,
        census.mapped_pages,
        census.used_pages,
    )
}
