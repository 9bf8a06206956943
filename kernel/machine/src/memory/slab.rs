//! A slab cache: objects of one size, a few to a frame, so that one kind of object has memory and
//! counts of its own.
//!
//! ```text
//!   frame   | header 64 bytes: links, free list, objects in use | object | object | object | object |
//! ```
//!
//! Frames with a free object are in a list; a frame whose last object is freed goes back. Free
//! objects are linked through their first bytes, by number. The kernel has one cache, for its
//! threads: that is where "the task structure is not on the stack" can be read off
//! (/sys/kernel/slab/task_struct).

use crate::memory::frames::{self, FRAME_BYTES, Frame};
use crate::spin::SpinLock;
use core::alloc::Layout;
use core::ptr;

const NONE: u16 = u16::MAX;

/// At the start of each frame.
#[repr(C, align(64))]
struct Header {
    next: *mut Header,
    prev: *mut Header,
    frame: Frame,
    free: u16,
    in_use: u16,
}

const HEADER_BYTES: usize = size_of::<Header>();

/// A cache's figures, as /sys/kernel/slab has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SlabCounts {
    /// Bytes of an object.
    pub object_size: usize,
    /// Objects in a frame.
    pub objects_per_slab: usize,
    /// Frames the cache has.
    pub slabs: usize,
    /// Objects in use.
    pub objects: usize,
    /// Objects given out so far.
    pub allocated: u64,
    /// Objects taken back so far.
    pub freed: u64,
}

struct State {
    /// Frames with a free object.
    partial: *mut Header,
    /// Free objects that are promised to a caller.
    reserved: usize,
    counts: SlabCounts,
}

// SAFETY: (1) the pointers lead to frames that only this cache has, and are used under its lock.
unsafe impl Send for State {}

impl State {
    fn free(&self) -> usize {
        self.counts.slabs * self.counts.objects_per_slab - self.counts.objects
    }
}

/// A cache of objects of one layout.
pub struct Slab {
    layout: Layout,
    state: SpinLock<State>,
}

impl Slab {
    /// An empty cache.
    pub const fn new(layout: Layout) -> Self {
        assert!(layout.align() <= HEADER_BYTES && layout.size() >= size_of::<u16>());
        let objects_per_slab = (FRAME_BYTES as usize - HEADER_BYTES) / layout.size();
        assert!(objects_per_slab > 0, "an object does not fit a frame");
        let counts = SlabCounts {
            object_size: layout.size(),
            objects_per_slab,
            slabs: 0,
            objects: 0,
            allocated: 0,
            freed: 0,
        };
        Self {
            layout,
            state: SpinLock::new(State { partial: ptr::null_mut(), reserved: 0, counts }),
        }
    }

    /// What its objects look like.
    #[inline(always)]
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// Its figures.
    pub fn counts(&self) -> SlabCounts {
        self.state.lock().counts
    }

    fn object(&self, header: *mut Header, number: u16) -> *mut u8 {
        header.cast::<u8>().wrapping_add(HEADER_BYTES + usize::from(number) * self.layout.size())
    }

    /// Sees to it that there is an object for one coming [`Slab::alloc`], which then cannot fail.
    /// `false`: there is no frame for it. An allocation through `Arc::new` cannot report failure;
    /// this one before it can.
    #[must_use]
    pub fn reserve(&self) -> bool {
        let mut state = self.state.lock();
        if state.free() == state.reserved {
            let Some(frame) = frames::alloc() else { return false };
            self.add_slab(&mut state, frame);
        }
        state.reserved += 1;
        true
    }

    /// A reserved object, uninitialised; null if none was reserved.
    pub fn alloc(&self) -> *mut u8 {
        let mut state = self.state.lock();
        if state.reserved == 0 {
            return ptr::null_mut();
        }
        state.reserved -= 1;
        let header = state.partial;
        // SAFETY: (1) an object is reserved, so the list is not empty; its frames are this cache's,
        // under its lock; (2) a frame in the list has a free object, whose first bytes are the
        // number of the next.
        unsafe {
            let object = self.object(header, (*header).free);
            (*header).free = object.cast::<u16>().read_unaligned();
            (*header).in_use += 1;
            if (*header).free == NONE {
                unlink(&mut state.partial, header);
            }
            state.counts.objects += 1;
            state.counts.allocated += 1;
            object
        }
    }

    fn add_slab(&self, state: &mut State, frame: Frame) {
        let objects = state.counts.objects_per_slab as u16;
        let header = frame.bytes_ptr().cast::<Header>();
        for number in 0..objects {
            let next = if number + 1 == objects { NONE } else { number + 1 };
            // SAFETY: (1) inside the frame, which is new and ours.
            unsafe { self.object(header, number).cast::<u16>().write_unaligned(next) };
        }
        let (next, prev) = (state.partial, ptr::null_mut());
        // SAFETY: (1) as above; (2) the list's frames are ours, under the lock.
        unsafe {
            header.write(Header { next, prev, frame, free: 0, in_use: 0 });
            if !next.is_null() {
                (*next).prev = header;
            }
        }
        state.partial = header;
        state.counts.slabs += 1;
    }

    /// Takes an object back.
    ///
    /// # Safety
    ///
    /// 1. `object` came from [`Slab::alloc`] of this cache, and is not used any more.
    pub unsafe fn free(&self, object: *mut u8) {
        let header = object.map_addr(|at| at & !(FRAME_BYTES as usize - 1)).cast::<Header>();
        let number = (object.addr() - header.addr() - HEADER_BYTES) / self.layout.size();
        let mut state = self.state.lock();
        state.counts.objects -= 1;
        state.counts.freed += 1;
        // SAFETY: (1) objects lie in frames of this cache, whose header is at the frame's start;
        // (2) under the lock.
        unsafe {
            let was_full = (*header).free == NONE;
            object.cast::<u16>().write_unaligned((*header).free);
            (*header).free = number as u16;
            (*header).in_use -= 1;
            if was_full {
                (*header).next = state.partial;
                (*header).prev = ptr::null_mut();
                if !state.partial.is_null() {
                    (*state.partial).prev = header;
                }
                state.partial = header;
            }
            // What is promised stays.
            let spare = state.free() - state.counts.objects_per_slab.min(state.free());
            if (*header).in_use == 0 && spare >= state.reserved {
                unlink(&mut state.partial, header);
                state.counts.slabs -= 1;
                frames::release((*header).frame);
            }
        }
    }
}

/// Takes a frame out of the list.
///
/// # Safety
///
/// 1. `header` is in the list that starts at `first`.
unsafe fn unlink(first: &mut *mut Header, header: *mut Header) {
    // SAFETY: (1) by the caller's promise, its neighbours are in the list too.
    unsafe {
        let Header { next, prev, .. } = *header;
        if prev.is_null() {
            *first = next;
        } else {
            (*prev).next = next;
        }
        if !next.is_null() {
            (*next).prev = prev;
        }
        (*header).next = ptr::null_mut();
        (*header).prev = ptr::null_mut();
    }
}
