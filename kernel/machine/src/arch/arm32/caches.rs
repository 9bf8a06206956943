//! Cache upkeep by address, to the point of coherency, for devices that do not see the CPUs' caches
//! (Arm ARM v7-A, B2.2.6). Every CPU's cache takes part: the instructions are broadcast to the
//! inner shareable domain.

use core::arch::asm;

/// What the CPU says of its caches: powers of two words of four bytes.
fn kinds() -> u32 {
    let kinds: u32;
    // SAFETY: (1) reading the register has no effect.
    unsafe {
        asm!("mrc p15, 0, {}, c0, c0, 1", out(reg) kinds, options(nomem, nostack, preserves_flags))
    };
    kinds
}

/// Bytes of the largest line that any cache of the system may write back at once; 2 KiB where the
/// CPU does not say.
pub fn line() -> u32 {
    const MOST: u32 = 2048;
    match kinds() >> 24 & 0xf {
        0 => MOST,
        granule => 4 << granule,
    }
}

/// The addresses of lines that have these bytes in them, by the shortest line of any cache.
fn lines(lowest: *const u8, bytes: usize) -> impl Iterator<Item = usize> {
    let line = 4_usize << (kinds() >> 16 & 0xf);
    let lowest = lowest.addr();
    (lowest & !(line - 1)..lowest + bytes).step_by(line)
}

/// Writes what only a cache has to memory.
///
/// # Safety
///
/// 1. The bytes are mapped.
pub unsafe fn clean(lowest: *const u8, bytes: usize) {
    for line in lines(lowest, bytes) {
        // SAFETY: (1) by the caller's promise; no contents change.
        unsafe {
            asm!("mcr p15, 0, {}, c7, c10, 1", in(reg) line, options(nostack, preserves_flags))
        };
    }
    settle();
}

/// Forgets what a cache has, so that the next read is from memory.
///
/// # Safety
///
/// 1. The bytes are mapped, and whole lines: what else is in the first and the last one is lost.
pub unsafe fn invalidate(lowest: *const u8, bytes: usize) {
    for line in lines(lowest, bytes) {
        // SAFETY: (1) by the caller's promise.
        unsafe {
            asm!("mcr p15, 0, {}, c7, c6, 1", in(reg) line, options(nostack, preserves_flags))
        };
    }
    settle();
}

/// What was stored to memory before, and upkeep that was begun, is done before a device is told of
/// anything after.
pub fn settle() {
    // SAFETY: (1) a barrier changes nothing.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) };
}
