//! SP where a test wants it.

use core::arch::asm;

/// Bytes from one stack pointer that code can run with to the next. SP must be a multiple of 16
/// wherever it is used.
pub const STEP: usize = 16;

/// Sends a CPU what masking interrupts does not keep out, where there is such a thing.
pub const SEND_NMI: Option<fn(u32)> = None;

/// With SP at `sp` and interrupts on, until the word no longer is `was`. Nothing is written to the
/// stack.
///
/// # Safety
///
/// 1. Interrupts are off; `word` is mapped.
/// 2. What comes in is handled below `sp` on this thread's stack, or ends the thread.
#[inline(never)]
pub unsafe fn wait_at(sp: usize, word: *const u32, was: u32) {
    // SAFETY: (1) (2) by the caller's promise; SP comes back.
    unsafe {
        asm!(
            "mov {kept}, sp",
            "mov sp, {sp}",
            "msr daifclr, #2",
            "2:",
            "yield",
            "ldr {now:w}, [{word}]",
            "cmp {now:w}, {was:w}",
            "b.eq 2b",
            "msr daifset, #2",
            "mov sp, {kept}",
            kept = out(reg) _, now = out(reg) _, sp = in(reg) sp, word = in(reg) word, was = in(reg) was,
        );
    }
}

/// There is no NMI: it waits like [`wait_at`].
///
/// # Safety
///
/// 1. As for [`wait_at`].
pub unsafe fn wait_for_nmi_at(sp: usize, word: *const u32, was: u32) {
    // SAFETY: (1) by the caller's promise.
    unsafe { wait_at(sp, word, was) };
}

/// A breakpoint instruction with SP at `sp`.
///
/// # Safety
///
/// 1. As for [`wait_at`], with interrupts on.
#[inline(never)]
pub unsafe fn breakpoint_at(sp: usize) {
    // SAFETY: (1) by the caller's promise; SP comes back.
    unsafe {
        asm!(
            "mov {kept}, sp", "mov sp, {sp}", "brk #0", "mov sp, {kept}",
            kept = out(reg) _, sp = in(reg) sp,
        );
    }
}
