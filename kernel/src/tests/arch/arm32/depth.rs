//! SP where a test wants it.

use core::arch::asm;
use machine::arch::irqchip;

/// Bytes from one stack pointer that code can run with to the next.
pub const STEP: usize = 4;

/// Sends a CPU what masking interrupts does not keep out, where there is such a thing.
pub const SEND_NMI: Option<fn(u32)> = Some(irqchip::send_nmi);

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
            "cpsie i",
            "2:",
            "yield",
            "ldr {now}, [{word}]",
            "cmp {now}, {was}",
            "beq 2b",
            "cpsid i",
            "mov sp, {kept}",
            kept = out(reg) _, now = out(reg) _, sp = in(reg) sp, word = in(reg) word, was = in(reg) was,
        );
    }
}

/// The same for a FIQ. It needs room, so interrupts are on: where they are off there is room.
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
            "mov {kept}, sp", "mov sp, {sp}", "bkpt #0", "mov sp, {kept}",
            kept = out(reg) _, sp = in(reg) sp,
        );
    }
}
