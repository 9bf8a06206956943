//! Ending the machine, with a status, through the `virt` machine's test device.

use crate::boot::PHYSICAL;
use core::sync::atomic::{AtomicBool, Ordering};

/// Everything was as it should be.
pub const SUCCESS: u32 = 33;
/// The kernel panicked.
pub const PANIC: u32 = 35;
/// An exception that nothing handles.
pub const EXCEPTION: u32 = 37;

/// Ends the machine with this status.
pub fn off(status: u32) -> ! {
    // SAFETY: the device's register, mapped by the boot table.
    unsafe { ((PHYSICAL + 0x10_0000) as *mut u32).write_volatile(status << 16 | 0x3333) };
    loop {
        riscv::asm::wfi();
    }
}

static FAILURE_IS_EXPECTED: AtomicBool = AtomicBool::new(false);

/// From now on a panic, or an exception that nothing handles, is what is to come.
pub fn expect_failure() {
    FAILURE_IS_EXPECTED.store(true, Ordering::Relaxed);
}

/// Ends the machine after a failure.
pub fn after_failure(status: u32) -> ! {
    off(if FAILURE_IS_EXPECTED.load(Ordering::Relaxed) { SUCCESS } else { status })
}
