//! Exceptions: which of them are about a stack, and what then.
//!
//! A push into a guard page aborts, and the abort's entry finds SP so near to the guard, or in it,
//! that the saved registers have no room: it continues on the overflow stack ([`super::overflow`]),
//! with nothing written below. So does an interrupt that comes when there is no room for it. A
//! stray access to a guard from a sound stack arrives as a plain abort on that stack. An abort on
//! the overflow stack that finds room there is about no stack: the kernel panics.

use super::cause::{DATA_ABORT, DEBUG_EVENT, LINE, PREFETCH_ABORT, SOFTWARE, STATUS};
use super::cause::{complete, is_bkpt};
use super::regs::SavedRegs;
use crate::hooks::hooks;
use crate::report::{self, Suspicion};
use crate::shifted;
use core::mem::size_of;
use kstack_core::verdict::Delivery;

/// All interrupts and exceptions arrive here, in SVC mode, but those that found no room.
pub(super) extern "C" fn on_trap(vector: u32, regs: &mut SavedRegs) {
    match vector as u8 {
        vector @ (LINE | SOFTWARE) => crate::irq::on_interrupt(vector, regs),
        vector => on_exception(vector, regs),
    }
}

/// Exceptions for which the stack had room. IRQ is masked.
fn on_exception(vector: u8, regs: &mut SavedRegs) {
    let address = complete(vector, regs);
    if regs.from_user() {
        shifted::user_exception(vector, address, regs);
        return;
    }
    if vector == PREFETCH_ABORT && regs.orig_r0 & STATUS == DEBUG_EVENT {
        // SAFETY: (1) a debug event is reported of an instruction that was there to be fetched.
        let instruction = unsafe { (regs.pc as *const u32).read_volatile() };
        if !is_bkpt(instruction) {
            (hooks().debug)(regs);
            return;
        }
        // The kernel continues past it.
        regs.pc += size_of::<u32>() as u32;
    } else if vector == DATA_ABORT {
        let suspicion =
            Suspicion { interrupts_off: !regs.interrupts_are_on(), can_end_thread: true };
        report::carry_out([Some((Delivery::OwnStack, address))], regs, &suspicion);
    }
    (hooks().kernel_exception)(vector, address, regs);
}
