//! What has a thread trap behind one instruction.

use machine::arch::regs::SavedRegs;

/// Sets the flag for that, and clears it.
pub(crate) type Step = fn(&mut SavedRegs, bool);
