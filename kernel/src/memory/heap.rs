//! The kernel's heap: the crate `talc` over frames of the direct map, behind a lock that is safe against interrupts; and threads
//! from a slab cache of their own.
//!
//! A thread is held by `Arc<Thread>`, which allocates through the global allocator. Its layout is unlike any other, so the
//! allocator knows it by that and serves it from [`TASKS`].

use crate::memory::slab::Slab;
use crate::sched::Thread;
use crate::sync::SpinLock;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};
use talc::{ErrOnOom, Span, Talc};

struct Heap(SpinLock<Talc<ErrOnOom>>);

#[global_allocator]
static HEAP: Heap = Heap(SpinLock::new(Talc::new(ErrOnOom)));

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// Bytes given out now, as they were asked for.
pub fn allocated_bytes() -> usize {
    ALLOCATED.load(Ordering::Relaxed)
}

/// Gives the heap its memory, once, at boot.
///
/// # Safety
///
/// 1. The memory is mapped, unused, and stays the heap's.
pub unsafe fn set_up(lowest: *mut u8, bytes: usize) {
    // SAFETY: (1) by the caller's promise.
    let claimed = unsafe { HEAP.0.lock().claim(Span::from_base_size(lowest, bytes)) };
    assert!(claimed.is_ok(), "the heap's memory is too small");
}

/// Where threads lie: what an `Arc<Thread>` allocates, two counters and the thread.
pub static TASKS: Slab = Slab::new(task_layout());

const fn task_layout() -> Layout {
    let thread = Layout::new::<Thread>();
    let Ok((both, _)) = Layout::new::<[usize; 2]>().extend(thread) else {
        panic!("a thread is small")
    };
    both.pad_to_align()
}

// SAFETY: (1) Talc hands out distinct blocks of the layout asked for; (2) the lock makes every call exclusive.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout == TASKS.layout() {
            return TASKS.alloc();
        }
        // SAFETY: (1) the layout's size is not zero, by the caller's promise.
        let block = unsafe { self.0.lock().malloc(layout) };
        if block.is_ok() {
            ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        }
        block.map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if layout == TASKS.layout() {
            // SAFETY: (1) `alloc` serves this layout from the cache alone.
            unsafe { TASKS.free(block) };
            return;
        }
        if let Some(block) = NonNull::new(block) {
            // SAFETY: (1) the block came from `alloc` with this layout, by the caller's promise.
            unsafe { self.0.lock().free(block, layout) };
            ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        }
    }
}
