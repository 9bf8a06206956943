//! The pages behind stacks: what the library's pool asks of a kernel, on this machine's page
//! tables.
//!
//! The leaf entries of one stack lie next to each other in one page table (a body is aligned to its
//! size, or to twice that). Page tables of the arena are made when the first page in their 2 MiB is
//! mapped, and stay; [`LEAF_TABLES`] remembers them, so that finding an entry is an index instead
//! of a walk. Dirty bits are the CPU's: set by the first write through a translation that does not
//! have it cached as set. Erasing writes through the direct map, so it sets no dirty bit of the
//! stack's own translation.

pub use super::accounts::{charged_bytes, set_limit};
use super::{accounts, runs};
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use kstack::addr::{Addr, AddrRange, ByteSize, PAGE_BYTES};
use kstack::arch::current::GEOMETRY;
use kstack::cache::CpuCache;
use kstack::end_word::END_WORD;
use kstack::erase::DirtyPages;
use kstack::local::CpuLocal;
use kstack::pool::{Exhausted, OverLimit};
use kstack::record::AccountId;
use kstack::{Backing, Stacks};
use machine::arch::paging;
use machine::arch::{cpu, smp};
use machine::fn_cell::FnCell;
use machine::memory::frames::{self, Frame};
use machine::memory::{ARENA, direct};
use machine::nodes;

/// Pages mapped behind stacks, live or parked.
static MAPPED: AtomicUsize = AtomicUsize::new(0);

/// The kernel's pages, for a pool.
#[derive(Debug)]
pub struct StackPages {
    /// For stacks in the direct map, which nothing is mapped for.
    is_contiguous: bool,
}

impl StackPages {
    pub(super) const MAPPED: Self = Self { is_contiguous: false };
    pub(super) const CONTIGUOUS: Self = Self { is_contiguous: true };
}

/// Pages mapped behind stacks now, live or parked.
pub fn mapped_pages() -> usize {
    MAPPED.load(Ordering::Relaxed)
}

/// Bytes of address space that one page table of leaves covers.
const LEAF_TABLE_SPAN: usize = 2 << 20;
/// Enough for the whole arena.
const MAX_LEAF_TABLES: usize = 2048;

/// Pages of a body. The leaf entries of a whole one are an array among those of its 2 MiB.
const BODY_PAGES: usize = GEOMETRY.body().in_pages();
const _: () = assert!(
    (LEAF_TABLE_SPAN / PAGE_BYTES).is_multiple_of(BODY_PAGES)
        && GEOMETRY.align().get().is_multiple_of(GEOMETRY.body().get())
);

/// The leaf entries of each 2 MiB of the arena: the address of the first one, in the direct map.
static LEAF_TABLES: [AtomicUsize; MAX_LEAF_TABLES] =
    [const { AtomicUsize::new(0) }; MAX_LEAF_TABLES];

/// Page tables of the arena: frames that stay once they were taken. Which stretches of the arena
/// are in use, and so how many tables there are, depends on which CPUs made stacks at one time.
pub fn leaf_tables() -> usize {
    LEAF_TABLES.iter().filter(|table| table.load(Ordering::Relaxed) != 0).count()
}

/// Where the leaf entries of the 2 MiB around a page of the arena begin, and which of them is the
/// page's; if they are there.
#[inline(always)]
fn leaf_table(page: Addr) -> Option<(*const AtomicU64, usize)> {
    let offset = page.get().wrapping_sub(ARENA as usize);
    let table = LEAF_TABLES.get(offset / LEAF_TABLE_SPAN)?.load(Ordering::Acquire);
    let index = offset % LEAF_TABLE_SPAN / PAGE_BYTES;
    (table != 0).then_some((table as *const AtomicU64, index))
}

/// The leaf entry of a page of the arena, if its page table is there.
pub fn leaf(page: Addr) -> Option<&'static AtomicU64> {
    let (table, index) = leaf_table(page)?;
    // SAFETY: (1) a page table of the arena, which stays; (2) the index is below 512.
    Some(unsafe { &*table.add(index) })
}

/// The leaf entries of a whole body, the lowest page's first, if their page table is there.
#[inline(always)]
fn body_leaves(body: AddrRange) -> Option<&'static [AtomicU64; BODY_PAGES]> {
    debug_assert!(body.size() == GEOMETRY.body());
    let (table, index) = leaf_table(body.lowest)?;
    // SAFETY: (1) a page table of the arena, which stays; (2) the index is below 512, and 512 is a
    // multiple of the number of entries taken together (below `BODY_PAGES`).
    Some(unsafe { &*table.cast::<[AtomicU64; BODY_PAGES]>().add(index / BODY_PAGES) })
}

/// Which pages of a stack were written in its present life, as a query. For one that is not in the
/// arena: all of them.
pub(super) fn dirty(stack: AddrRange) -> DirtyPages {
    let all = DirtyPages::topmost(stack.size().in_pages() as u8);
    let is_clean = |page: &Addr| leaf(*page).is_some_and(|leaf| !paging::is_dirty(leaf));
    (0..).zip(all.addresses(stack.top)).fold(DirtyPages::NONE, |dirty, (number, page)| {
        if is_clean(&page) { dirty } else { dirty.with(number) }
    })
}

/// Nothing below this address was written through the mapping of this stack in its present life:
/// where its lowest dirty page begins. By the CPU that runs on it, interrupts off.
pub(super) fn untouched_below(stack: AddrRange) -> Addr {
    paging::settle_dirty();
    let is_clean =
        |page: &usize| leaf(Addr::new(*page)).is_some_and(|leaf| !paging::is_dirty(leaf));
    let mut pages = (stack.lowest.get()..stack.top.get()).step_by(PAGE_BYTES);
    let dirty = pages.find(|page| !is_clean(page));
    Addr::new(dirty.unwrap_or(stack.lowest.get()))
}

/// The addresses of pages of a whole body. A loop of known length, unlike that of
/// [`DirtyPages::addresses`].
#[inline(always)]
fn body_pages(body: AddrRange, pages: DirtyPages) -> impl Iterator<Item = u64> {
    let address = move |page: usize| body.top.wrapping_sub(ByteSize::pages(page + 1)).get() as u64;
    (0..BODY_PAGES).filter(move |&page| pages.contains(page as u8)).map(address)
}

/// The same as [`leaf`]; makes and remembers the page table if it is not there yet. Two CPUs may do
/// so at once: they get the same table, and remember it when it can be used on every CPU.
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

/// Maps the shadow of a page of a stack, for the sanitizer, unless it is there. It stays, as the
/// page tables of the arena do.
#[cfg(feature = "address-sanitizer")]
fn map_shadow(page: Addr) -> Result<(), Exhausted> {
    use kstack::sanitizer;
    static MAPPING: machine::spin::SpinLock<()> = machine::spin::SpinLock::new(());
    if sanitizer::has_shadow(page) {
        return Ok(());
    }
    let frame = frames::alloc_zeroed_for_stack(0).ok_or(Exhausted::Frame)?;
    let _one = MAPPING.lock();
    let leaf = match paging::kernel_leaf_or_new(sanitizer::shadow_page(page).get() as u64) {
        Ok(leaf) if !sanitizer::has_shadow(page) => leaf,
        other => {
            frames::release_of_stacks(core::iter::once(frame));
            return other.map(|_| ()).map_err(|paging::NoMemory| Exhausted::PageTable);
        }
    };
    paging::set_kernel_leaf(leaf, frame);
    // SAFETY: (1) just mapped, of a frame of zeros, in tables that all CPUs share; (2) under the
    // lock.
    unsafe { sanitizer::add_shadow(page) };
    Ok(())
}

static STACKS: AtomicPtr<Stacks<StackPages>> = AtomicPtr::new(core::ptr::null_mut());

/// These are the mapped stacks from now on. Once, at boot.
pub(super) fn install(stacks: &'static Stacks<StackPages>) {
    STACKS.store(core::ptr::from_ref(stacks).cast_mut(), Ordering::Release);
}

/// All mapped stacks.
#[inline(always)]
pub fn all_stacks() -> &'static Stacks<StackPages> {
    // SAFETY: (1) null, or what `install` was given.
    unsafe { STACKS.load(Ordering::Acquire).as_ref() }.expect("set up at boot")
}

/// What is called, from any context, when there are stacks more than enough.
pub(super) static ON_EXCESS: FnCell<fn()> = FnCell::new();

#[cold]
#[inline(never)]
fn tell_of_excess() {
    if let Some(tell) = ON_EXCESS.get() {
        tell();
    }
}

// SAFETY: (1) `map_page` puts a frame of its own there, in tables that all address spaces share,
// before it says so; runs of frames are in the direct map; (2) `unmap_pages` waits for all CPUs;
// (3) dirty bits are taken before translations are dropped, and `flush_local` drops all of a body;
// contiguous bodies are erased whole; (4) a CPU's first act is to load its block, and there is one
// pool of each kind, with caches of its own; (5) handlers of this kernel run as interrupts do, and
// NMIs ask for no stack.
unsafe impl Backing for StackPages {
    const FRAMES_ARE_ZEROED: bool = true;
    const ABSENT_IS_REMEMBERED: bool = paging::ABSENT_IS_REMEMBERED;

    #[inline(always)]
    fn charge(&self, account: AccountId, size: ByteSize) -> Result<(), OverLimit> {
        accounts::charge(account, size.in_pages() as u32)
    }

    #[inline(always)]
    fn uncharge(&self, account: AccountId, size: ByteSize) {
        accounts::uncharge(account, size.in_pages() as u32);
    }

    fn map_page(&self, page: Addr) -> Result<(), Exhausted> {
        #[cfg(feature = "address-sanitizer")]
        map_shadow(page)?;
        let node = if nodes::count() == 1 { 0 } else { all_stacks().node_at(page) };
        let frame = frames::alloc_zeroed_for_stack(node as usize).ok_or(Exhausted::Frame)?;
        match leaf_or_new(page) {
            Ok(leaf) => {
                paging::set_kernel_leaf(leaf, frame);
                MAPPED.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(paging::NoMemory) => {
                frames::release_of_stacks(core::iter::once(frame));
                Err(Exhausted::PageTable)
            }
        }
    }

    fn unmap_pages(&self, range: AddrRange) {
        let pages = || (range.lowest.get()..range.top.get()).step_by(PAGE_BYTES);
        let mut taken: [Option<Frame>; BODY_PAGES] = [None; BODY_PAGES];
        for (page, place) in pages().zip(&mut taken) {
            *place = leaf(Addr::new(page))
                .and_then(|leaf| paging::leaf_frame(leaf.swap(0, Ordering::AcqRel)));
        }
        cpu::flush_pages(pages().map(|page| page as u64));
        // No CPU may have a translation left when the frames get another owner.
        smp::flush_others();
        let taken = taken.into_iter().flatten();
        MAPPED.fetch_sub(taken.clone().count(), Ordering::Relaxed);
        frames::release_of_stacks(taken);
    }

    fn node(&self) -> u32 {
        nodes::here() as u32
    }

    fn node_of(&self, lowest: Addr) -> u32 {
        runs::node_of(lowest)
    }

    fn take_run(&self, pages: u8) -> Result<AddrRange, Exhausted> {
        runs::take_run(pages)
    }

    fn give_run(&self, stack: AddrRange) {
        runs::give_run(stack);
    }

    #[inline(always)]
    fn erase(&self, body: AddrRange, plan: impl FnOnce(DirtyPages) -> DirtyPages) -> u32 {
        let Some(leaves) = body_leaves(body) else {
            // No dirty bits are kept of the direct map.
            return runs::erase(body, plan(DirtyPages::topmost(BODY_PAGES as u8)));
        };
        let mut dirty = DirtyPages::NONE;
        for (page, leaf) in (0..).zip(leaves.iter().rev()) {
            if paging::take_dirty(leaf) {
                dirty = dirty.with(page);
            }
        }
        if !dirty.is_empty() && paging::dirty_is_cached() {
            // Or this CPU's next write would find the bit cached as set and not set it again.
            cpu::flush_pages(body_pages(body, dirty));
        }
        let pages = plan(dirty);
        let mut erased = 0;
        for (page, leaf) in (0..).zip(leaves.iter().rev()) {
            if pages.contains(page)
                && let Some(frame) = paging::leaf_frame(leaf.load(Ordering::Relaxed))
            {
                // SAFETY: (1) interrupts are off here, as the trait says.
                unsafe { frame.zero_uninterrupted() };
                erased += 1;
            }
        }
        erased
    }

    fn flush_local(&self, body: AddrRange) {
        if self.is_contiguous {
            // The direct map does not change, and its dirty bits are not read.
            return;
        }
        cpu::flush_pages(body_pages(body, DirtyPages::topmost(BODY_PAGES as u8)));
    }

    #[inline]
    fn mark_end(&self, end: Addr) {
        let frame = leaf(end).and_then(|leaf| paging::leaf_frame(leaf.load(Ordering::Relaxed)));
        if let Some(frame) = frame {
            let at = frame.addr() + (end.get() % PAGE_BYTES) as u64;
            // SAFETY: (1) a word of a frame of ours, in the direct map: the stack's own translation
            // stays clean.
            unsafe { direct::<usize>(at).write_volatile(END_WORD) };
        } else if self.is_contiguous {
            // SAFETY: (1) the same, and the stack's only mapping.
            unsafe { (end.get() as *mut usize).write_volatile(END_WORD) };
        }
    }

    fn on_surplus(&self) {
        tell_of_excess();
    }

    fn relax(&self) {
        // The CPU that has the lock, or any other, may be waiting for this one to flush its TLB.
        smp::answer_flush();
        // Or have ended the machine.
        machine::halt::park_if_asked();
        core::hint::spin_loop();
    }

    #[inline(always)]
    fn without_interrupts<R>(&self, body: impl FnOnce() -> R) -> R {
        cpu::without_interrupts(body)
    }

    #[inline(always)]
    fn with_cache<R>(&self, body: impl FnOnce(&mut CpuCache) -> R) -> R {
        cpu::without_interrupts(|| {
            // SAFETY: (1) the CPU has loaded its block, and interrupts are off; (2) the pool of
            // mapped stacks comes here once at a time, and what another takes is not touched.
            let mapped = unsafe { CpuLocal::this().with_cache(core::ptr::from_mut) };
            let cache = if self.is_contiguous { runs::cache() } else { mapped };
            // SAFETY: (1) this CPU's own cache for this pool, with interrupts off; (2) the pool
            // asks for it once at a time.
            body(unsafe { &mut *cache })
        })
    }
}
