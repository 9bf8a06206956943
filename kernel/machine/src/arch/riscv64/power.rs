//! How the machine ends, with a status the outside can tell apart.
//!
//! The emulator's `sifive_test` device at 0x10_0000 ends it with the status in the upper half of
//! the word, if the lower half says "fail".

use super::cpu;
use crate::memory::direct;

pub use crate::arch::virt::power::End;

/// Where the device is, physically.
pub(super) const DEVICE: u64 = 0x10_0000;

/// What ends the machine when it is written there.
pub(super) const fn word(why: End) -> u32 {
    const FAIL: u32 = 0x3333;
    (why as u32) << 16 | FAIL
}

/// Ends the machine; on one without the device, stops this CPU.
pub fn end(why: End) -> ! {
    // SAFETY: (1) the device's register is in the direct map from the first moment on; no other
    // code uses it.
    unsafe { direct::<u32>(DEVICE).write_volatile(word(why)) };
    cpu::halt()
}
