//! Exceptions: which of them are about a stack, and what then.
//!
//! A store into a guard page is a page fault. If SP is in the guard too, or so close to it that the
//! registers do not fit, the fault arrives on the overflow stack ([`super::overflow`]). If SP is
//! sound, it arrives on the stack it interrupted: a stray access. Compiled code lowers SP before it
//! stores, so an overflow is never mistaken for one.

use super::cause::{BREAKPOINT, INTERRUPT, SOFTWARE, accessed, breakpoint_at};
use super::regs::SavedRegs;
use crate::hooks::hooks;
use crate::report::{self, Suspicion};
use crate::shifted;
use kstack_core::addr::Addr;
use kstack_core::verdict::Delivery;

/// Everything but system calls arrives here, on a stack with room, interrupts off.
pub(super) extern "C" fn on_trap(regs: &mut SavedRegs) {
    if regs.cause & INTERRUPT != 0 {
        crate::irq::on_interrupt(regs.cause as u8, regs);
    } else {
        on_exception(regs.cause as u8, regs);
    }
}

/// Exceptions whose registers are on the interrupted stack, or on the thread's from user mode.
/// Interrupts off.
fn on_exception(cause: u8, regs: &mut SavedRegs) {
    let address = accessed(regs).unwrap_or(Addr::new(0));
    if regs.from_user() {
        shifted::user_exception(cause, address, regs);
        return;
    }
    if cause == BREAKPOINT {
        // Unlike other machines' instructions, the pc is at this one still.
        let (bytes, is_interrupt) = breakpoint_at(regs.epc as usize);
        regs.epc += bytes;
        if is_interrupt {
            crate::irq::on_interrupt(SOFTWARE, regs);
            return;
        }
    } else {
        let suspicion =
            Suspicion { interrupts_off: !regs.interrupts_are_on(), can_end_thread: true };
        let attempted = accessed(regs).map(|address| (Delivery::OwnStack, address));
        report::carry_out([attempted], regs, &suspicion);
    }
    (hooks().kernel_exception)(cause, address, regs);
}
