//! Physically contiguous stacks: a second pool, whose stacks are runs of frames in the direct map.
//!
//! ```text
//!   mapped        arena: guard | body | guard     its pages anywhere in memory
//!   contiguous    direct map:  others | body | others | others | body
//! ```
//!
//! For a thread that asks for one ([`crate::sched::spawn_contiguous`]), or, with the boot option
//! `stacks=contiguous`, for every thread. Stacks that belong to CPUs stay mapped, with guards.
//!
//! What is lost: an access below such a stack fails nowhere. The tests of SP at entries still find
//! a thread that runs out of room, and end it as ever; what they are too late for, the end word
//! tells at the next switch, and the system stops: memory of others has been written.
//!
//! The pool is made when it is first asked for: its records are memory.

use super::pages::StackPages;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use kstack::Stacks;
use kstack::addr::{Addr, AddrRange, ByteSize, CpuId, PAGE_BYTES};
use kstack::arch::current::GEOMETRY;
use kstack::arena::Arena;
use kstack::cache::CpuCache;
use kstack::erase::DirtyPages;
use kstack::geometry::Geometry;
use kstack::pool::Exhausted;
use kstack::record::SlotRecord;
use machine::arch::cpu;
use machine::cpus::{self, MAX_CPUS};
use machine::memory::fallible::{self, NoMemory};
use machine::memory::frames::{self, Frame, RUN_FRAMES};
use machine::memory::{DIRECT_MAP, direct};
use machine::spin::SpinLock;

/// Places for stacks that there are records of: the lowest 1 GiB and more.
const MOST: u64 = 1 << 16;

static POOL: AtomicPtr<Stacks<StackPages>> = AtomicPtr::new(core::ptr::null_mut());
static MAKING: SpinLock<()> = SpinLock::new(());
/// Pages of contiguous stacks, live or parked.
static PAGES: AtomicUsize = AtomicUsize::new(0);

/// The pool, if something has asked for it.
#[inline]
pub fn pool_if_made() -> Option<&'static Stacks<StackPages>> {
    // SAFETY: (1) null, or what `pool` leaked.
    unsafe { POOL.load(Ordering::Acquire).as_ref() }
}

/// The pool; made now if this is the first that asks.
pub fn pool() -> Result<&'static Stacks<StackPages>, NoMemory> {
    if let Some(pool) = pool_if_made() {
        return Ok(pool);
    }
    let arena = arena();
    let mut records = Vec::new();
    records.try_reserve_exact(arena.slots() as usize).map_err(|_| NoMemory)?;
    records.resize_with(arena.slots() as usize, SlotRecord::new);
    // SAFETY: (1) the direct map has all memory, and stays; (2) `CONTIGUOUS` serves these stacks
    // alone; (3) the first thing that a CPU does is to load its block.
    let made = unsafe { Stacks::contiguous(arena, records.leak(), StackPages::CONTIGUOUS) };
    let made = fallible::boxed(made.expect("a record for every slot, and no guards"))?;
    let _making = MAKING.lock();
    if let Some(pool) = pool_if_made() {
        // Another CPU was faster. What was made here stays unused.
        return Ok(pool);
    }
    let made: &'static Stacks<StackPages> = alloc::boxed::Box::leak(made);
    made.install_beside();
    POOL.store(core::ptr::from_ref(made).cast_mut(), Ordering::Release);
    Ok(made)
}

/// Every place in the direct map where a stack could lie, as far as there are records.
fn arena() -> Arena {
    let shape = Geometry::without_guards(GEOMETRY.body(), GEOMETRY.align());
    let shape = shape.expect("of a geometry that is one");
    let memory = frames::described();
    let lowest = Addr::new(direct::<u8>(memory.start) as usize);
    let lowest = Arena::lowest_from(lowest, shape).expect("memory does not end there");
    let bytes = (memory.end + DIRECT_MAP).saturating_sub(lowest.get() as u64);
    let slots = (bytes / shape.stride().get() as u64).clamp(1, MOST);
    Arena::new(lowest, slots as u32, shape).expect("memory does not end before")
}

/// Pages of contiguous stacks now, live or parked.
pub fn held_pages() -> usize {
    PAGES.load(Ordering::Relaxed)
}

fn frame_at(at: Addr) -> Frame {
    Frame::at(at.get() as u64 - DIRECT_MAP)
}

pub(super) fn take_run(pages: u8) -> Result<AddrRange, Exhausted> {
    let pool = pool_if_made().ok_or(Exhausted::Frame)?;
    let top = pool.arena().range().top.get() as u64 - DIRECT_MAP;
    let first = frames::alloc_zeroed_run(top).ok_or(Exhausted::Frame)?;
    let body = AddrRange::sized(Addr::new(first.bytes_ptr() as usize), GEOMETRY.body());
    let stack =
        AddrRange { lowest: body.top.wrapping_sub(ByteSize::pages(pages.into())), top: body.top };
    release(AddrRange { lowest: body.lowest, top: stack.lowest });
    PAGES.fetch_add(pages.into(), Ordering::Relaxed);
    Ok(stack)
}

pub(super) fn give_run(stack: AddrRange) {
    PAGES.fetch_sub(stack.size().in_pages(), Ordering::Relaxed);
    if stack.size().in_pages() == RUN_FRAMES {
        frames::release_run(frame_at(stack.lowest));
    } else {
        release(stack);
    }
}

/// Gives frames back one by one.
fn release(range: AddrRange) {
    let pages = (range.lowest.get()..range.top.get()).step_by(PAGE_BYTES);
    frames::release_of_stacks(pages.map(|page| frame_at(Addr::new(page))));
}

/// No dirty bits are kept of the direct map: what the plan makes of all pages.
#[cold]
#[inline(never)]
pub(super) fn erase(body: AddrRange, plan: impl FnOnce(DirtyPages) -> DirtyPages) -> u32 {
    let pages = plan(DirtyPages::topmost(RUN_FRAMES as u8));
    for page in pages.addresses(body.top) {
        // SAFETY: (1) interrupts are off here, as the trait says.
        unsafe { frame_at(page).zero_uninterrupted() };
    }
    pages.count()
}

struct Cache(UnsafeCell<CpuCache>);

// SAFETY: (1) a CPU touches its own alone, with interrupts off, once at a time.
unsafe impl Sync for Cache {}

static CACHES: [Cache; MAX_CPUS] = {
    let mut caches = [const { Cache(UnsafeCell::new(CpuCache::new(CpuId::new(0)))) }; MAX_CPUS];
    let mut number = 0;
    while number < MAX_CPUS {
        caches[number] = Cache(UnsafeCell::new(CpuCache::new(CpuId::new(number as u32))));
        number += 1;
    }
    caches
};

#[cold]
#[inline(never)]
pub(super) fn with_cache<R>(body: impl FnOnce(&mut CpuCache) -> R) -> R {
    cpu::without_interrupts(|| {
        let cache = CACHES[cpus::this().id().index()].0.get();
        // SAFETY: (1) this CPU's own, with interrupts off; the pool asks for it once at a time.
        body(unsafe { &mut *cache })
    })
}
