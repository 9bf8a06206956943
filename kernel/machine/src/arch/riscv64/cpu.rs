//! Single instructions, as functions.

use core::arch::asm;
use kstack::addr::AddrRange;
use kstack::interrupts::InterruptsOff;

pub use crate::arch::any::cpu::{
    interrupts_are_on, interrupts_off, interrupts_on, without_interrupts,
};

/// satp: four levels.
pub(super) const SV48: u64 = 9 << 60;

/// Waits for an interrupt, with interrupts off, and then turns them on: a pending one ends the wait
/// without being taken, so there is no gap in between.
#[inline(always)]
pub fn wait_for_interrupt() {
    // SAFETY: (1) an interrupt always comes: the timer runs.
    unsafe { asm!("wfi", options(nostack)) };
    interrupts_on();
}

/// Waits, with interrupts off, until an interrupt is pending that could be taken if they were on.
#[inline(always)]
pub(super) fn wait_for_pending() {
    // SAFETY: (1) the caller has seen to it that one will be.
    unsafe { asm!("wfi", options(nostack)) };
}

/// In a loop that waits for another CPU, with interrupts off. An emulator that runs one CPU at a
/// time advances to the next at a `wfi`, and at nothing else in such a loop; a software interrupt
/// of one's own, pending, keeps it from lasting. It is taken later and found to be for nothing.
#[inline(always)]
pub(super) fn relax() {
    /// In sip: the software interrupt.
    const SOFTWARE: u64 = 1 << 1;
    // SAFETY: (1) raises this hart's own interrupt, whose handler expects to find nothing sent; (2)
    // it is enabled in sie.
    unsafe { asm!("csrs sip, {}", "wfi", in(reg) SOFTWARE, options(nostack)) };
}

/// Leaves the stack this runs on for good, and continues at the top of another.
pub fn continue_on(stack: AddrRange, next: fn() -> !) -> ! {
    // SAFETY: (1) the caller's, empty; (2) nothing on the old stack is used again; (3) a zero frame
    // pointer is the outermost marker, and a top is aligned as the calling convention wants SP.
    unsafe {
        asm!(
            "mv sp, {top}",
            "li s0, 0",
            "jalr {next}",
            "unimp",
            top = in(reg) stack.top.get(),
            next = in(reg) next,
            options(noreturn),
        )
    }
}

/// Stops this CPU for good.
pub fn halt() -> ! {
    // Whatever is left of the stack.
    // SAFETY: (1) this is the kernel; (2) they stay off.
    unsafe { kstack::arch::current::interrupts::off() };
    loop {
        // SAFETY: (1) nothing is expected of this CPU any more.
        unsafe { asm!("wfi", options(nomem, nostack)) };
    }
}

/// The cycle counter, after everything before it has been executed. In the emulator's counting
/// mode: instructions.
#[inline(always)]
pub fn cycles() -> u64 {
    let cycles: u64;
    // SAFETY: (1) reading the counter has no effect; the firmware lets supervisor mode read it.
    unsafe { asm!("fence", "rdcycle {}", out(reg) cycles, options(nostack, preserves_flags)) };
    cycles
}

/// A number of the CPU's own generator: it has none that the kernel may ask.
pub fn random() -> Option<u64> {
    None
}

/// The time counter.
#[inline(always)]
pub(super) fn time() -> u64 {
    let time: u64;
    // SAFETY: (1) reading the counter has no effect.
    unsafe { asm!("rdtime {}", out(reg) time, options(nomem, nostack, preserves_flags)) };
    time
}

/// Drops this CPU's cached translations of some pages.
#[inline(always)]
pub fn flush_pages(addresses: impl Iterator<Item = u64>) {
    addresses.for_each(flush_page);
}

/// Drops this CPU's cached translation of one page, global or not.
#[inline(always)]
pub fn flush_page(address: u64) {
    // SAFETY: (1) forgetting a translation is always allowed.
    unsafe { asm!("sfence.vma {}, zero", in(reg) address, options(nostack, preserves_flags)) };
}

/// Drops this CPU's cached translations of the user half, and what it remembers of the tables that
/// lead to them: a flush of one page promises nothing about those (privileged architecture,
/// SFENCE.VMA).
#[inline(always)]
pub(super) fn flush_user_half() {
    // SAFETY: (1) forgetting translations is always allowed. All address spaces have number 0.
    unsafe { asm!("sfence.vma zero, {}", in(reg) 0_u64, options(nostack, preserves_flags)) };
}

/// Drops all of this CPU's cached translations, global ones too.
pub fn flush_all() {
    // SAFETY: (1) forgetting translations is always allowed.
    unsafe { asm!("sfence.vma", options(nostack, preserves_flags)) };
}

/// What `satp` holds for page tables whose root is at this physical address.
pub(super) const fn satp_of(root: u64) -> u64 {
    SV48 | root >> 12
}

/// Loads the page tables whose root is at this physical address.
///
/// # Safety
///
/// 1. The tables map the kernel as all others do, and stay until others are loaded.
#[inline(always)]
pub unsafe fn load_tables(root: u64, _off: &InterruptsOff) {
    // SAFETY: (1) by the caller's promise; (2) all tables have address space number 0, so what is
    // cached of the old ones is dropped, all but the kernel's global pages; (3) the code of the new
    // program may be new to this CPU, too: a thread that writes some from here on sees in the CPU's
    // block that these tables are loaded.
    unsafe {
        asm!("csrw satp, {satp}", "sfence.vma zero, {zero}", "fence", "fence.i", satp = in(reg) satp_of(root),
             zero = in(reg) 0_u64, options(nostack, preserves_flags));
    }
}

/// Fills a page with zeros, 64 words in a row: about 530 instructions.
///
/// # Safety
///
/// 1. `page` is the address of 4096 writable bytes, a multiple of 8.
#[inline]
pub unsafe fn zero_page(page: *mut u8) {
    // SAFETY: (1) by the caller's promise.
    unsafe {
        asm!(
            "2:",
            ".set zeroed, 0",
            ".rept 64",
            "sd zero, zeroed({at})",
            ".set zeroed, zeroed + {word}",
            ".endr",
            "addi {at}, {at}, 64 * {word}",
            "bne {at}, {top}, 2b",
            word = const size_of::<u64>(),
            at = inout(reg) page => _,
            top = in(reg) page.wrapping_add(4096),
            options(nostack),
        );
    }
}

/// A breakpoint instruction: its handler runs, and what comes after it is executed.
#[inline(always)]
pub fn breakpoint() {
    // SAFETY: (1) the handler returns with everything as it was, behind the instruction.
    unsafe { asm!("ebreak") };
}

/// Whether the CPU keeps the kernel from touching what programs have mapped: with `sstatus.SUM`
/// clear, yes.
pub fn keeps_off_programs() -> bool {
    true
}

/// The stack pointer, here.
#[inline(always)]
pub fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: (1) reading SP has no effect.
    unsafe { asm!("mv {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags)) };
    sp
}

/// The frame pointer, here.
#[inline(always)]
pub fn frame_pointer() -> usize {
    let fp: usize;
    // SAFETY: (1) reading s0 has no effect.
    unsafe { asm!("mv {}, s0", out(reg) fp, options(nomem, nostack, preserves_flags)) };
    fp
}
