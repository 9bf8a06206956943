//! How the machine ends, with a status the outside can tell apart.
//!
//! The emulator's `sifive_test` device at 0x10_0000 ends it with the status in the upper half of the word, if the lower half
//! says "fail".

use super::cpu;
use crate::memory::direct;

pub use crate::arch::virt::power::End;

/// Ends the machine; on one without the device, stops this CPU.
pub fn end(why: End) -> ! {
    const DEVICE: u64 = 0x10_0000;
    const FAIL: u32 = 0x3333;
    // SAFETY: (1) the device's register is in the direct map from the first moment on; nobody else uses it.
    unsafe { direct::<u32>(DEVICE).write_volatile((why as u32) << 16 | FAIL) };
    cpu::halt()
}
