//! Single instructions, as functions.

use core::arch::asm;
use kstack::addr::AddrRange;
use kstack::arch::current::regs::FREE_AT_TOP;
use kstack::interrupts::InterruptsOff;

pub use crate::arch::any::cpu::{
    interrupts_are_on, interrupts_off, interrupts_on, without_interrupts,
};

/// Turns interrupts on and waits for one, without a gap in between (`wfi` ends when one is pending,
/// masked or not).
#[inline(always)]
pub fn wait_for_interrupt() {
    // SAFETY: (1) an interrupt always comes: the timer runs. (2) Interrupts are on afterwards,
    // which the caller expects.
    unsafe { asm!("dsb", "wfi", "cpsie i", options(nostack)) };
}

/// Leaves the stack this runs on for good, and runs `next` on `stack`.
pub fn continue_on(stack: AddrRange, next: fn() -> !) -> ! {
    // SAFETY: (1) the caller's, empty; (2) nothing on the old stack is used again; (3) a zero frame
    // pointer is the outermost marker, and a page-aligned SP is as the procedure call standard
    // wants it.
    unsafe {
        asm!(
            "mov sp, {top}",
            "mov r11, #0",
            "blx {next}",
            "udf #0",
            top = in(reg) stack.top.wrapping_sub(FREE_AT_TOP).get(),
            next = in(reg) next,
            options(noreturn),
        )
    }
}

/// Stops this CPU for good.
pub fn halt() -> ! {
    loop {
        // SAFETY: (1) nothing is expected of this CPU any more.
        unsafe { asm!("cpsid i", "wfi", options(nomem, nostack)) };
    }
}

/// Cycles: the low 32 bits from the cycle counter, the others from the virtual counter, which is
/// slower but wider. Under the emulator a cycle is a nanosecond, and in its counting mode an
/// instruction.
#[inline(always)]
pub fn cycles() -> u64 {
    const CYCLES_PER_COUNT: u64 = 16;
    let about = time().wrapping_mul(CYCLES_PER_COUNT);
    let low: u32;
    // SAFETY: (1) reading the cycle counter has no effect; boot has turned it on.
    unsafe {
        asm!("isb", "mrc p15, 0, {}, c9, c13, 0", out(reg) low, options(nostack, preserves_flags));
    }
    // The two started at different moments, less than 2^31 cycles apart: the wide one follows the
    // narrow one.
    let ahead = low.wrapping_sub(about as u32) as i32;
    about.wrapping_add_signed(i64::from(ahead))
}

/// A number of the CPU's own generator: it has none that the kernel may ask.
pub fn random() -> Option<u64> {
    None
}

/// The virtual counter, 62.5 MHz on this board.
#[inline(always)]
pub(super) fn time() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: (1) reading the counter has no effect.
    unsafe {
        asm!("isb", "mrrc p15, 1, {}, {}, c14", out(reg) low, out(reg) high,
             options(nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Drops this CPU's cached translations of some pages, in all address spaces: the barriers are once
/// for all.
#[inline(always)]
pub fn flush_pages(addresses: impl Iterator<Item = u64>) {
    // SAFETY: (1) forgetting translations is always allowed. The barriers: the entries' stores are
    // seen by the table walk first, and the translations are gone afterwards.
    unsafe {
        asm!("dsb ishst", options(nostack, preserves_flags));
        addresses.for_each(|address| {
            asm!("mcr p15, 0, {}, c8, c7, 3", in(reg) (address & !0xfff) as u32,
                 options(nostack, preserves_flags));
        });
        asm!("dsb ish", "isb", options(nostack, preserves_flags));
    }
}

/// Drops this CPU's cached translation of one page, in all address spaces.
#[inline(always)]
pub fn flush_page(address: u64) {
    flush_pages(core::iter::once(address));
}

/// Drops all of this CPU's cached translations, global ones too.
pub fn flush_all() {
    // SAFETY: (1) forgetting translations is always allowed.
    unsafe {
        asm!("dsb ishst", "mcr p15, 0, {}, c8, c7, 0", "dsb ish", "isb", in(reg) 0_u32,
             options(nostack, preserves_flags));
    }
}

/// Loads the page tables of the user half whose root is at this physical address.
///
/// All address spaces have number 0, so the old one's translations are dropped; those of the kernel
/// half are global and stay.
///
/// # Safety
///
/// 1. The tables are those of a process, or the empty ones, and stay until others are loaded.
#[inline(always)]
pub unsafe fn load_tables(root: u64, _off: &InterruptsOff) {
    // SAFETY: (1) by the caller's promise; (2) the kernel half has tables of its own, which stay.
    unsafe {
        asm!("dsb ishst", "mcrr p15, 0, {low}, {zero}, c2", "isb", "mcr p15, 0, {zero}, c8, c7, 2",
             // Branches that the old program taught the CPU lead nowhere in the new one's code: a
             // change of TTBR0 without one of the address space's number wants them forgotten
             // (B2.2.5, B3.9.1).
             "mcr p15, 0, {zero}, c7, c5, 6",
             "dsb ish", "isb", low = in(reg) root as u32, zero = in(reg) 0_u32,
             options(nostack, preserves_flags));
    }
}

/// Fills a page with zeros, 32 bytes a store: about 150 instructions.
///
/// # Safety
///
/// 1. `page` is the address of 4096 writable bytes, a multiple of 32.
#[inline]
pub unsafe fn zero_page(page: *mut u8) {
    // SAFETY: (1) by the caller's promise.
    unsafe {
        asm!(
            "2:",
            ".rept 16",
            "stm r0!, {{r2, r3, r4, r5, r8, r9, r12, lr}}",
            ".endr",
            "cmp r0, r1",
            "bne 2b",
            inout("r0") page => _,
            in("r1") page.wrapping_add(4096),
            in("r2") 0,
            in("r3") 0,
            in("r4") 0,
            in("r5") 0,
            in("r8") 0,
            in("r9") 0,
            in("r12") 0,
            in("lr") 0,
            options(nostack),
        );
    }
}

/// Makes instructions that were written through the direct map visible to instruction fetches, on
/// all CPUs.
pub(super) fn sync_instructions(page: *const u8) {
    const LINE: usize = 64;
    for offset in (0..4096).step_by(LINE) {
        // SAFETY: (1) cleaning a mapped line changes nothing that anybody reads.
        unsafe {
            asm!("mcr p15, 0, {}, c7, c11, 1", in(reg) page as usize + offset,
                 options(nostack, preserves_flags));
        }
    }
    // SAFETY: (1) forgetting instructions and predictions is always allowed.
    unsafe {
        asm!("dsb ish", "mcr p15, 0, {}, c7, c1, 0", "dsb ish", "isb", in(reg) 0_u32,
             options(nostack, preserves_flags));
    }
}

/// This CPU's affinity, levels 0 to 2: its number for PSCI, and what its interface to the interrupt
/// controller is found by.
pub(super) fn affinity() -> u32 {
    let mpidr: u32;
    // SAFETY: (1) reading the register has no effect.
    unsafe {
        asm!("mrc p15, 0, {}, c0, c0, 5", out(reg) mpidr, options(nomem, nostack, preserves_flags));
    }
    mpidr & 0xff_ffff
}

/// A breakpoint instruction: its handler runs, and what comes after it is executed.
#[inline(always)]
pub fn breakpoint() {
    // SAFETY: (1) the handler returns with everything as it was, behind the instruction.
    unsafe { asm!("bkpt #0") };
}

/// Whether the CPU keeps the kernel from touching what programs have mapped: not this one.
pub fn keeps_off_programs() -> bool {
    false
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
    // SAFETY: (1) reading r11 has no effect.
    unsafe { asm!("mov {}, r11", out(reg) fp, options(nomem, nostack, preserves_flags)) };
    fp
}
