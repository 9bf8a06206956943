//! What both PCs say of an attempt that they refuse.

pub(in crate::tests) use crate::tests::arch::touch::Touch;
use core::arch::asm;

const PAGE_FAULT: u8 = 14;

/// What was refused, if the page is there and its permissions were the reason (Intel SDM vol. 3,
/// 4.7).
pub(in crate::tests) fn refused(vector: u8, error: u64) -> Option<Touch> {
    const PRESENT: u64 = 1;
    const WRITE: u64 = 1 << 1;
    const FETCH: u64 = 1 << 4;
    if vector != PAGE_FAULT || error & PRESENT == 0 {
        return None;
    }
    Some(match error {
        _ if error & FETCH != 0 => Touch::Fetch,
        _ if error & WRITE != 0 => Touch::Store,
        _ => Touch::Load,
    })
}

/// Whether the CPU refuses the kernel to execute programs' memory, and to touch it: where it has
/// SMEP and SMAP. That they are on where it has them is the table of control registers'.
pub(in crate::tests) fn cpu_refuses_user_memory() -> (bool, bool) {
    let control: usize;
    // SAFETY: (1) reading the register has no effect.
    unsafe { asm!("mov {}, cr4", out(reg) control, options(nomem, nostack, preserves_flags)) };
    (control & 1 << 20 != 0, control & 1 << 21 != 0)
}
