//! The pages behind stacks: what the library's pool asks of a kernel, on this machine's page tables.
//!
//! The leaf entries of one stack lie next to each other in one page table (a body is at most 64 KiB and aligned to its size).
//! Page tables of the arena are made when the first page in their 2 MiB is mapped, and stay; [`LEAF_TABLES`] remembers them,
//! so that finding an entry is an index instead of a walk. Dirty bits are the CPU's: set by the first write through a translation that does not have
//! it cached as set. Erasing writes through the direct map, so it sets no dirty bit of the stack's own translation.

use crate::arch::paging;
use crate::arch::{cpu, smp};
use crate::memory::ARENA;
use crate::memory::frames::{self, Frame};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use kstack_core::addr::{Addr, AddrRange, ByteSize, PAGE_BYTES};
use kstack_core::erase::DirtyPages;
use kstack_core::pool::{Backing, Exhausted, OverLimit};
use kstack_core::record::AccountId;

/// Bytes of stacks that are charged to somebody.
static CHARGED: AtomicUsize = AtomicUsize::new(0);
/// Bytes that may be charged at most; 0: no limit.
static LIMIT: AtomicUsize = AtomicUsize::new(0);
/// Pages mapped behind stacks, live or parked.
static MAPPED: AtomicUsize = AtomicUsize::new(0);

/// The kernel's pages, for the pool.
#[derive(Debug)]
pub struct StackPages;

/// Bytes charged now: what `KernelStack` in /proc/meminfo says.
pub fn charged_bytes() -> usize {
    CHARGED.load(Ordering::Relaxed)
}

/// Pages mapped behind stacks now, live or parked.
pub fn mapped_pages() -> usize {
    MAPPED.load(Ordering::Relaxed)
}

/// Sets the most that may be charged; 0: no limit. Returns the old limit.
pub fn set_limit(bytes: usize) -> usize {
    LIMIT.swap(bytes, Ordering::Relaxed)
}

/// Bytes of address space that one page table of leaves covers.
const LEAF_TABLE_SPAN: usize = 2 << 20;
/// Enough for the whole arena.
const MOST_LEAF_TABLES: usize = 2048;

/// The leaf entries of each 2 MiB of the arena: the address of the first one, in the direct map.
static LEAF_TABLES: [AtomicUsize; MOST_LEAF_TABLES] =
    [const { AtomicUsize::new(0) }; MOST_LEAF_TABLES];

/// The leaf entry of a page of the arena, if its page table is there.
#[inline(always)]
fn leaf(page: Addr) -> Option<&'static AtomicU64> {
    let offset = page.get().wrapping_sub(ARENA as usize);
    let table = LEAF_TABLES.get(offset / LEAF_TABLE_SPAN)?.load(Ordering::Acquire);
    if table == 0 {
        return None;
    }
    let index = offset % LEAF_TABLE_SPAN / PAGE_BYTES;
    // SAFETY: (1) a page table of the arena, which stays; (2) the index is below 512.
    Some(unsafe { &*(table as *const AtomicU64).add(index) })
}

/// The same; makes and remembers the page table if it is not there yet.
fn leaf_or_new(page: Addr) -> Result<&'static AtomicU64, paging::NoMemory> {
    if let Some(leaf) = leaf(page) {
        return Ok(leaf);
    }
    let leaf = paging::kernel_leaf_or_new(page.get() as u64)?;
    let offset = page.get().wrapping_sub(ARENA as usize);
    let index = offset % LEAF_TABLE_SPAN / PAGE_BYTES;
    let table = core::ptr::from_ref(leaf) as usize - index * size_of::<AtomicU64>();
    if let Some(remembered) = LEAF_TABLES.get(offset / LEAF_TABLE_SPAN) {
        remembered.store(table, Ordering::Release);
    }
    Ok(leaf)
}

fn leaves(range: AddrRange) -> impl Iterator<Item = (Addr, &'static AtomicU64)> {
    let first = leaf(range.lowest).map(core::ptr::from_ref);
    (0..range.size().in_pages()).filter_map(move |page| {
        // SAFETY: (1) the entries of one body lie in one page table, see the module's head.
        let leaf = unsafe { &*first?.add(page) };
        Some((range.lowest.wrapping_add(ByteSize::pages(page)), leaf))
    })
}

impl Backing for StackPages {
    fn charge(&mut self, _account: AccountId, size: ByteSize) -> Result<(), OverLimit> {
        let after = CHARGED.fetch_add(size.get(), Ordering::Relaxed) + size.get();
        let limit = LIMIT.load(Ordering::Relaxed);
        if limit != 0 && after > limit {
            CHARGED.fetch_sub(size.get(), Ordering::Relaxed);
            return Err(OverLimit);
        }
        Ok(())
    }

    fn uncharge(&mut self, _account: AccountId, size: ByteSize) {
        CHARGED.fetch_sub(size.get(), Ordering::Relaxed);
    }

    fn map_page(&mut self, page: Addr) -> Result<(), Exhausted> {
        let frame = frames::alloc_zeroed().ok_or(Exhausted::Frame)?;
        match leaf_or_new(page) {
            Ok(leaf) => {
                paging::set_kernel_leaf(leaf, frame);
                MAPPED.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(paging::NoMemory) => {
                frames::release(frame);
                Err(Exhausted::PageTable)
            }
        }
    }

    fn unmap_pages(&mut self, range: AddrRange) {
        let mut taken: [Option<Frame>; 16] = [None; 16];
        for ((page, leaf), slot) in leaves(range).zip(&mut taken) {
            *slot = paging::leaf_frame(leaf.swap(0, Ordering::AcqRel));
            cpu::flush_page(page.get() as u64);
        }
        // No CPU may have a translation left when the frames get another owner.
        smp::flush_others();
        for frame in taken.into_iter().flatten() {
            frames::release(frame);
            MAPPED.fetch_sub(1, Ordering::Relaxed);
        }
    }

    #[inline]
    fn take_dirty(&mut self, body: AddrRange) -> DirtyPages {
        let Some(first) = leaf(body.lowest) else { return DirtyPages::NONE };
        let pages = body.size().in_pages();
        let mut dirty = 0;
        for index in 0..pages {
            // SAFETY: (1) the entries of one body lie in one page table, see the module's head.
            let leaf = unsafe { &*core::ptr::from_ref(first).add(index) };
            // Bit 0 is the topmost page: shifting as we go up leaves the last one there.
            dirty <<= 1;
            if paging::leaf_is_dirty(leaf) {
                paging::clear_dirty(leaf);
                // Or this CPU's next write would find the bit cached as set and not set it again.
                cpu::flush_page((body.lowest.get() + index * PAGE_BYTES) as u64);
                dirty |= 1;
            }
        }
        DirtyPages::from_bits(dirty)
    }

    fn flush_local(&mut self, body: AddrRange) {
        for page in 0..body.size().in_pages() {
            cpu::flush_page(body.lowest.wrapping_add(ByteSize::pages(page)).get() as u64);
        }
    }

    fn erase_page(&mut self, page: Addr) {
        if let Some(frame) =
            leaf(page).and_then(|leaf| paging::leaf_frame(leaf.load(Ordering::Acquire)))
        {
            frame.zero();
        }
    }
}
