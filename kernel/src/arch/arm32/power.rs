//! How the machine ends, with a status the outside can tell apart.
//!
//! The emulator ends by semihosting with the status it is asked for; without that, PSCI turns the machine off.

use super::{cpu, semihosting, smp};

/// Why the machine ends. The numbers are the emulator's exit statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum End {
    /// All that was asked has been done.
    Orderly = 17,
    /// A stack that belongs to a CPU overflowed: stopped, with the report.
    Stopped = 33,
    /// The kernel found itself broken.
    Panic = 49,
}

/// Ends the machine.
pub fn end(why: End) -> ! {
    const APPLICATION_EXIT: u32 = 0x2_0026;
    semihosting::call(semihosting::EXIT, &[APPLICATION_EXIT, why as u32]);
    smp::turn_off();
    cpu::halt()
}
