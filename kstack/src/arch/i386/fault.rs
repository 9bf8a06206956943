//! Exceptions: which of them are about a stack, and what then.
//!
//! A push into a guard page faults; delivering that page fault pushes on the same stack and faults
//! again; so an overflow arrives as a double fault, through a task gate, with the guard's address
//! in CR2. A stray access to a guard from a sound stack arrives as a plain page fault.
//!
//! An entry that could save its registers and has less than RESERVE left of a thread's stack comes
//! here by itself, on the IRQ stack: `on_no_room`.

use super::RESERVE;
use super::cause::{MACHINE_CHECK, PAGE_FAULT, fault_address};
use super::regs::SavedRegs;
use crate::hooks::hooks;
use crate::report::{self, Suspicion};
use crate::shifted;
use kstack_core::addr::Addr;
use kstack_core::verdict::Delivery;

/// Exceptions without a stack of their own.
pub(super) fn on_exception(vector: u8, regs: &mut SavedRegs) {
    let address = if vector == PAGE_FAULT { fault_address() } else { Addr::new(0) };
    if regs.from_user() {
        shifted::user_exception(vector, address, regs);
        return;
    }
    if vector == PAGE_FAULT {
        let suspicion =
            Suspicion { interrupts_off: !regs.interrupts_are_on(), can_end_thread: true };
        report::carry_out([Some((Delivery::OwnStack, address))], regs, &suspicion);
    }
    (hooks().kernel_exception)(vector, address, regs);
}

/// An entry from the kernel that found less than RESERVE left of the running thread's stack,
/// registers saved. On the IRQ stack, interrupts off.
pub(super) extern "C" fn on_no_room(vector: u32, regs: &mut SavedRegs) -> ! {
    let suspicion = Suspicion { interrupts_off: !regs.interrupts_are_on(), can_end_thread: true };
    // A stray access to a guard is reported as that, wherever SP stands.
    let access = (vector == u32::from(PAGE_FAULT)).then(|| (Delivery::OwnStack, fault_address()));
    let wanted = Addr::new(core::ptr::from_mut(regs) as usize).wrapping_sub(RESERVE);
    report::carry_out([access, Some((Delivery::AnotherStack, wanted))], regs, &suspicion);
    (hooks().kernel_exception)(vector as u8, wanted, regs);
    unreachable!("a kernel returned from an entry without room")
}

/// A machine check, on its own stack. Never returns: what the hardware says of itself cannot be
/// repaired here.
pub(super) extern "C" fn on_machine_check(regs: &mut SavedRegs) -> ! {
    (hooks().kernel_exception)(MACHINE_CHECK, Addr::new(0), regs);
    unreachable!("a kernel returned from a machine check")
}
