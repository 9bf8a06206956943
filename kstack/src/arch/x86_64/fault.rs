//! Exceptions: which of them are about a stack, and what then.
//!
//! A push into a guard page faults; delivering that page fault pushes on the same stack and faults again; so an overflow
//! arrives as a double fault, on its own stack, with the guard's address in CR2. A stray access to a guard from a sound stack
//! arrives as a plain page fault.
//!
//! Containment: the interrupted context is given up. The thread's stack is sound above the guard, so the thread is moved to the
//! top of its own stack and told to end there; the double-fault stack is free again from that moment.

use super::regs::SavedRegs;
use crate::hooks::hooks;
use crate::report;
use core::arch::asm;
use kstack_core::addr::Addr;
use kstack_core::verdict::{Consequence, Delivery, OverflowReport};

const PAGE_FAULT: u8 = 14;

fn fault_address() -> Addr {
    let address: usize;
    // SAFETY: (1) reading CR2 has no effect.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) };
    Addr::new(address)
}

/// Exceptions without a stack of their own.
pub(super) fn on_exception(vector: u8, regs: &mut SavedRegs) {
    let address = if vector == PAGE_FAULT { fault_address() } else { Addr::new(0) };
    if regs.from_user() {
        (hooks().user_exception)(vector, address, regs);
        return;
    }
    if vector == PAGE_FAULT
        && let Some(report) = report::of(Delivery::OwnStack, address, regs)
    {
        match report.verdict.consequence {
            Consequence::EndThread => (hooks().end_thread)(report),
            Consequence::StopSystem => (hooks().stop)(report),
        }
    }
    (hooks().kernel_exception)(vector, address, regs);
}

/// A double fault. On its own stack, interrupts off, GS base the kernel's.
pub(super) extern "C" fn on_double_fault(regs: &mut SavedRegs) -> ! {
    if let Some(report) = report::of(Delivery::AnotherStack, fault_address(), regs) {
        match report.verdict.consequence {
            Consequence::EndThread => end_on_own_stack(report),
            Consequence::StopSystem => (hooks().stop)(report),
        }
    }
    // Not about a stack. The kernel can only say so.
    (hooks().kernel_exception)(8, fault_address(), regs);
    unreachable!("a kernel returned from a double fault that nothing explains")
}

/// A machine check. Never returns: what the hardware says of itself cannot be repaired here.
pub(super) extern "C" fn on_machine_check(regs: &mut SavedRegs) -> ! {
    (hooks().kernel_exception)(18, Addr::new(0), regs);
    unreachable!("a kernel returned from a machine check")
}

/// An NMI or a debug exception whose frame lies where another one's was: what that one had interrupted cannot be gone back to. The
/// vector is where an error code would be. Never returns.
pub(super) extern "C" fn on_lost_frame(regs: &mut SavedRegs) -> ! {
    (hooks().kernel_exception)(regs.error_code() as u8, Addr::new(0), regs);
    unreachable!("a kernel returned from an exception whose frame is lost")
}

/// Leaves the double-fault stack for the top of the overflowed one, and ends the thread there.
fn end_on_own_stack(report: &'static OverflowReport) -> ! {
    extern "C" fn end(report: &'static OverflowReport) -> ! {
        (hooks().end_thread)(report)
    }
    // SAFETY: (1) the verdict says a thread's own stack, mapped up to its top; everything on it is given up, its frames are
    // not returned to; (2) rbp = 0 is the outermost marker; (3) interrupts are off, so nothing comes in between.
    unsafe {
        asm!(
            "mov rsp, {top}",
            "xor ebp, ebp",
            "call {end}",
            "ud2",
            top = in(reg) report.verdict.stack.range.top.get(),
            end = sym end,
            in("rdi") report,
            options(noreturn),
        )
    }
}
