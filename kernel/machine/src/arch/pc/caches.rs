//! Caches and devices: on a PC there is nothing to do. Transfers of devices are kept coherent with
//! the CPUs' caches by the hardware (Intel SDM vol. 3, 13.3), and a store is seen by a device in
//! the order of the program (10.2.2).

/// Bytes that an instruction of cache upkeep works on; 0: there are none for devices.
pub const fn line() -> u32 {
    0
}

/// Writes what only a cache has to memory.
///
/// # Safety
///
/// 1. The bytes are mapped.
pub const unsafe fn clean(_lowest: *const u8, _bytes: usize) {}

/// Forgets what a cache has, so that the next read is from memory.
///
/// # Safety
///
/// 1. The bytes are mapped, and whole lines: what else is in the first and the last one is lost.
pub const unsafe fn invalidate(_lowest: *const u8, _bytes: usize) {}

/// What was stored to memory before is seen by a device that is told of it after. Not by the
/// compiler's order alone: the stores to the device are volatile ones.
pub fn settle() {
    core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst);
}
