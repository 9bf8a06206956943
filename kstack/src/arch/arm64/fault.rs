//! Exceptions: which of them are about a stack, and what then.
//!
//! A store into a guard page is a data abort. If SP is in the guard too, or so close to it that the registers do not fit, the abort
//! arrives on the overflow stack ([`super::overflow`]). If SP is sound, it arrives on the stack it interrupted: then it is a
//! stray access, unless it went right below SP, as a store does that moves SP by itself.
//!
//! Containment: the interrupted context is given up. The thread's stack is sound above the guard, so the thread is moved to the
//! top of its own stack and told to end there; the overflow stack is free again from that moment.

use super::interrupts;
use super::overflow;
use super::regs::SavedRegs;
use crate::hooks::hooks;
use crate::report;
use kstack_core::addr::Addr;
use kstack_core::verdict::{Consequence, Delivery};

/// Where the exception class stands in ESR_EL1.
pub(super) const CLASS_SHIFT: u32 = 26;
/// Exception classes (Arm ARM, ESR_EL1): a data access in the kernel.
const DATA_ABORT: u8 = 0x25;
/// Hardware breakpoint, single step, watchpoint, each in the kernel.
const DEBUG: [u8; 3] = [0x31, 0x33, 0x35];
/// The breakpoint instruction.
const BREAKPOINT: u8 = 0x3c;
/// Bytes of an instruction.
const INSTRUCTION: u64 = 4;

/// How far below SP a single store reaches that moves SP by itself (`stp x, y, [sp, #-512]!`).
const MAX_PRE_INDEX: usize = 512;

/// The exception class, which is what the kernel gets as the vector.
pub(super) const fn class_of(regs: &SavedRegs) -> u8 {
    (regs.esr >> CLASS_SHIFT) as u8 & 0x3f
}

pub(super) const fn is_data_abort(regs: &SavedRegs) -> bool {
    class_of(regs) == DATA_ABORT
}

/// Exceptions whose registers are on the interrupted stack, or on the thread's from user mode. `fault` is FAR_EL1.
pub(super) extern "C" fn on_exception(regs: &mut SavedRegs, fault: Addr) {
    let class = class_of(regs);
    if !DEBUG.contains(&class) {
        // Not before it is known: a single step would step into its own handler for ever.
        interrupts::debug_and_serror_on();
    }
    if regs.from_user() {
        (hooks().user_exception)(class, fault, regs);
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
        if let Some(report) = report::of(delivery, fault, regs, !regs.interrupts_are_on()) {
            match report.verdict.consequence {
                Consequence::EndThread => overflow::end_on_own_stack(report),
                Consequence::StopSystem => (hooks().stop)(report),
            }
        }
    }
    if class == BREAKPOINT {
        // Unlike other machines' instructions, this one is not behind us yet.
        regs.pc += INSTRUCTION;
    }
    (hooks().kernel_exception)(class, fault, regs);
}
