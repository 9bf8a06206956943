//! What arm64's own registers say, read as the CPU reads them: for tests and for the console's
//! questions.

use alloc::format;
use alloc::string::String;

/// The CPU takes no stack from memory at an entry from user mode: the entry code loads it.
pub(in crate::tests) const fn stack_for_user_entries() -> Option<(&'static str, usize)> {
    None
}

/// What this CPU itself says of shadow stacks.
pub(in crate::tests) fn shadow_evidence() -> String {
    let features: u64;
    // SAFETY: (1) reading an identification register has no effect.
    unsafe {
        core::arch::asm!("mrs {}, id_aa64pfr1_el1", out(reg) features,
                         options(nomem, nostack, preserves_flags));
    }
    format!(
        "ID_AA64PFR1_EL1 is {features:#x}: its field GCS (bits 44 to 47) is {}",
        features >> 44 & 0xf
    )
}
