//! The kernel's heap: the crate `talc` over frames of the direct map, behind a lock that is safe
//! against interrupts, with some small blocks of each size kept for the next; and one layout from a
//! slab cache of its own.
//!
//! A thread is held by an `Arc`, which allocates through the global allocator. Its layout is unlike
//! any other, so the allocator knows it by that and serves it from the cache that [`serve_from`]
//! gave it.

use crate::cpus;
use crate::memory::slab::Slab;
use crate::spin::SpinLock;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use talc::{ErrOnOom, Span, Talc};

struct Heap(SpinLock<Blocks>);

#[global_allocator]
static HEAP: Heap = Heap(SpinLock::new(Blocks::new()));

/// What there is to give out: the allocator's, and small blocks that came back and are kept for the
/// next who asks for that size. Under one lock.
struct Blocks {
    talc: Talc<ErrOnOom>,
    kept: [Kept; KINDS],
}

/// Blocks of one size: the first, in each the address of the next, and how many.
#[derive(Clone, Copy)]
struct Kept {
    first: *mut u8,
    count: usize,
}

/// Blocks of up to this size are kept, each as large as a multiple of [`STEP`].
const MAX_KEPT_BYTES: usize = 1024;
const STEP: usize = 32;
const KINDS: usize = MAX_KEPT_BYTES / STEP;
/// As many of a size: what threads and processes come and go with.
const MAX_KEPT: usize = 16;

// SAFETY: (1) the pointers lead to free blocks, which are this heap's alone, under its lock.
unsafe impl Send for Blocks {}

/// How large a block for a layout really is: of those that may be kept, a multiple of [`STEP`].
#[inline(always)]
fn rounded(layout: Layout) -> Layout {
    if layout.size() > MAX_KEPT_BYTES {
        return layout;
    }
    let bytes = layout.size().next_multiple_of(STEP);
    // SAFETY: (1) the alignment is that of a layout; (2) so small a size does not overflow when it
    // is rounded up to any alignment that a layout of it can have: at most the half of all
    // addresses, and this is a layout already.
    unsafe { Layout::from_size_align_unchecked(bytes, layout.align()) }
}

/// Which of the kept ones a size is.
#[inline(always)]
fn kind(bytes: usize) -> Option<usize> {
    (1..=MAX_KEPT_BYTES).contains(&bytes).then(|| (bytes - 1) / STEP)
}

impl Blocks {
    const fn new() -> Self {
        let none = Kept { first: ptr::null_mut(), count: 0 };
        Self { talc: Talc::new(ErrOnOom), kept: [none; KINDS] }
    }

    /// # Safety
    ///
    /// 1. The size is not 0.
    #[inline(always)]
    unsafe fn take(&mut self, layout: Layout) -> *mut u8 {
        if let Some(kept) = kind(layout.size()).map(|kind| &mut self.kept[kind]) {
            let block = kept.first;
            if !block.is_null() && block.addr() & (layout.align() - 1) == 0 {
                // SAFETY: (1) `give` wrote the next one there; nothing else has the block.
                kept.first = unsafe { block.cast::<*mut u8>().read() };
                kept.count -= 1;
                return block;
            }
        }
        // SAFETY: (1) by the caller's promise.
        unsafe { self.allocate(rounded(layout)) }
    }

    /// # Safety
    ///
    /// 1. The size is not 0.
    #[inline(never)]
    unsafe fn allocate(&mut self, layout: Layout) -> *mut u8 {
        // SAFETY: (1) by the caller's promise.
        if let Ok(block) = unsafe { self.talc.malloc(layout) } {
            return block.as_ptr();
        }
        // What is kept may be what is missing.
        self.give_up_kept();
        // SAFETY: (1) as above.
        unsafe { self.talc.malloc(layout) }.map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    #[cold]
    fn give_up_kept(&mut self) {
        for kind in 0..KINDS {
            while let Some(block) = NonNull::new(self.kept[kind].first) {
                // SAFETY: (1) as in `take`.
                self.kept[kind].first = unsafe { block.cast::<*mut u8>().read() };
                // SAFETY: (1) a block of this size, as it was allocated; the alignment says nothing
                // when it is freed.
                unsafe {
                    let layout = Layout::from_size_align_unchecked((kind + 1) * STEP, 1);
                    self.talc.free(block, layout);
                }
            }
            self.kept[kind].count = 0;
        }
    }

    /// # Safety
    ///
    /// 1. The block came from [`Blocks::take`] with this layout, and is not used any more.
    #[inline(always)]
    unsafe fn give(&mut self, block: NonNull<u8>, layout: Layout) {
        if let Some(kept) = kind(layout.size()).map(|kind| &mut self.kept[kind])
            && kept.count < MAX_KEPT
        {
            // SAFETY: (1) it has room for an address, and its alignment is at least that of one:
            // the allocator gives no less.
            unsafe { block.cast::<*mut u8>().write(kept.first) };
            kept.first = block.as_ptr();
            kept.count += 1;
            return;
        }
        // SAFETY: (1) as large as it was allocated.
        unsafe { self.talc.free(block, rounded(layout)) };
    }
}

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// Bytes given out now, as they were asked for.
pub fn allocated_bytes() -> usize {
    ALLOCATED.load(Ordering::Relaxed)
}

static LOWEST: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

/// Whether so many bytes more leave a quarter of the heap free. What outlives its maker asks:
/// names, links and nodes. So there is always room for the call that removes them.
pub fn has_room_for_nodes(more: usize) -> bool {
    allocated_bytes().saturating_add(more) <= BYTES.load(Ordering::Relaxed) / 4 * 3
}

/// Gives the heap its memory, once, at boot.
///
/// # Safety
///
/// 1. The memory is mapped, unused, and stays the heap's.
pub unsafe fn set_up(lowest: *mut u8, bytes: usize) {
    // SAFETY: (1) by the caller's promise.
    let claimed = unsafe { HEAP.0.lock().talc.claim(Span::from_base_size(lowest, bytes)) };
    assert!(claimed.is_ok(), "the heap's memory is too small");
    LOWEST.store(lowest.addr(), Ordering::Relaxed);
    BYTES.store(bytes, Ordering::Relaxed);
}

/// Whether a block is from the heap's own memory, and not from the cache.
fn is_own(block: *mut u8) -> bool {
    let offset = block.addr().wrapping_sub(LOWEST.load(Ordering::Relaxed));
    offset < BYTES.load(Ordering::Relaxed)
}

/// The cache that one layout is served from, and the size of that layout; 0: there is none.
static SLAB: AtomicPtr<Slab> = AtomicPtr::new(ptr::null_mut());
static SLAB_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Serves the layout of this cache from it, from now on. Once, at boot, before anything of that
/// layout is allocated.
pub fn serve_from(slab: &'static Slab) {
    assert!(SLAB.load(Ordering::Relaxed).is_null(), "the heap has its slab cache");
    SLAB.store(ptr::from_ref(slab).cast_mut(), Ordering::Relaxed);
    SLAB_BYTES.store(slab.layout().size(), Ordering::Release);
}

/// The cache that a layout is served from.
#[inline(always)]
fn slab_of(layout: Layout) -> Option<&'static Slab> {
    if layout.size() != SLAB_BYTES.load(Ordering::Relaxed) {
        return None;
    }
    // SAFETY: (1) only `serve_from` stores here, a static, before the size; no layout that is
    // allocated has the size 0.
    let slab = unsafe { SLAB.load(Ordering::Acquire).as_ref() }?;
    (layout.align() == slab.layout().align()).then_some(slab)
}

/// One promise at a time, with interrupts off: nothing but its maker allocates on this CPU while it
/// stands.
static PROMISING: SpinLock<()> = SpinLock::new(());
/// The thread that the block is promised to; 0: there is no promise.
static PROMISED_TO: AtomicUsize = AtomicUsize::new(0);
static PROMISED: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static PROMISED_BYTES: AtomicUsize = AtomicUsize::new(0);
static UNKEPT: AtomicU32 = AtomicU32::new(0);

/// Runs `make`, whose one allocation of `layout` cannot fail: its block is there before. `None`:
/// there is none, and `make` was not run. For what the standard library has no constructor that
/// reports failure: an `Arc`.
pub fn with_promised<R>(layout: Layout, make: impl FnOnce() -> R) -> Option<R> {
    let _one_at_a_time = PROMISING.lock();
    // SAFETY: (1) the layout is that of two counters and a value: not empty.
    let block = unsafe { HEAP.alloc(layout) };
    if block.is_null() {
        return None;
    }
    PROMISED.store(block, Ordering::Relaxed);
    PROMISED_BYTES.store(layout.size(), Ordering::Relaxed);
    PROMISED_TO.store(cpus::current_thread(), Ordering::Relaxed);
    let made = make();
    PROMISED_TO.store(0, Ordering::Relaxed);
    let left = PROMISED.swap(ptr::null_mut(), Ordering::Relaxed);
    if !left.is_null() {
        // `make` asked for another layout, or this CPU has no thread yet (at boot).
        UNKEPT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: (1) allocated above with this layout, and not given out.
        unsafe { HEAP.dealloc(left, layout) };
    }
    Some(made)
}

/// Promises that were made and not asked for: the standard library allocates otherwise than
/// `fallible` thinks.
pub fn unkept_promises() -> u32 {
    UNKEPT.load(Ordering::Relaxed)
}

/// The block that was promised to this thread, if it is asked for.
#[inline(always)]
fn promised(layout: Layout) -> Option<*mut u8> {
    let to = PROMISED_TO.load(Ordering::Relaxed);
    if to == 0 || to != cpus::current_thread() {
        return None;
    }
    if PROMISED_BYTES.load(Ordering::Relaxed) != layout.size() {
        return None;
    }
    let block = PROMISED.swap(ptr::null_mut(), Ordering::Relaxed);
    (!block.is_null()).then_some(block)
}

// SAFETY: (1) Talc hands out distinct blocks of the layout asked for, and those that are kept are
// theirs, aligned as the next one asks; (2) the lock makes every call exclusive.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(slab) = slab_of(layout) {
            let object = slab.alloc();
            // Null: none was reserved, so this is something else of the same layout.
            if !object.is_null() {
                return object;
            }
        }
        if let Some(block) = promised(layout) {
            return block;
        }
        // SAFETY: (1) the layout's size is not zero, by the caller's promise.
        let block = unsafe { self.0.lock().take(layout) };
        if !block.is_null() {
            ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(slab) = slab_of(layout).filter(|_| !is_own(block)) {
            // SAFETY: (1) what is not of the heap's own memory, `alloc` took from the cache.
            unsafe { slab.free(block) };
            return;
        }
        if let Some(block) = NonNull::new(block) {
            // SAFETY: (1) the block came from `alloc` with this layout, by the caller's promise.
            unsafe { self.0.lock().give(block, layout) };
            ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        }
    }
}
