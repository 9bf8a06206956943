//! Leaving the emulator: QEMU's `isa-debug-exit` at port 0xf4 ends it with the status
//! `2 * code + 1`.

use core::sync::atomic::{AtomicBool, Ordering};
use x86_64::instructions::{hlt, interrupts, port::Port};

/// How it went.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Code {
    /// Status 33: everything was as it should be.
    Success = 0x10,
    /// Status 35: the kernel panicked.
    Panic = 0x11,
    /// Status 37: an exception that nothing handles.
    Exception = 0x12,
}

/// Ends the emulator.
pub fn with(code: Code) -> ! {
    // SAFETY: the port belongs to a device that does nothing else.
    unsafe { Port::new(0xf4).write(code as u32) };
    loop {
        interrupts::disable();
        hlt();
    }
}

static FAILURE_IS_EXPECTED: AtomicBool = AtomicBool::new(false);

/// From now on a panic, or an exception that nothing handles, is what is to come.
pub fn expect_failure() {
    FAILURE_IS_EXPECTED.store(true, Ordering::Relaxed);
}

/// Ends the emulator after a failure.
pub fn after_failure(code: Code) -> ! {
    with(if FAILURE_IS_EXPECTED.load(Ordering::Relaxed) { Code::Success } else { code })
}
