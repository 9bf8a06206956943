//! Exceptions by number, and what the CPU says of an abort.

use super::regs::{SavedRegs, THUMB};
use core::arch::asm;
use kstack_core::addr::Addr;

/// Undefined instruction, as exceptions are numbered here: by their place in the vector table.
pub const UNDEFINED: u8 = 1;
/// Prefetch abort.
pub const PREFETCH_ABORT: u8 = 3;
/// Data abort.
pub const DATA_ABORT: u8 = 4;
/// FIQ.
pub(super) const FIQ: u8 = 7;
/// What must be left below SavedRegs for FIQ's handler, in bytes. It comes with interrupts off too,
/// and then lives on what RESERVE has for it: whatever runs with interrupts off may use the rest.
/// That and SavedRegs together are a number that an instruction can hold.
pub(super) const FIQ_RESERVE: usize = 312;
/// The interrupt vector for "the interrupt controller has something": the kernel asks it what.
pub const LINE: u8 = 0xfe;
/// The interrupt vector of `svc` in the kernel.
pub const SOFTWARE: u8 = 0xf6;

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

/// Makes sense of what the CPU left: `pc` right, status in `orig_r0`. Returns the address of an
/// abort.
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
pub(super) const fn is_bkpt(instruction: u32) -> bool {
    instruction & 0xfff0_00f0 == 0xe120_0070
}
