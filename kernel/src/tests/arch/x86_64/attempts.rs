//! Attempts at what the CPU should refuse, and what it says then.

use crate::tests::arch::pc::refusals;
pub(in crate::tests) use crate::tests::arch::pc::refusals::{Touch, cpu_refuses_user_memory};
use core::arch::naked_asm;
use machine::arch::regs::SavedRegs;

#[unsafe(naked)]
extern "C" fn go_to(_address: usize) {
    naked_asm!("jmp rdi")
}

#[unsafe(naked)]
extern "C" fn load(_address: usize) {
    naked_asm!("mov rax, [rdi]", "ret")
}

#[unsafe(naked)]
extern "C" fn store(_address: usize) {
    naked_asm!("mov qword ptr [rdi], 0", "ret")
}

/// The return that an attempt did not come to.
#[unsafe(naked)]
extern "C" fn back() {
    naked_asm!("ret")
}

/// Makes one. Comes back if it is refused, by [`give_up`], or if it is no jump.
pub(in crate::tests) fn make(touch: Touch, address: usize) {
    match touch {
        Touch::Fetch => go_to(address),
        Touch::Load => load(address),
        Touch::Store => store(address),
    }
}

/// Continues as if the function that made the attempt had returned: RSP is where its return address
/// is.
pub(in crate::tests) fn give_up(regs: &mut SavedRegs) {
    regs.rip = back as *const () as u64;
}

/// What was refused, if the page is there and its permissions were the reason.
pub(in crate::tests) fn refused(vector: u8, regs: &SavedRegs) -> Option<Touch> {
    refusals::refused(vector, regs.orig_rax)
}
