//! Exceptions: which of them are about a stack, and what then.
//!
//! A store into a guard page is a page fault. If SP is in the guard too, or so close to it that the registers do not fit, the fault
//! arrives on the overflow stack ([`super::overflow`]). If SP is sound, it arrives on the stack it interrupted: a stray access.
//! Compiled code lowers SP before it stores, so an overflow is never mistaken for one.
//!
//! Containment: the interrupted context is given up. The thread's stack is sound above the guard, so the thread is moved to the
//! top of its own stack and told to end there; the overflow stack is free again from that moment.

use super::entry::{self, SOFTWARE};
use super::overflow;
use super::regs::SavedRegs;
use crate::hooks::hooks;
use crate::report;
use kstack_core::addr::Addr;
use kstack_core::verdict::{Consequence, Delivery};

/// scause: `ebreak`.
const BREAKPOINT: u8 = 3;
/// scause: a page fault at an instruction, a load, a store.
const PAGE_FAULTS: [u64; 3] = [12, 13, 15];

/// The address of the access that failed, if it was one.
pub(super) fn accessed(regs: &SavedRegs) -> Option<Addr> {
    PAGE_FAULTS.contains(&regs.cause).then_some(Addr::new(regs.badaddr as usize))
}

/// Exceptions whose registers are on the interrupted stack, or on the thread's from user mode. Interrupts off.
pub(super) fn on_exception(cause: u8, regs: &mut SavedRegs) {
    let address = accessed(regs).unwrap_or(Addr::new(0));
    if regs.from_user() {
        (hooks().user_exception)(cause, address, regs);
        return;
    }
    if cause == BREAKPOINT {
        // Unlike other machines' instructions, this one is not behind us yet.
        let (bytes, is_interrupt) = entry::breakpoint_at(regs.epc as usize);
        regs.epc += bytes;
        if is_interrupt {
            crate::irq::on_interrupt(SOFTWARE, regs);
            return;
        }
    } else if let Some(address) = accessed(regs)
        && let Some(report) =
            report::of(Delivery::OwnStack, address, regs, !regs.interrupts_are_on())
    {
        match report.verdict.consequence {
            Consequence::EndThread => overflow::end_on_own_stack(report),
            Consequence::StopSystem => (hooks().stop)(report),
        }
    }
    (hooks().kernel_exception)(cause, address, regs);
}
