//! Cache upkeep by address, for devices that do not see the harts' caches: the extension Zicbom
//! (unprivileged architecture, 19.3), where the device tree says that all harts have it.

use super::board::MACHINE;
use core::arch::asm;
use core::sync::atomic::Ordering;

/// Bytes that an instruction of cache upkeep works on; 0: there are none.
pub fn line() -> u32 {
    MACHINE.cache_block.load(Ordering::Relaxed) as u32
}

/// The addresses of blocks that have these bytes in them; none where there are no instructions.
fn lines(lowest: *const u8, bytes: usize) -> impl Iterator<Item = usize> {
    let (line, lowest) = (line() as usize, lowest.addr());
    let top = if line == 0 { lowest } else { lowest + bytes };
    (lowest & !line.saturating_sub(1)..top).step_by(line.max(1))
}

/// Writes what only a cache has to memory.
///
/// # Safety
///
/// 1. The bytes are mapped.
pub unsafe fn clean(lowest: *const u8, bytes: usize) {
    for line in lines(lowest, bytes) {
        // SAFETY: (1) by the caller's promise; no contents change; (2) the harts have the
        // extension.
        unsafe {
            asm!(".option push", ".option arch, +zicbom", "cbo.clean ({})", ".option pop",
                 in(reg) line, options(nostack, preserves_flags));
        }
    }
    settle();
}

/// Forgets what a cache has, so that the next read is from memory. Firmware may make it a flush.
///
/// # Safety
///
/// 1. The bytes are mapped, and whole lines: what else is in the first and the last one is lost.
pub unsafe fn invalidate(lowest: *const u8, bytes: usize) {
    for line in lines(lowest, bytes) {
        // SAFETY: (1) by the caller's promise; (2) the harts have the extension.
        unsafe {
            asm!(".option push", ".option arch, +zicbom", "cbo.inval ({})", ".option pop",
                 in(reg) line, options(nostack, preserves_flags));
        }
    }
    settle();
}

/// What was stored to memory before, and upkeep that was begun, is done before a device is told of
/// anything after.
pub fn settle() {
    // SAFETY: (1) a fence changes nothing.
    unsafe { asm!("fence iorw, iorw", options(nostack, preserves_flags)) };
}
