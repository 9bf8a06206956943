//! How deep stacks have been: of ended threads, and of those that belong to a CPU.
//!
//! A thread's depth is found once, when its stack is taken back: the lowest word it wrote, looked
//! for in its lowest dirty page ([`kstack::depths`]). A stack of a CPU is never taken back; it was
//! zero when the CPU came up, so the same search finds its record at any time.
//!
//! Where the CPU keeps no dirty bits every page counts as dirty, and is looked through. The search
//! costs up to a page of loads for each thread that ends: `stack-usage=off` on the command line
//! turns it off.

use super::{pages, registry};
use crate::entry::on_return;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use kstack::addr::{Addr, AddrRange, ByteSize};
use kstack::arena::Place;
use kstack::depths::{Depths, first_written};
use kstack::end_word::{self, END_WORD};
use kstack::kind::StackKind;
use kstack::stacks::StackId;

/// Of threads that have ended.
static ENDED: Depths = Depths::new();
static IS_ON: AtomicBool = AtomicBool::new(true);

/// The depths of threads that have ended.
pub fn of_ended() -> &'static Depths {
    &ENDED
}

/// Turns the meter of ended threads on or off. Returns what it was.
pub fn turn(on: bool) -> bool {
    IS_ON.swap(on, Ordering::Relaxed)
}

/// Counts the stack of a thread that has ended: nothing runs on it any more, and it is still the
/// thread's. The bytes it left, if none before left so little.
#[inline(always)]
pub(crate) fn note_end(stack: AddrRange) -> Option<ByteSize> {
    if IS_ON.load(Ordering::Relaxed) { note(stack) } else { None }
}

#[inline(never)]
fn note(stack: AddrRange) -> Option<ByteSize> {
    let left = left(stack);
    ENDED.note(stack.size(), left).then_some(left)
}

/// Bytes at the far end of a stack that nothing was ever written to in its present life, counted
/// from the end word on.
pub fn left(stack: AddrRange) -> ByteSize {
    let end = end_word::at(stack.lowest);
    let above = end.wrapping_add(ByteSize::new(size_of_val(&END_WORD)));
    let first = first_written(stack, above, pages::dirty(stack), |part| {
        // SAFETY: (1) a part of a stack that is mapped: it belongs to a CPU, or has not been given
        // back.
        unsafe { first_not_zero(part) }
    });
    first.min(erased(stack).unwrap_or(first)).bytes_above(end)
}

/// The lowest word that was erased on the way to user mode: it was noted as a sample.
fn erased(stack: AddrRange) -> Option<Addr> {
    if on_return::wanted() & on_return::ERASE == 0 {
        return None;
    }
    kstack::registry::all().find_map(|all| match all.arena().place(stack.lowest) {
        Place::Body { slot, .. } => all.record(slot).watermark().lowest_sample(),
        _ => None,
    })
}

/// The lowest word that is not zero.
///
/// # Safety
///
/// 1. `part` is mapped memory, and its bounds are those of words.
unsafe fn first_not_zero(part: AddrRange) -> Option<Addr> {
    const WORD: usize = size_of::<usize>();
    // SAFETY: (1) of a word of the part, by the caller's promise.
    let word = |at: usize| unsafe { (at as *const usize).read_volatile() };
    let (mut at, top) = (part.lowest.get(), part.top.get());
    // Four at a time: most are zero.
    while top - at >= 4 * WORD
        && word(at) | word(at + WORD) | word(at + 2 * WORD) | word(at + 3 * WORD) == 0
    {
        at += 4 * WORD;
    }
    (at..top).step_by(WORD).find(|&at| word(at) != 0).map(Addr::new)
}

/// Every stack that belongs to a CPU, the boot stack among them, with the bytes that it has left at
/// its deepest.
pub fn of_cpus() -> impl Iterator<Item = (StackId, ByteSize)> {
    let of_arena = registry().live().map(|(_, stack)| stack);
    let all = of_arena.chain(kstack::elsewhere::all().copied());
    all.filter(|stack| stack.kind.belongs_to_cpu() && is_metered(stack))
        .map(|stack| (stack, least_left(&stack)))
}

/// What the boot stack had left when it was left: it has been erased since.
static LEFT_AT_BOOT: AtomicUsize = AtomicUsize::new(usize::MAX);

fn least_left(stack: &StackId) -> ByteSize {
    let now = left(stack.range);
    match stack.kind {
        StackKind::Boot => now.min(ByteSize::new(LEFT_AT_BOOT.load(Ordering::Relaxed))),
        _ => now,
    }
}

/// Keeps how deep the boot stack has been, and erases it but for its end word.
///
/// # Safety
///
/// 1. It is mapped, and nothing runs on it any more, nor ever will.
pub unsafe fn leave_boot_stack(stack: AddrRange) {
    LEFT_AT_BOOT.store(left(stack).get(), Ordering::Relaxed);
    let above = end_word::at(stack.lowest).wrapping_add(ByteSize::new(size_of_val(&END_WORD)));
    let bytes = stack.top.bytes_above(above).get();
    // SAFETY: (1) a part of the stack, which nothing uses by the caller's promise.
    unsafe { core::ptr::write_bytes(above.get() as *mut u8, 0, bytes) };
}

/// Of those outside the arena only the boot stack was zero at the start and has an end word.
fn is_metered(stack: &StackId) -> bool {
    stack.kind == StackKind::Boot || super::arena().range().contains(stack.range.lowest)
}
