//! Attempts at what the CPU should refuse, and what it says then.

pub(in crate::tests) use crate::tests::arch::touch::Touch;
use core::arch::naked_asm;
use machine::arch::cpu;
use machine::arch::regs::SavedRegs;

const INSTRUCTION_ABORT: u8 = 0x21;
const DATA_ABORT: u8 = 0x25;

#[unsafe(naked)]
extern "C" fn go_to(_address: usize) {
    naked_asm!("br x0")
}

#[unsafe(naked)]
extern "C" fn load(_address: usize) {
    naked_asm!("ldr x0, [x0]", "ret")
}

#[unsafe(naked)]
extern "C" fn store(_address: usize) {
    naked_asm!("str xzr, [x0]", "ret")
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
    regs.pc = regs.x[30];
}

/// What was refused, if the page is there and its permissions were the reason.
pub(in crate::tests) fn refused(vector: u8, regs: &SavedRegs) -> Option<Touch> {
    // A permission fault, of any level.
    if regs.esr & 0x3c != 0xc {
        return None;
    }
    match vector {
        INSTRUCTION_ABORT => Some(Touch::Fetch),
        DATA_ABORT if regs.esr & 1 << 6 != 0 => Some(Touch::Store),
        DATA_ABORT => Some(Touch::Load),
        _ => None,
    }
}

/// Whether the CPU refuses the kernel to execute programs' memory, and to touch it.
pub(in crate::tests) fn cpu_refuses_user_memory() -> (bool, bool) {
    (true, cpu::has_pan())
}
