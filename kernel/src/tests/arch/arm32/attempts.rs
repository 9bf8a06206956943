//! Attempts at what the CPU should refuse, and what it says then.

pub(in crate::tests) use crate::tests::arch::touch::Touch;
use core::arch::naked_asm;
use kstack::arch::current::cause::{DATA_ABORT, PREFETCH_ABORT, STATUS, WRITE};
use machine::arch::regs::SavedRegs;

#[unsafe(naked)]
extern "C" fn go_to(_address: usize) {
    naked_asm!("bx r0")
}

#[unsafe(naked)]
extern "C" fn load(_address: usize) {
    naked_asm!("ldr r0, [r0]", "bx lr")
}

#[unsafe(naked)]
extern "C" fn store(_address: usize) {
    naked_asm!("mov r1, #0", "str r1, [r0]", "bx lr")
}

/// Makes one. Comes back if it is refused, by [`give_up`], or if it is no jump.
pub(in crate::tests) fn make(touch: Touch, address: usize) {
    match touch {
        Touch::Fetch => go_to(address),
        Touch::Load => load(address),
        Touch::Store => store(address),
    }
}

/// Continues as if the function that made the attempt had returned.
pub(in crate::tests) fn give_up(regs: &mut SavedRegs) {
    regs.pc = regs.lr;
}

/// What was refused, if the page is there and its permissions were the reason.
pub(in crate::tests) fn refused(vector: u8, regs: &SavedRegs) -> Option<Touch> {
    // A permission fault, of any level.
    if regs.orig_r0 & STATUS & 0x3c != 0xc {
        return None;
    }
    match vector {
        PREFETCH_ABORT => Some(Touch::Fetch),
        DATA_ABORT if regs.orig_r0 & WRITE != 0 => Some(Touch::Store),
        DATA_ABORT => Some(Touch::Load),
        _ => None,
    }
}

/// Whether the CPU refuses the kernel to execute programs' memory, and to touch it: this one has
/// nothing for the second (ARMv7-A has no PAN).
pub(in crate::tests) fn cpu_refuses_user_memory() -> (bool, bool) {
    (true, false)
}
