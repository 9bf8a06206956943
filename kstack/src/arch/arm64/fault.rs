//! Exceptions: which of them are about a stack, and what then.
//!
//! A store into a guard page is a data abort. If SP is in the guard too, or so close to it that the
//! registers do not fit, the abort arrives on the overflow stack ([`super::overflow`]). If SP is
//! sound, it arrives on the stack it interrupted: then it is a stray access, unless it went right
//! below SP, as a store does that moves SP by itself.

use super::cause::{BREAKPOINT, DEBUG, class_of, is_data_abort};
use super::interrupts;
use super::regs::SavedRegs;
use crate::hooks::hooks;
use crate::report::{self, Suspicion};
use crate::shifted;
use kstack_core::addr::Addr;
use kstack_core::verdict::Delivery;

/// Bytes of an instruction.
const INSTRUCTION: u64 = 4;

/// How far below SP a single store reaches that moves SP by itself (`stp x, y, [sp, #-512]!`).
const MAX_PRE_INDEX: usize = 512;

/// Exceptions whose registers are on the interrupted stack, or on the thread's from user mode.
/// `fault` is FAR_EL1.
pub(super) extern "C" fn on_exception(regs: &mut SavedRegs, fault: Addr) {
    let class = class_of(regs);
    if !DEBUG.contains(&class) {
        // Not before it is known: a single step would step into its own handler without end.
        interrupts::debug_and_serror_on();
    }
    if regs.from_user() {
        shifted::user_exception(class, fault, regs);
        return;
    }
    if DEBUG.contains(&class) {
        (hooks().debug)(regs);
        return;
    }
    if is_data_abort(regs) {
        let below_sp = regs.sp().bytes_above(fault).get();
        let delivery = if below_sp.wrapping_sub(1) < MAX_PRE_INDEX {
            Delivery::AnotherStack
        } else {
            Delivery::OwnStack
        };
        let suspicion =
            Suspicion { interrupts_off: !regs.interrupts_are_on(), can_end_thread: true };
        report::carry_out([Some((delivery, fault))], regs, &suspicion);
    }
    if class == BREAKPOINT {
        // Unlike other machines' instructions, the pc is at this one still.
        regs.pc += INSTRUCTION;
    }
    (hooks().kernel_exception)(class, fault, regs);
}
