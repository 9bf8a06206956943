//! The heap: 1 MiB of pages at an address of its own.

use crate::{memory, sync::Lock};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use linked_list_allocator::Heap;
use x86_64::VirtAddr;

const LOWEST: u64 = 0xffff_9000_0000_0000;
const SIZE: usize = 1 << 20;

struct Locked(Lock<Heap>);

// SAFETY: the list's own promises.
unsafe impl GlobalAlloc for Locked {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.lock().allocate_first_fit(layout).map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { self.0.lock().deallocate(NonNull::new_unchecked(block), layout) }
    }
}

#[global_allocator]
static HEAP: Locked = Locked(Lock::new(Heap::empty()));

pub(crate) fn init() {
    for page in (LOWEST..LOWEST + SIZE as u64).step_by(4096) {
        memory::map(VirtAddr::new(page)).expect("no memory for the heap");
    }
    // SAFETY: mapped just now, and used by nothing else.
    unsafe { HEAP.0.lock().init(LOWEST as *mut u8, SIZE) };
}
