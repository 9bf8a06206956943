//! The heap: a buddy allocator over pages of its own.

use crate::{lock::Lock, paging};
use buddy_system_allocator::Heap;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

const LOWEST: usize = 0xffff_ffd0_0000_0000;
const SIZE: usize = 1 << 20;

struct Locked(Lock<Heap<32>>);

// SAFETY: the allocator's own promises.
unsafe impl GlobalAlloc for Locked {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.lock().alloc(layout).map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        self.0.lock().dealloc(unsafe { NonNull::new_unchecked(block) }, layout);
    }
}

#[global_allocator]
static HEAP: Locked = Locked(Lock::new(Heap::empty()));

pub(crate) fn init() {
    for page in (LOWEST..LOWEST + SIZE).step_by(4096) {
        assert!(paging::map(page), "no memory for the heap");
    }
    // SAFETY: mapped just now, and used by nothing else.
    unsafe { HEAP.0.lock().init(LOWEST, SIZE) };
}
