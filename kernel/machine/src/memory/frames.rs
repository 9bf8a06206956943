//! Physical memory in frames of 4 KiB, with a count of users each.
//!
//! A table with one entry per frame, free ones linked through it; so a frame is never touched while
//! it is free. The count is for copy on write: a frame goes back when its last user gives it up.
//!
//! ```text
//!   never given out ("fresh"): stretches, lowest first      given out      given back: a list through the table
//!   [at ........ top) [........) [...)                      users >= 1     first -> next -> next
//!    a frame leaves here only when the list is empty, and never comes back
//! ```
//!
//! An entry is written for the first time when its frame leaves a stretch. So boot costs as much as
//! there are *stretches*, not frames: a machine of 64 GiB has a table of 128 MiB, and touches of it
//! what it uses. The lowest frames go first: those are what the boot tables reach, and what the
//! first page tables are made of.
//!
//! Frames that follow each other, for stacks that are to be physically contiguous, are given out by
//! [`runs`].
//!
//! Failure can be injected: [`fail_after`] makes the n-th allocation of one thread fail, for tests
//! that walk through every point at which memory can run out.

use crate::arch::cpu;
use crate::memory::direct;
use crate::nodes;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

mod lists;
mod runs;
mod table;

use lists::{FREE, all_lists, list_of};
pub use lists::{divide, fallbacks, free_count_on, fresh, total_count_on};
pub use runs::{RUN_FRAMES, gathered_count};
pub use table::FRAME_BYTES;
use table::{
    ENTRIES, Entry, LOWEST, NONE, OF_A_STACK, TABLE, TOTAL, address_of, entry_at, index_of,
};

/// A frame of physical memory, by its address. Its holder knows who frees it.
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
        // SAFETY: (1) the direct map covers every frame, page aligned; (2) the caller owns it; (3)
        // by the caller's promise.
        unsafe { cpu::zero_page(self.bytes_ptr()) };
    }

    /// Where `bytes` bytes from `offset` on lie in the direct map.
    #[inline(always)]
    pub(crate) fn part(self, offset: usize, bytes: usize) -> *mut u8 {
        let fits = offset.checked_add(bytes).is_some_and(|top| top <= FRAME_BYTES as usize);
        assert!(fits, "bytes beyond a frame");
        self.bytes_ptr().wrapping_add(offset)
    }

    /// Copies bytes out, from an offset on. The frame must be one that the caller has a part in.
    #[inline]
    pub fn read(self, offset: usize, to: &mut [u8]) {
        let from = self.part(offset, to.len());
        // SAFETY: (1) inside a frame, which the direct map shows; (2) `to` is memory of the
        // kernel's, no frame that is given out for its bytes alone.
        unsafe { to.as_mut_ptr().copy_from_nonoverlapping(from, to.len()) };
    }

    /// Copies bytes in, from an offset on. The frame must be one that the caller has a part in.
    #[inline]
    pub fn write(self, offset: usize, from: &[u8]) {
        let to = self.part(offset, from.len());
        // SAFETY: (1) (2) as for `read`.
        unsafe { to.copy_from_nonoverlapping(from.as_ptr(), from.len()) };
    }

    /// A word of 32 bits at an aligned offset, as an atomic: programs change it meanwhile.
    #[inline]
    fn atomic(self, offset: usize) -> &'static AtomicU32 {
        assert!(offset.is_multiple_of(4), "a word that is not aligned");
        // SAFETY: (1) inside a frame, which the direct map shows for as long as the kernel runs;
        // (2) aligned; (3) every bit pattern is a number.
        unsafe { &*self.part(offset, 4).cast::<AtomicU32>() }
    }

    /// Reads a word at an aligned offset. The frame must be one that the caller has a part in.
    #[inline]
    pub fn word(self, offset: usize) -> u32 {
        self.atomic(offset).load(Ordering::SeqCst)
    }

    /// Changes a word at an aligned offset in one step, as programs do; what it was. `None`: it
    /// stays. The frame must be one that the caller has a part in.
    pub fn update_word(self, offset: usize, change: impl FnMut(u32) -> Option<u32>) -> u32 {
        let updated = self.atomic(offset).fetch_update(Ordering::SeqCst, Ordering::SeqCst, change);
        updated.unwrap_or_else(|unchanged| unchanged)
    }

    /// Writes zeros from an offset to the end. The frame must be the caller's alone.
    pub fn zero_from(self, offset: usize) {
        let bytes = FRAME_BYTES as usize - offset;
        // SAFETY: (1) inside a frame, which the direct map shows.
        unsafe { self.part(offset, bytes).write_bytes(0, bytes) };
    }

    /// Becomes a copy of another frame. The frame must be the caller's alone.
    #[inline]
    pub fn copy_from(self, other: Self) {
        assert!(self != other, "a frame is no copy of itself");
        // SAFETY: (1) two different frames, which the direct map shows.
        unsafe {
            self.bytes_ptr().copy_from_nonoverlapping(other.bytes_ptr(), FRAME_BYTES as usize);
        }
    }

    /// Runs `fill` on its bytes. The frame must be the caller's alone, and initialised.
    pub fn with_bytes<R>(self, fill: impl FnOnce(&mut [u8]) -> R) -> R {
        // SAFETY: (1) a frame in the direct map, for as long as the caller has it, which is longer
        // than `fill` runs.
        fill(unsafe { core::slice::from_raw_parts_mut(self.bytes_ptr(), FRAME_BYTES as usize) })
    }
}

/// A stretch of bytes that the caller has a part in, up to a page of them: in one frame, or from
/// the end of one to the beginning of another.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    first: Frame,
    offset: usize,
    second: Option<Frame>,
}

impl Stretch {
    /// Bytes from an offset in a frame on; where that ends, from the beginning of the second on.
    pub const fn new(first: Frame, offset: usize, second: Option<Frame>) -> Self {
        Self { first, offset, second }
    }

    /// Where so many bytes begin, if they lie in one frame: for a CPU that stores all its registers
    /// there by itself.
    #[inline(always)]
    pub fn whole(self, bytes: usize) -> Option<*mut u8> {
        let fits = self.offset + bytes <= FRAME_BYTES as usize;
        fits.then(|| self.first.part(self.offset, bytes))
    }

    /// Calls `each` with a frame, where in it, and which of `bytes` bytes from `at` on.
    #[inline(always)]
    fn parts(self, at: usize, bytes: usize, mut each: impl FnMut(Frame, usize, Range<usize>)) {
        const FRAME: usize = FRAME_BYTES as usize;
        let from = self.offset + at;
        let in_first = FRAME.saturating_sub(from).min(bytes);
        if in_first > 0 {
            each(self.first, from, 0..in_first);
        }
        if in_first < bytes {
            let second = self.second.expect("bytes beyond a stretch");
            each(second, from + in_first - FRAME, in_first..bytes);
        }
    }

    /// The stretch from an offset on.
    #[inline(always)]
    pub fn from(self, at: usize) -> Self {
        const FRAME: usize = FRAME_BYTES as usize;
        let offset = self.offset + at;
        match self.second {
            Some(second) if offset >= FRAME => Self::new(second, offset - FRAME, None),
            second => Self::new(self.first, offset, second),
        }
    }

    /// Copies bytes out, from an offset on.
    #[inline]
    pub fn array<const N: usize>(self, at: usize) -> [u8; N] {
        let from = self.offset + at;
        if from + N <= FRAME_BYTES as usize {
            // SAFETY: (1) inside a frame, which the direct map shows; (2) any bytes are bytes.
            return unsafe { self.first.part(from, N).cast::<[u8; N]>().read() };
        }
        let mut bytes = [0; N];
        self.read(at, &mut bytes);
        bytes
    }

    /// Copies a few bytes in, from an offset on.
    #[inline(always)]
    pub fn put<const N: usize>(self, at: usize, bytes: [u8; N]) {
        let to = self.offset + at;
        if to + N <= FRAME_BYTES as usize {
            // SAFETY: (1) inside a frame, which the direct map shows.
            unsafe { self.first.part(to, N).cast::<[u8; N]>().write(bytes) };
        } else {
            self.write(at, &bytes);
        }
    }

    /// Copies bytes out, from an offset on.
    #[inline]
    pub fn read(self, at: usize, to: &mut [u8]) {
        self.parts(at, to.len(), |frame, offset, part| frame.read(offset, &mut to[part]));
    }

    /// Copies bytes in, from an offset on.
    #[inline]
    pub fn write(self, at: usize, from: &[u8]) {
        self.parts(at, from.len(), |frame, offset, part| frame.write(offset, &from[part]));
    }
}

/// Bytes of the table for memory from `lowest` up to `top`.
pub const fn table_bytes(lowest: u64, top: u64) -> u64 {
    (top / FRAME_BYTES - lowest / FRAME_BYTES) * size_of::<Entry>() as u64
}

/// The highest end of memory from `lowest` on that the links of the list can name.
pub const fn most_top(lowest: u64) -> u64 {
    lowest.saturating_add((NONE as u64 - 1) * FRAME_BYTES)
}

/// Sets the table up at a physical address with room for [`table_bytes`]`(lowest, top)`. It is not
/// touched yet, and there is no frame to give out.
///
/// # Safety
///
/// 1. Called once, before anything else here; the memory is unused, in the direct map, and stays
///    the table's.
/// 2. `top` is not above [`most_top`]`(lowest)`.
pub unsafe fn set_up(table_at: u64, lowest: u64, top: u64) {
    ENTRIES.store((top / FRAME_BYTES - lowest / FRAME_BYTES) as usize, Ordering::Relaxed);
    LOWEST.store((lowest / FRAME_BYTES) as usize, Ordering::Relaxed);
    TABLE.store(direct::<Entry>(table_at) as usize, Ordering::Release);
}

/// Hands the frames from `lowest` up to `top` over to the allocator, at boot, in ascending order.
/// Says whether there is room to keep that.
pub fn add(lowest: u64, top: u64) -> bool {
    let (first, end) = (index_of(lowest), index_of(top));
    let count = end.saturating_sub(first);
    assert!(end <= ENTRIES.load(Ordering::Relaxed), "frames outside memory");
    let is_kept = FREE[0].lock().add(first as u32, first as u32, end as u32);
    TOTAL.fetch_add(if is_kept { count } else { 0 }, Ordering::Relaxed);
    is_kept
}

fn entry(frame: Frame) -> &'static Entry {
    entry_at(index_of(frame.0))
}

/// A frame with one user, contents unspecified.
pub fn alloc() -> Option<Frame> {
    take(nodes::here(), 1)
}

/// A frame of a node, or of another, whose count of users is this.
#[inline(always)]
fn take(node: usize, users: u32) -> Option<Frame> {
    if injected_failure() {
        return None;
    }
    let index = lists::take(node)?;
    entry_at(index as usize).users.store(users, Ordering::Relaxed);
    Some(Frame(address_of(index)))
}

/// A frame with one user, all zero.
pub fn alloc_zeroed() -> Option<Frame> {
    zeroed(nodes::here(), 1)
}

#[inline(always)]
fn zeroed(node: usize, users: u32) -> Option<Frame> {
    // One section for both: the lock inside turns nothing off or on.
    cpu::without_interrupts(|| {
        let frame = take(node, users)?;
        // SAFETY: (1) interrupts are off.
        unsafe { frame.zero_uninterrupted() };
        Some(frame)
    })
}

/// A frame with one user, all zero: of a node, or of another if that has none left.
pub fn alloc_zeroed_on(node: usize) -> Option<Frame> {
    zeroed(node, 1)
}

/// A frame, all zero, for a page of a stack: see [`is_of_a_stack`]. Near the CPUs of a node, if it
/// has one left.
pub fn alloc_zeroed_for_stack(node: usize) -> Option<Frame> {
    zeroed(node, OF_A_STACK | 1)
}

/// Frees frames that were for stacks, a handful of them under one lock.
pub fn release_of_stacks(frames: impl Iterator<Item = Frame>) {
    let mut free = (nodes::count() == 1).then(|| list_of(0).lock());
    for frame in frames {
        let index = index_of(frame.0);
        let entry = entry_at(index);
        entry.users.store(0, Ordering::Relaxed);
        match &mut free {
            Some(all) => all.put((index, entry)),
            None => list_of(nodes::of_memory(frame.0)).lock().put((index, entry)),
        }
    }
}

/// Frames that follow each other, all zero, for a stack ([`is_of_a_stack`]): the first of
/// [`RUN_FRAMES`]. It lies as the body of a stack must, and ends at the physical address `top` or
/// below.
pub fn alloc_zeroed_run(top: u64) -> Option<Frame> {
    if injected_failure() {
        return None;
    }
    let first = runs::take(top)?;
    let frames = (0..RUN_FRAMES as u64).map(|number| Frame(first + number * FRAME_BYTES));
    frames.for_each(Frame::zero);
    Some(Frame(first))
}

/// Frees a run, as a whole.
pub fn release_run(first: Frame) {
    runs::put(first.0);
}

/// Whether a stack is mapped to the memory at a physical address. So that it is known by its direct
/// mapping as well, which is another address.
pub fn is_of_a_stack(physical: u64) -> bool {
    is_memory(physical) && refs(Frame::at(physical)) & OF_A_STACK != 0
}

/// Whether there is an entry for the frame at a physical address.
pub fn is_memory(physical: u64) -> bool {
    index_of(physical) < ENTRIES.load(Ordering::Relaxed)
}

/// One more user.
pub fn share(frame: Frame) {
    entry(frame).users.fetch_add(1, Ordering::Relaxed);
}

/// One user less; the last one frees it.
pub fn release(frame: Frame) {
    if let Some(unused) = give_up(frame) {
        list_of(nodes::of_memory(frame.addr())).lock().put(unused);
    }
}

/// One user less. Its place in the table and its entry if that was the last one.
#[inline(always)]
fn give_up(frame: Frame) -> Option<(usize, &'static Entry)> {
    let index = index_of(frame.0);
    let entry = entry_at(index);
    (entry.users.fetch_sub(1, Ordering::AcqRel) == 1).then_some((index, entry))
}

/// How many users a frame has.
pub fn refs(frame: Frame) -> u32 {
    entry(frame).users.load(Ordering::Acquire)
}

/// Frames that are free now.
pub fn free_count() -> usize {
    all_lists().map(|list| list.lock().free).sum()
}

static TOUCHED_AT_BOOT: AtomicUsize = AtomicUsize::new(0);

/// Remembers how many frames have been given out so far. Once, when memory is set up.
pub fn end_of_boot() {
    TOUCHED_AT_BOOT.store(total_count() - free_count(), Ordering::Relaxed);
}

/// How many frames it took to set memory up.
pub fn touched_at_boot() -> usize {
    TOUCHED_AT_BOOT.load(Ordering::Relaxed)
}

/// The physical addresses that there are entries for.
pub fn described() -> Range<u64> {
    let lowest = LOWEST.load(Ordering::Relaxed) as u64;
    let top = lowest + ENTRIES.load(Ordering::Relaxed) as u64;
    lowest * FRAME_BYTES..top * FRAME_BYTES
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
