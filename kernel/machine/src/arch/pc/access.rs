//! What the CPU says of a selector, without using it: an answer where a load would fault (Intel SDM
//! vol. 2, LAR and LSL).

use core::arch::asm;

/// What `lar` tells: access rights, at bits 8 to 23 of a descriptor's upper half. `None`: no
/// segment that a program could use.
pub(super) fn rights(selector: u16) -> Option<u32> {
    let (rights, found): (u32, u8);
    // SAFETY: (1) only reads descriptors.
    unsafe {
        asm!("lar {0:e}, {1:e}", "setz {2}", out(reg) rights, in(reg) u32::from(selector),
             out(reg_byte) found, options(nostack));
    }
    const SEGMENT: u32 = 1 << 12;
    (found != 0 && rights & SEGMENT != 0).then_some(rights)
}

/// The last byte of a segment.
pub(super) fn last_byte(selector: u16) -> Option<u32> {
    let (last, found): (u32, u8);
    // SAFETY: (1) only reads descriptors.
    unsafe {
        asm!("lsl {0:e}, {1:e}", "setz {2}", out(reg) last, in(reg) u32::from(selector),
             out(reg_byte) found, options(nostack));
    }
    (found != 0).then_some(last)
}

pub(super) const CODE: u32 = 1 << 11;
/// Of data: it can be written; of code: it can be read.
pub(super) const ALLOWED: u32 = 1 << 9;
pub(super) const PRIVILEGE: u32 = 3 << 13;
pub(super) const PRESENT: u32 = 1 << 15;
pub(super) const CODE_64: u32 = 1 << 21;

/// Whether DS, ES, FS or GS can hold a selector; a null one can. Interrupts off.
pub(in crate::arch) fn is_data(selector: u16) -> bool {
    let can = |rights: u32| rights & PRESENT != 0 && rights & (CODE | ALLOWED) != CODE;
    selector <= 3 || rights(selector).is_some_and(can)
}
