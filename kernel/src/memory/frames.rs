//! Physical memory in frames of 4 KiB, with a count of users each.
//!
//! A table with one entry per frame, free ones linked through it; so a frame is never touched while it is free. The count
//! is for copy on write: a frame goes back when its last user gives it up.
//!
//! Failure can be injected: [`fail_after`] makes the n-th allocation of one thread fail, for tests that walk through
//! every point at which memory can run out.

use crate::arch::cpu;
use crate::memory::direct;
use crate::sync::SpinLock;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Bytes in a frame.
pub const FRAME_BYTES: u64 = 4096;

/// A frame of physical memory, by its address. Whoever holds one knows who frees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame(u64);

impl Frame {
    /// The frame at this physical address, a multiple of 4096.
    pub const fn at(physical: u64) -> Self {
        Self(physical & !(FRAME_BYTES - 1))
    }

    /// Its physical address.
    #[inline(always)]
    pub const fn addr(self) -> u64 {
        self.0
    }

    /// Its first byte in the direct map.
    #[inline(always)]
    pub const fn bytes_ptr(self) -> *mut u8 {
        direct(self.0)
    }

    /// Fills it with zeros. The frame must be the caller's alone.
    #[inline(always)]
    pub fn zero(self) {
        // SAFETY: (1) interrupts are off.
        cpu::without_interrupts(|| unsafe { self.zero_uninterrupted() });
    }

    /// The same where interrupts are off already.
    ///
    /// # Safety
    ///
    /// 1. Interrupts are off.
    #[inline(always)]
    pub unsafe fn zero_uninterrupted(self) {
        // SAFETY: (1) the direct map covers every frame, page aligned; (2) the caller owns it; (3) by the caller's promise.
        unsafe { cpu::zero_page(self.bytes_ptr()) };
    }
}

const NONE: u32 = u32::MAX;

struct Entry {
    users: AtomicU32,
    next: AtomicU32,
}

struct FreeList {
    first: u32,
    free: usize,
}

static FREE: SpinLock<FreeList> = SpinLock::new(FreeList { first: NONE, free: 0 });
static TABLE: AtomicUsize = AtomicUsize::new(0);
static ENTRIES: AtomicUsize = AtomicUsize::new(0);
static TOTAL: AtomicUsize = AtomicUsize::new(0);

/// Bytes of the table for memory up to `top`.
pub const fn table_bytes(top: u64) -> u64 {
    (top / FRAME_BYTES) * size_of::<Entry>() as u64
}

/// Sets the table up at a physical address with room for [`table_bytes`]`(top)`. All frames start out as in use.
///
/// # Safety
///
/// 1. Called once, before anything else here; the memory is unused and in the direct map.
pub unsafe fn set_up(table_at: u64, top: u64) {
    let entries = (top / FRAME_BYTES) as usize;
    let table: *mut Entry = direct(table_at);
    for i in 0..entries {
        // SAFETY: (1) by the caller's promise.
        unsafe {
            table.add(i).write(Entry { users: AtomicU32::new(1), next: AtomicU32::new(NONE) })
        };
    }
    ENTRIES.store(entries, Ordering::Relaxed);
    TABLE.store(table as usize, Ordering::Release);
}

/// Hands a frame that was never given out over to the allocator, at boot.
pub fn add(frame: Frame) {
    TOTAL.fetch_add(1, Ordering::Relaxed);
    release(frame);
}

fn entry(frame: Frame) -> &'static Entry {
    let index = (frame.0 / FRAME_BYTES) as usize;
    assert!(index < ENTRIES.load(Ordering::Relaxed), "frame outside memory");
    // SAFETY: (1) inside the table, which `set_up` filled and which stays.
    unsafe { &*(TABLE.load(Ordering::Relaxed) as *const Entry).add(index) }
}

/// A frame with one user, contents unspecified.
pub fn alloc() -> Option<Frame> {
    if injected_failure() {
        return None;
    }
    let mut free = FREE.lock();
    if free.first == NONE {
        return None;
    }
    let frame = Frame(u64::from(free.first) * FRAME_BYTES);
    let entry = entry(frame);
    free.first = entry.next.load(Ordering::Relaxed);
    free.free -= 1;
    entry.users.store(1, Ordering::Relaxed);
    Some(frame)
}

/// A frame with one user, all zero.
pub fn alloc_zeroed() -> Option<Frame> {
    let frame = alloc()?;
    frame.zero();
    Some(frame)
}

/// One more user.
pub fn share(frame: Frame) {
    entry(frame).users.fetch_add(1, Ordering::Relaxed);
}

/// One user less; the last one frees it.
pub fn release(frame: Frame) {
    let entry = entry(frame);
    if entry.users.fetch_sub(1, Ordering::AcqRel) == 1 {
        let mut free = FREE.lock();
        entry.next.store(free.first, Ordering::Relaxed);
        free.first = (frame.0 / FRAME_BYTES) as u32;
        free.free += 1;
    }
}

/// How many users a frame has.
pub fn refs(frame: Frame) -> u32 {
    entry(frame).users.load(Ordering::Acquire)
}

/// Frames that are free now.
pub fn free_count() -> usize {
    FREE.lock().free
}

/// Frames the allocator was given at boot.
pub fn total_count() -> usize {
    TOTAL.load(Ordering::Relaxed)
}

static FAIL_THREAD: AtomicUsize = AtomicUsize::new(0);
static FAIL_AFTER: AtomicU64 = AtomicU64::new(0);

/// Makes the allocation after `successes` more fail, once, for the calling thread only.
pub fn fail_after(successes: u64) {
    FAIL_AFTER.store(successes, Ordering::Relaxed);
    FAIL_THREAD.store(crate::cpus::current_thread(), Ordering::Relaxed);
}

/// Switches injection off; says whether the failure is still to come.
pub fn stop_failing() -> bool {
    FAIL_THREAD.swap(0, Ordering::Relaxed) != 0
}

#[inline(always)]
fn injected_failure() -> bool {
    let thread = FAIL_THREAD.load(Ordering::Relaxed);
    if thread == 0 || thread != crate::cpus::current_thread() {
        return false;
    }
    if FAIL_AFTER.load(Ordering::Relaxed) == 0 {
        FAIL_THREAD.store(0, Ordering::Relaxed);
        return true;
    }
    FAIL_AFTER.fetch_sub(1, Ordering::Relaxed);
    false
}
