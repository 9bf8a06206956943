//! How the machine ends, with a status the outside can tell apart.
//!
//! By semihosting. On a machine without it, PSCI turns the power off, without a status.

use super::semihosting::{APPLICATION_EXIT, SYS_EXIT_EXTENDED, semihosting};
use super::serial::CONSOLE;
use super::{cpu, psci};
use core::fmt::Write;

pub use crate::arch::virt::power::End;

/// Ends the machine.
pub fn end(why: End) -> ! {
    let mut console = CONSOLE;
    let block = [APPLICATION_EXIT, why as u64];
    // SAFETY: (1) the operation reads two words.
    unsafe { semihosting(SYS_EXIT_EXTENDED, block.as_ptr()) };
    // The console takes everything.
    let _never_fails =
        console.write_str("this machine has no semihosting: it is turned off without a status\n");
    psci::power_off();
    cpu::halt()
}
