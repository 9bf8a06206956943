//! Attempts at what the CPU should refuse, and what it says then.

pub(in crate::tests) use crate::tests::arch::touch::Touch;
use core::arch::naked_asm;
use machine::arch::regs::SavedRegs;

const FETCH_PAGE_FAULT: u8 = 12;
const LOAD_PAGE_FAULT: u8 = 13;
const STORE_PAGE_FAULT: u8 = 15;

#[unsafe(naked)]
extern "C" fn go_to(_address: usize) {
    naked_asm!("jr a0")
}

#[unsafe(naked)]
extern "C" fn load(_address: usize) {
    naked_asm!("ld a0, 0(a0)", "ret")
}

#[unsafe(naked)]
extern "C" fn store(_address: usize) {
    naked_asm!("sd zero, 0(a0)", "ret")
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
    regs.epc = regs.ra;
}

/// What was refused. The CPU does not tell a page that is not there from one that is for something
/// else.
pub(in crate::tests) fn refused(vector: u8, _regs: &SavedRegs) -> Option<Touch> {
    match vector {
        FETCH_PAGE_FAULT => Some(Touch::Fetch),
        LOAD_PAGE_FAULT => Some(Touch::Load),
        STORE_PAGE_FAULT => Some(Touch::Store),
        _ => None,
    }
}

/// Whether the CPU refuses the kernel to execute programs' memory, and to touch it: `sstatus.SUM`
/// is clear.
pub(in crate::tests) fn cpu_refuses_user_memory() -> (bool, bool) {
    (true, true)
}
