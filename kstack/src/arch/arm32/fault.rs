//! Exceptions: which of them are about a stack, and what then.
//!
//! A push into a guard page aborts, and the abort's entry finds SP so near to the guard, or in it, that the saved registers have
//! no room: it goes on on the overflow stack ([`super::overflow`]), with nothing written below. So does an interrupt that comes
//! when there is no room for it. A stray access to a guard from a sound stack arrives as a plain abort on that stack. An abort
//! on the overflow stack that finds room there is about no stack: the kernel panics.
//!
//! Containment: the interrupted context is given up. The thread's stack is sound above the guard, so the thread is moved to the
//! top of its own stack and told to end there; the overflow stack is free again from that moment.

use super::entry::{DATA_ABORT, PREFETCH_ABORT, UNDEFINED};
use super::overflow;
use super::regs::{SavedRegs, THUMB};
use crate::hooks::hooks;
use crate::local::CpuLocal;
use crate::report;
use core::arch::asm;
use core::mem::size_of;
use kstack_core::addr::Addr;
use kstack_core::verdict::{Consequence, Delivery};

/// The address and the status of the last abort of this kind.
fn abort_registers(vector: u8) -> (Addr, u32) {
    let (address, status): (usize, u32);
    // SAFETY: (1) reading the fault registers has no effect.
    unsafe {
        if vector == DATA_ABORT {
            asm!("mrc p15, 0, {}, c6, c0, 0", "mrc p15, 0, {}, c5, c0, 0", out(reg) address,
                 out(reg) status, options(nomem, nostack, preserves_flags));
        } else {
            asm!("mrc p15, 0, {}, c6, c0, 2", "mrc p15, 0, {}, c5, c0, 1", out(reg) address,
                 out(reg) status, options(nomem, nostack, preserves_flags));
        }
    }
    (Addr::new(address), status)
}

/// In a fault status register, long-descriptor format: the status.
pub const STATUS: u32 = 0x3f;
/// That status: a breakpoint, or another debug event.
pub const DEBUG_EVENT: u32 = 0x22;
/// In the data fault status register: the access was a write.
pub const WRITE: u32 = 1 << 11;

/// Makes sense of what the CPU left: `pc` right, status in `orig_r0`. Returns the address of an abort.
pub(super) fn complete(vector: u8, regs: &mut SavedRegs) -> Addr {
    match vector {
        PREFETCH_ABORT | DATA_ABORT => {
            let (address, status) = abort_registers(vector);
            regs.orig_r0 = status;
            address
        }
        UNDEFINED => {
            regs.pc -= if regs.cpsr & THUMB != 0 { 2 } else { 4 };
            Addr::new(0)
        }
        _ => Addr::new(0),
    }
}

/// `bkpt` in ARM state, whatever its number: it arrives as any debug event does.
const fn is_bkpt(instruction: u32) -> bool {
    instruction & 0xfff0_00f0 == 0xe120_0070
}

/// FIQ, which masking IRQ does not keep out: this machine's NMI. It is masked itself, so none comes during another.
pub(super) extern "C" fn on_fiq(regs: &mut SavedRegs) {
    // SAFETY: (1) entry code: the CPU has loaded its block.
    let arch = &unsafe { CpuLocal::this() }.arch;
    arch.set_nmi_active(true);
    (hooks().nmi)(regs);
    arch.set_nmi_active(false);
}

/// Exceptions for which the stack had room. IRQ is masked.
pub(super) fn on_exception(vector: u8, regs: &mut SavedRegs) {
    let address = complete(vector, regs);
    if regs.from_user() {
        (hooks().user_exception)(vector, address, regs);
        return;
    }
    if vector == PREFETCH_ABORT && regs.orig_r0 & STATUS == DEBUG_EVENT {
        // SAFETY: (1) a debug event is reported of an instruction that was there to be fetched.
        let instruction = unsafe { (regs.pc as *const u32).read_volatile() };
        if !is_bkpt(instruction) {
            (hooks().debug)(regs);
            return;
        }
        // The kernel goes on behind it.
        regs.pc += size_of::<u32>() as u32;
    } else if vector == DATA_ABORT
        && let Some(report) =
            report::of(Delivery::OwnStack, address, regs, !regs.interrupts_are_on())
    {
        match report.verdict.consequence {
            Consequence::EndThread => overflow::end_on_own_stack(report),
            Consequence::StopSystem => (hooks().stop)(report),
        }
    }
    (hooks().kernel_exception)(vector, address, regs);
}
