//! How the machine ends, with a status the outside can tell apart, and the emulator's debug console.
//!
//! Both through semihosting: `hlt #0xf000` with the operation in w0 and its argument in x1 ("Semihosting for AArch32 and
//! AArch64", Arm). On a machine without it, PSCI turns the power off, without a status.

use super::{cpu, psci};
use core::arch::asm;

pub use crate::arch::virt::power::End;

const SYS_WRITEC: u64 = 0x03;
/// Text up to a NUL.
pub(super) const SYS_WRITE0: u64 = 0x04;
pub(super) const SYS_EXIT_EXTENDED: u64 = 0x20;
/// Reason "application exit": the second word is the status.
pub(super) const APPLICATION_EXIT: u64 = 0x2_0026;

/// One semihosting operation.
///
/// # Safety
///
/// 1. `argument` is what the operation wants, and memory behind it is valid.
unsafe fn semihosting(operation: u64, argument: *const u64) {
    // SAFETY: (1) by the caller's promise; (2) the emulator changes x0 only.
    unsafe {
        asm!("hlt #0xf000", inout("x0") operation => _, in("x1") argument, options(nostack));
    }
}

/// Sends a byte to the debug console.
pub(super) fn semihosting_put(byte: u8) {
    // SAFETY: (1) the operation reads one byte at the address.
    unsafe { semihosting(SYS_WRITEC, (&raw const byte).cast()) };
}

/// Ends the machine.
pub fn end(why: End) -> ! {
    let block = [APPLICATION_EXIT, why as u64];
    // SAFETY: (1) the operation reads two words.
    unsafe { semihosting(SYS_EXIT_EXTENDED, block.as_ptr()) };
    psci::power_off();
    cpu::halt()
}
