//! Erasing what a call from user mode left on stacks, on the return path.
//!
//! ```text
//!   top      | SavedRegs                       |
//!            | frames up to here               |  they return yet
//!   SP       |- - - - - - - - - - - - - - - - -|
//!            | what the call left              |  zero afterwards
//!   deepest  |- - - - - - - - - - - - - - - - -|  noted in the stack's record
//!            | zero since the stack was taken  |
//!            | end word                        |
//!   lowest
//! ```
//!
//! How deep the call was is not estimated: everything below was zero when the stack was taken, or
//! since the last erasing, so the lowest word that is not zero is the deepest that was written.
//! Looking for it from the far end finds it whatever holes frames had. Linux looks downwards for a
//! stretch of its poison, which a large frame that was written to in part can show too soon. A
//! kernel that knows of pages which were not written since the stack was taken spares the look at
//! them: dirty bits tell.
//!
//! The meter of depth looks for the same word when the thread ends, and would find it erased: so
//! the deepest word is noted in the stack's [`Watermark`](crate::meter::Watermark) before.
//!
//! Of a CPU's stacks those of interrupts and softirqs are erased as well, where one has used them
//! since: nothing does while interrupts are off in a thread. Those of exceptions that may come at
//! any time are not.

use crate::arch::current::this_cpu;
use crate::end_word::{self, END_WORD};
use crate::local::CpuLocal;
use crate::registry;
use kstack_core::addr::{Addr, ByteSize};
use kstack_core::arena::Place;
use kstack_core::stacks::StackLookup;

const WORD: usize = size_of::<usize>();

/// How many words are looked at before the next branch.
const AT_ONCE: usize = 16;

/// How much of an IRQ stack's highest part any handler's first frames reach into.
const FIRST_FRAMES: usize = 32 * WORD;

/// Erases what lies below SP on the running thread's stack, and those stacks of the CPU that
/// interrupts have used since. Frames of functions that are still to return stay; so the last call
/// of a kernel's `before_user` hook is the place.
///
/// `untouched`: nothing below this address was written through the stack's own mapping since it was
/// taken. Its lowest address, where nothing is known of that.
///
/// Costs a load for each word from `untouched` to SP and a store for each that was used.
///
/// # Safety
///
/// 1. This is the block of the CPU this runs on, on the stack of its running thread, with
///    interrupts off, and on the way to user mode: no interrupt is being handled.
/// 2. The thread's stack, the IRQ stack and that of softirqs are of [`Stacks`](crate::Stacks), and
///    read as zero when they were taken.
/// 3. The kernel's code keeps nothing below SP (no red zone).
/// 4. `untouched` is a multiple of a word, and not above SP.
#[inline(never)]
pub unsafe fn erase(local: &CpuLocal, untouched: Addr) {
    let above_end = end_word::at(local.thread_lowest()).get() + size_of_val(&END_WORD);
    let from = above_end.max(untouched.get());
    // SAFETY: (1) a mapped stack, by the caller's promise.
    let deepest = unsafe { first_not_zero(from, this_cpu::sp()) };
    local.sample_thread(Addr::new(deepest));
    // SAFETY: (1) what lies below SP is in use by nothing, by the caller's promises; the words from
    // `deepest` on are of the stack.
    unsafe { this_cpu::wipe_below_sp(deepest) };
    for top in [Some(local.irq_top()), local.arch.softirq_top()].into_iter().flatten() {
        // SAFETY: (1) the highest words of a mapped stack.
        if unsafe { first_not_zero(top.get() - FIRST_FRAMES, top.get()) } < top.get() {
            erase_of_cpu(top);
        }
    }
}

/// Erases a stack of the CPU's that nothing is on.
#[inline(never)]
fn erase_of_cpu(top: Addr) {
    let Some(registry) = registry::get() else { return };
    let highest = top.wrapping_sub(ByteSize::new(WORD));
    let Place::Body { slot, .. } = registry.arena().place(highest) else { return };
    let Some(stack) = registry.stack_at(highest) else { return };
    let above_end = end_word::at(stack.range.lowest).get() + size_of_val(&END_WORD);
    // SAFETY: (1) a stack of the CPU's, mapped as a whole.
    let deepest = unsafe { first_not_zero(above_end, top.get()) };
    registry.record(slot).watermark().sample(Addr::new(deepest));
    for at in (deepest..top.get()).step_by(WORD) {
        // SAFETY: (1) likewise; (2) nothing is on it: interrupts are off and none is being handled.
        unsafe { (at as *mut usize).write_volatile(0) };
    }
}

/// The address of the lowest word that is not zero, or `top`.
///
/// # Safety
///
/// 1. From `at` to `top` it is mapped, in whole words.
#[inline(always)]
unsafe fn first_not_zero(mut at: usize, top: usize) -> usize {
    // SAFETY: (1) a word of the range, by the caller's promise.
    let word = |at: usize| unsafe { (at as *const usize).read_volatile() };
    // Several at a time: most are zero.
    let is_zero = |at: usize| (0..AT_ONCE).fold(0, |all, place| all | word(at + place * WORD)) == 0;
    while top - at >= AT_ONCE * WORD && is_zero(at) {
        at += AT_ONCE * WORD;
    }
    while at < top && word(at) == 0 {
        at += WORD;
    }
    at
}
