//! Single instructions, as functions: those that are the same whatever the size of an address.

use core::arch::asm;

/// Turns interrupts on and waits for one, without a gap in between (the shadow of `sti` covers
/// `hlt`).
#[inline(always)]
pub fn wait_for_interrupt() {
    // SAFETY: (1) an interrupt always comes: the timer runs. (2) Interrupts are on afterwards,
    // which the caller expects.
    unsafe { asm!("sti", "hlt", options(nostack)) };
}

/// Stops this CPU for good.
pub fn halt() -> ! {
    loop {
        // SAFETY: (1) nothing is expected of this CPU any more.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

/// The time stamp counter, after everything before it has been executed.
#[inline(always)]
pub fn cycles() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: (1) reading the counter has no effect.
    unsafe {
        asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nostack, preserves_flags))
    };
    u64::from(high) << 32 | u64::from(low)
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
    unsafe { asm!("invlpg [{}]", in(reg) address as usize, options(nostack, preserves_flags)) };
}

/// Drops all of this CPU's cached translations, global ones too: clearing CR4.PGE does that (Intel
/// SDM vol. 3, 5.10.4.1).
pub fn flush_all() {
    // SAFETY: (1) forgetting translations is always allowed; (2) CR4 ends up as it was.
    unsafe {
        asm!("mov {old}, cr4", "mov {new}, {old}", "and {new}, {mask}", "mov cr4, {new}", "mov cr4, {old}",
             old = out(reg) _, new = out(reg) _, mask = const !0x80_i32, options(nostack));
    }
}
