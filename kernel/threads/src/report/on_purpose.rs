//! Overflows on purpose: the functions that have too large frames, or too many. The check of frame
//! widths knows them by name.

use core::hint::black_box;
use core::sync::atomic::{AtomicBool, Ordering};

/// How to overflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Deep recursion, frames of about a hundred bytes.
    Recursion,
    /// One frame larger than the stack.
    GiantFrame,
}

/// Calls itself until there is no stack left. It never returns; the loop's end is only there to
/// keep the compiler honest.
#[inline(never)]
pub fn recurse_until_overflow(depth: usize) -> usize {
    let here = black_box([depth; 8]);
    if black_box(depth) == usize::MAX {
        return 0;
    }
    recurse_until_overflow(depth + 1) + black_box(here)[depth % 8]
}

/// Words of a frame larger than any stack: half a body more than one, which is as far as the guards
/// between two bodies reach where the compiler does not probe large frames page by page.
const GIANT: usize = kstack::arch::current::GEOMETRY.body().get() * 3 / 2 / size_of::<usize>();

/// Has a frame larger than any stack.
#[inline(never)]
pub fn one_giant_frame(value: usize) -> usize {
    // By reference: a copy would be another frame's worth.
    let mut frame = [value; GIANT];
    black_box(&mut frame)[value % GIANT]
}

/// Overflows the stack this runs on.
pub fn overflow_here(how: How) {
    match how {
        How::Recursion => black_box(recurse_until_overflow(black_box(0))),
        How::GiantFrame => black_box(one_giant_frame(black_box(7))),
    };
}

/// Bytes of the array that [`smash_frame`] overruns.
pub const ARRAY: usize = 64;

/// Writes past the end of an array in its frame, and returns if the compiler lets it. Nothing else
/// is in the frame: what follows the array is what guards it.
#[inline(never)]
pub fn smash_frame(value: u8, beyond: usize) -> u8 {
    let mut array = [value; ARRAY];
    overrun(&mut array, beyond, value);
    array[usize::from(value) % ARRAY]
}

/// Writes to all of an array, and as far past its end as it is told.
#[inline(never)]
pub fn overrun(array: &mut [u8], beyond: usize, value: u8) {
    let (first, bytes) = (array.as_mut_ptr(), array.len());
    for at in 0..black_box(bytes + beyond) {
        // SAFETY: (1) none beyond the array: that is what it is for.
        unsafe { first.add(at).write_volatile(value) };
    }
}

/// The address of a local, which is dead when this has returned.
#[inline(never)]
pub fn dangling() -> *const u8 {
    let array = black_box([0x42_u8; 4 * ARRAY]);
    black_box(&array).as_ptr()
}

/// Reads a local of a function that has returned. The frame that it was in has not been taken
/// again: nothing is called in between.
#[inline(never)]
pub fn use_after_return() -> u8 {
    let dead = dangling();
    // SAFETY: (1) none: that is what it is for. The stack is mapped there.
    unsafe { dead.read_volatile() }
}

/// Reads a local whose block has ended.
#[inline(never)]
pub fn use_after_scope() -> u8 {
    let dead = {
        let array = black_box([0x42_u8; ARRAY]);
        black_box(&array).as_ptr()
    };
    // SAFETY: (1) none: that is what it is for. The frame is still there.
    unsafe { black_box(dead).read_volatile() }
}

/// Whether the next clone of a program overflows.
static IN_CLONE: AtomicBool = AtomicBool::new(false);

/// Within a clone, when it has begun to take what it gives back if it fails.
pub fn in_clone() {
    if IN_CLONE.load(Ordering::Relaxed) && IN_CLONE.swap(false, Ordering::Relaxed) {
        overflow_here(How::Recursion);
    }
}

/// What a write to /proc/kstack/provoke does, in the system call. Says whether the word was known.
pub fn from_syscall(word: &[u8]) -> bool {
    match word.trim_ascii() {
        b"recurse" => overflow_here(How::Recursion),
        b"frame" => overflow_here(How::GiantFrame),
        b"clone" => IN_CLONE.store(true, Ordering::Relaxed),
        _ => return false,
    }
    true
}
