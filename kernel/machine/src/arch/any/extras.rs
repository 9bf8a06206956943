//! What else a program's thread may have in the CPU, on machines where that is nothing: neither ports nor a shadow stack.

use super::paging::NoMemory;
use crate::arch::regs::SavedRegs;
use kstack::ports::Ports;

/// What a thread keeps of it while it does not run.
#[derive(Debug)]
pub struct Extras;

impl Extras {
    /// Nothing.
    pub const fn new() -> Self {
        Self
    }

    /// At the switch away from a thread that has some. Interrupts off.
    pub fn leave(&self) {}

    /// At the switch to one.
    pub fn come(&self) {}
}

/// Makes what the CPUs need before a port can be permitted.
pub fn prepare_ports() -> Result<(), NoMemory> {
    Ok(())
}

/// Permits ports to user mode on this CPU. Says whether it was something else before.
pub fn permit_ports(_ports: Ports<'_>) -> bool {
    false
}

/// Whether an exception in user mode may have been about a port.
pub fn may_be_about_a_port(_vector: u8) -> bool {
    false
}

/// Steps over an instruction that disables or enables interrupts, by its first byte.
pub fn step_over_interrupt_flag(_code: u8, _regs: &mut SavedRegs) -> bool {
    false
}
