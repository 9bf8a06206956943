//! The kernel's heap: the crate `talc` over frames of the direct map, behind a lock that is safe against interrupts.

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

// SAFETY: (1) Talc hands out distinct blocks of the layout asked for; (2) the lock makes every call exclusive.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: (1) the layout's size is not zero, by the caller's promise.
        let block = unsafe { self.0.lock().malloc(layout) };
        if block.is_ok() {
            ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        }
        block.map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(block) = NonNull::new(block) {
            // SAFETY: (1) the block came from `alloc` with this layout, by the caller's promise.
            unsafe { self.0.lock().free(block, layout) };
            ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        }
    }
}
