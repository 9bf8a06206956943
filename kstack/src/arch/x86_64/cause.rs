//! Exceptions by number (Intel SDM vol. 3, table 7-1), and what the CPU says of a fault.

use core::arch::asm;
use kstack_core::addr::Addr;

/// Debug exception.
pub(super) const DEBUG: u8 = 1;
/// NMI.
pub(super) const NMI: u8 = 2;
/// Double fault.
pub(super) const DOUBLE_FAULT: u8 = 8;
/// Page fault.
pub(super) const PAGE_FAULT: u8 = 14;
/// Machine check.
pub(super) const MACHINE_CHECK: u8 = 18;

/// Vectors for which the CPU pushes an error code.
pub(super) const fn has_error_code(vector: usize) -> bool {
    matches!(vector, 8 | 10..=14 | 17 | 21 | 29 | 30)
}

/// The address of the last page fault.
pub(super) fn fault_address() -> Addr {
    let address: usize;
    // SAFETY: (1) reading CR2 has no effect.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) };
    Addr::new(address)
}
