//! How the machine ends, with a status the outside can tell apart.
//!
//! The emulator's `isa-debug-exit` device at port 0xf4 ends it with status 2 v + 1.

use super::ports;
use crate::arch::cpu;

/// Why the machine ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum End {
    /// All that was asked has been done. Status 17.
    Orderly = 0x08,
    /// A stack that belongs to a CPU overflowed: stopped, with the report. Status 33.
    Stopped = 0x10,
    /// The kernel found itself broken. Status 49.
    Panic = 0x18,
}

/// Ends the machine; on one without the device, stops this CPU.
pub fn end(why: End) -> ! {
    // SAFETY: (1) nobody else uses the port.
    unsafe { ports::out32(0xf4, why as u32) };
    cpu::halt()
}
