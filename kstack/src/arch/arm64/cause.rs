//! Exceptions by class (Arm ARM, ESR_EL1).

use super::regs::SavedRegs;

/// What an interrupt from the controller is called on its way to the kernel, which alone knows how
/// to ask the controller for its number. Software interrupts (`svc` in the kernel) carry their own
/// number.
pub const FROM_CONTROLLER: u8 = 0xff;

/// Exception classes (Arm ARM, ESR_EL1): a system call, or in the kernel a software interrupt.
pub(super) const SVC: u64 = 0x15;

/// Where the exception class stands in ESR_EL1.
pub(super) const CLASS_SHIFT: u32 = 26;
/// Exception classes (Arm ARM, ESR_EL1): a data access in the kernel.
pub(super) const DATA_ABORT: u8 = 0x25;
/// Hardware breakpoint, single step, watchpoint, each in the kernel.
pub(super) const DEBUG: [u8; 3] = [0x31, 0x33, 0x35];
/// The breakpoint instruction.
pub(super) const BREAKPOINT: u8 = 0x3c;

/// The exception class, which is what the kernel gets as the vector.
pub(super) const fn class_of(regs: &SavedRegs) -> u8 {
    (regs.esr >> CLASS_SHIFT) as u8 & 0x3f
}

pub(super) const fn is_data_abort(regs: &SavedRegs) -> bool {
    class_of(regs) == DATA_ABORT
}
