//! How the machine ends, with a status the outside can tell apart.
//!
//! The emulator ends by semihosting with the status it is asked for; without that, PSCI turns the
//! machine off.

use super::{cpu, psci, semihosting};

pub use crate::arch::virt::power::End;

/// The reason for ending: the second word is the status.
pub(super) const APPLICATION_EXIT: u32 = 0x2_0026;

/// Ends the machine.
pub fn end(why: End) -> ! {
    semihosting::call(semihosting::EXIT, &[APPLICATION_EXIT, why as u32]);
    psci::turn_off();
    cpu::halt()
}
