//! Making every CPU forget its translations: one instruction.

use crate::arch::any::flushes;
use core::arch::asm;

/// Makes every other CPU drop its translations, global ones too, and waits until all have. The
/// hardware does it: no interrupt is sent, no CPU has to answer. Branch predictions go with them:
/// new mappings of code want that (B2.2.5).
pub fn flush_others() {
    flushes::count();
    // SAFETY: (1) forgetting translations and predictions is always allowed. The second barrier
    // waits for all CPUs.
    unsafe {
        asm!("dsb ishst", "mcr p15, 0, {zero}, c8, c3, 0", "mcr p15, 0, {zero}, c7, c1, 6", "dsb ish", "isb",
             zero = in(reg) 0_u32, options(nostack, preserves_flags));
    }
}
