//! The frames behind contiguous stacks, and the CPUs' caches of them: what the pool asks of a
//! kernel.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};
use kstack::addr::{Addr, AddrRange, ByteSize, CpuId, PAGE_BYTES};
use kstack::arch::current::GEOMETRY;
use kstack::cache::CpuCache;
use kstack::erase::DirtyPages;
use kstack::nodes::Nodes;
use kstack::pool::Exhausted;
use kstack::{Backing, Stacks};
use machine::cpus::{self, MAX_CPUS};
use machine::memory::DIRECT_MAP;
use machine::memory::frames::{self, Frame, RUN_FRAMES};
use machine::{log, nodes};

/// Pages of contiguous stacks, live or parked.
static PAGES: AtomicUsize = AtomicUsize::new(0);
/// Where the arena ends: no stack is taken from memory above.
static TOP: AtomicUsize = AtomicUsize::new(DIRECT_MAP as usize);

/// There are records of the places below this address, and of none above.
pub(super) fn set_top(top: Addr) {
    TOP.store(top.get(), Ordering::Relaxed);
}

/// Gives each memory node its part of some stacks, where there are several nodes.
pub(super) fn divide<B: Backing>(stacks: &Stacks<B>, parts: &'static Nodes) {
    let count = nodes::count() as u32;
    if count > 1 && stacks.divide(parts, count).is_err() {
        log!("{count} memory nodes, and too few slots for stacks of each: they share all");
    }
}

/// Pages of contiguous stacks now, live or parked.
pub fn held_pages() -> usize {
    PAGES.load(Ordering::Relaxed)
}

/// The memory node that a stack in the direct map is of.
pub(super) fn node_of(lowest: Addr) -> u32 {
    nodes::of_memory(frame_at(lowest).addr()) as u32
}

fn frame_at(at: Addr) -> Frame {
    Frame::at(at.get() as u64 - DIRECT_MAP)
}

pub(super) fn take_run(pages: u8) -> Result<AddrRange, Exhausted> {
    let top = TOP.load(Ordering::Relaxed) as u64;
    let first = frames::alloc_zeroed_run(top - DIRECT_MAP).ok_or(Exhausted::Frame)?;
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

/// Zeroes these pages of a stack. Interrupts are off.
#[cold]
#[inline(never)]
pub(super) fn erase(body: AddrRange, pages: DirtyPages) -> u32 {
    for page in pages.addresses(body.top) {
        // SAFETY: (1) interrupts are off here, by the caller's word.
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

/// The cache of the CPU this runs on. Interrupts off.
#[cold]
#[inline(never)]
pub(super) fn cache() -> *mut CpuCache {
    CACHES[cpus::this().id().index()].0.get()
}
