//! Single instructions, as functions.

use core::arch::asm;
use kstack_core::addr::AddrRange;

pub use kstack::arch::current::interrupts::{
    are_on as interrupts_are_on, off as interrupts_off, on as interrupts_on,
};

/// Turns interrupts off for the length of `body`.
#[inline(always)]
pub fn without_interrupts<R>(body: impl FnOnce() -> R) -> R {
    let were_on = interrupts_off();
    let result = body();
    if were_on {
        interrupts_on();
    }
    result
}

/// Turns interrupts on and waits for one, without a gap in between: `wfi` ends for an interrupt that is masked too.
#[inline(always)]
pub fn wait_for_interrupt() {
    // SAFETY: (1) an interrupt always comes: the timer runs. (2) Interrupts are on afterwards, which the caller expects.
    unsafe { asm!("dsb sy", "wfi", "msr daifclr, #2", options(nostack)) };
}

/// Leaves the stack this runs on for ever, and goes on at the top of another.
pub fn continue_on(stack: AddrRange, next: fn() -> !) -> ! {
    // SAFETY: (1) the caller's, empty; (2) nothing on the old stack is used again; (3) a zero frame pointer is the
    // outermost marker, and the top of a stack is as the procedure call standard wants SP.
    unsafe {
        asm!(
            "mov sp, {top}",
            "mov x29, xzr",
            "blr {next}",
            "brk #1",
            top = in(reg) stack.top.get(),
            next = in(reg) next,
            options(noreturn),
        )
    }
}

/// Stops this CPU for ever.
pub fn halt() -> ! {
    loop {
        // SAFETY: (1) nothing is expected of this CPU any more.
        unsafe { asm!("msr daifset, #0xf", "wfi", options(nomem, nostack)) };
    }
}

/// The cycle counter, after everything before it has been executed. In the emulator's counting mode: instructions.
#[inline(always)]
pub fn cycles() -> u64 {
    let cycles;
    // SAFETY: (1) reading the counter has no effect.
    unsafe {
        asm!("isb", "mrs {}, pmccntr_el0", out(reg) cycles, options(nostack, preserves_flags))
    };
    cycles
}

/// Starts the cycle counter of this CPU.
pub fn start_counting() {
    const ENABLE_AND_LONG: u64 = 1 | 1 << 6;
    const CYCLES: u64 = 1 << 31;
    // SAFETY: (1) nobody else uses the performance counters; every emulated CPU has them.
    unsafe {
        asm!("msr pmccfiltr_el0, xzr", "msr pmcntenset_el0, {cycles}", "msr pmcr_el0, {enable}", "isb",
             cycles = in(reg) CYCLES, enable = in(reg) ENABLE_AND_LONG, options(nostack, preserves_flags));
    }
}

/// Time since the machine started, and how many of its units are a second.
#[inline(always)]
pub fn time() -> (u64, u64) {
    let (now, frequency);
    // SAFETY: (1) reading the counter has no effect.
    unsafe {
        asm!("isb", "mrs {}, cntvct_el0", "mrs {}, cntfrq_el0", out(reg) now, out(reg) frequency,
             options(nostack, preserves_flags));
    }
    (now, frequency)
}

/// Drops the cached translation of one page, on every CPU.
#[inline(always)]
pub fn flush_page(address: u64) {
    // SAFETY: (1) forgetting a translation is always allowed.
    unsafe {
        asm!("dsb ishst", "tlbi vaae1is, {}", "dsb ish", "isb", in(reg) address >> 12 & 0xfff_ffff_ffff,
             options(nostack, preserves_flags));
    }
}

/// Drops all cached translations, on every CPU.
pub fn flush_all() {
    // SAFETY: (1) forgetting translations is always allowed.
    unsafe {
        asm!("dsb ishst", "tlbi vmalle1is", "dsb ish", "isb", options(nostack, preserves_flags));
    }
}

/// Loads the user half whose root is at this physical address, and drops what this CPU knows of others: all address spaces
/// are number 0.
///
/// # Safety
///
/// 1. The tables stay until others are loaded.
#[inline(always)]
pub unsafe fn load_tables(root: u64) {
    // SAFETY: (1) by the caller's promise.
    unsafe {
        asm!("dsb ishst", "msr ttbr0_el1, {}", "isb", "tlbi aside1, xzr", "dsb nsh", "isb", in(reg) root,
             options(nostack, preserves_flags));
    }
}

/// Fills a page with zeros, a cache line (or what the CPU calls one) at a time.
///
/// # Safety
///
/// 1. `page` is the address of 4096 writable bytes of ordinary memory, a multiple of 4096.
#[inline]
pub unsafe fn zero_page(page: *mut u8) {
    // SAFETY: (1) by the caller's promise; (2) the step is the CPU's own (DCZID_EL0: log2 of words), which divides a page.
    unsafe {
        asm!(
            "mrs {step}, dczid_el0",
            "and {step}, {step}, #0xf",
            "lsl {step}, {four}, {step}",
            "2:",
            ".rept 4",
            "dc zva, {at}",
            "add {at}, {at}, {step}",
            ".endr",
            "cmp {at}, {top}",
            "b.lo 2b",
            four = in(reg) 4_u64,
            step = out(reg) _,
            at = inout(reg) page => _,
            top = in(reg) page.wrapping_add(4096),
            options(nostack),
        );
    }
}

/// The stack pointer, here.
#[inline(always)]
pub fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: (1) reading SP has no effect.
    unsafe { asm!("mov {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags)) };
    sp
}

/// The frame pointer, here.
#[inline(always)]
pub fn frame_pointer() -> usize {
    let fp: usize;
    // SAFETY: (1) reading x29 has no effect.
    unsafe { asm!("mov {}, x29", out(reg) fp, options(nomem, nostack, preserves_flags)) };
    fp
}
