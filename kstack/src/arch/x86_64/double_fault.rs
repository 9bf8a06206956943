//! The double fault: a push of the CPU's or of an entry's that found no room.
//!
//! | double faults under way | this one is |
//! | --- | --- |
//! | 0 | judged: the thread is ended, or the system stops |
//! | 1, 2 | what runs on the double-fault stack has overflowed it; judged at its top, and the system stops |
//! | 3 and more | not reported, reporting is what does not work: the CPU is parked |

use super::cause::{DOUBLE_FAULT, fault_address};
use super::entry;
use super::regs::SavedRegs;
use super::save::{NO_FLAGS, frame_above_word, look_at_gs, save_below_rdi};
use crate::arch::cfi::interrupted;
use crate::hooks::hooks;
use crate::local::CpuLocal;
use crate::report::{self, Suspicion};
use core::arch::{asm, naked_asm};
use kstack_core::verdict::Delivery;

/// Double faults inside one another from which on a CPU says nothing more.
const MAX_DOUBLE_FAULTS: usize = 3;

/// Vector 8. Never returns: the thread whose stack overflowed is ended, or the system stops.
#[unsafe(naked)]
#[unsafe(link_section = ".text.kstack_own")]
pub(super) extern "C" fn double_fault() {
    naked_asm!(
        interrupted!(),
        frame_above_word!(),
        // The CPU pushed an error code, always 0.
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rdi, 0",
        save_below_rdi!(),
        "push {NO_FLAGS}",
        "popfq",
        look_at_gs!(),
        "mov rdi, rsp",
        "sub rsp, 8",
        "call {on_double_fault}",
        "ud2",
        ".cfi_endproc",
        NO_FLAGS = const NO_FLAGS,
        on_double_fault = sym on_double_fault,
    )
}

/// A double fault. On its own stack, interrupts off, GS base the kernel's.
extern "C" fn on_double_fault(regs: &mut SavedRegs) -> ! {
    // SAFETY: (1) entry code: the CPU has loaded its block.
    let local = unsafe { CpuLocal::this() };
    if local.arch.begin_double_fault() > MAX_DOUBLE_FAULTS {
        park()
    }
    // An entry runs with interrupts off; what it interrupted did not.
    let interrupts_off = !regs.interrupts_are_on() && !entry::is_on_way_in(regs.pc());
    let suspicion = Suspicion { interrupts_off, can_end_thread: true };
    report::carry_out([Some((Delivery::AnotherStack, fault_address()))], regs, &suspicion);
    // Not about a stack. The kernel can only say so.
    (hooks().kernel_exception)(DOUBLE_FAULT, fault_address(), regs);
    unreachable!("a kernel returned from a double fault that nothing explains")
}

/// There is nothing left to try.
fn park() -> ! {
    loop {
        // SAFETY: (1) entry code; nothing on this CPU is waited for any more.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
