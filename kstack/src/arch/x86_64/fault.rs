//! Exceptions: which of them are about a stack, and what then.
//!
//! A push into a guard page faults; delivering that page fault pushes on the same stack and faults again; so an overflow
//! arrives as a double fault, on its own stack, with the guard's address in CR2. A stray access to a guard from a sound stack
//! arrives as a plain page fault.
//!
//! An entry that could save its registers and has less than RESERVE left of a thread's stack comes here by itself, on the IRQ stack:
//! `on_no_room`.
//!
//! Containment: the interrupted context is given up. The thread's stack is sound above the guard, so the thread is moved to the
//! top of its own stack and told to end there; the double-fault stack is free again from that moment. If it was an interrupt
//! that found no room, the controller has it in service, and would let no other through: its handler runs first.

use super::regs::SavedRegs;
use super::{RESERVE, entry};
use crate::hooks::hooks;
use crate::local::CpuLocal;
use crate::{irq, report};
use core::arch::asm;
use core::mem::size_of;
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
        && let Some(report) =
            report::of(Delivery::OwnStack, address, regs, !regs.interrupts_are_on())
    {
        carry_out(report, regs);
    }
    (hooks().kernel_exception)(vector, address, regs);
}

/// An entry from the kernel that found less than RESERVE left of the running thread's stack, registers saved. On the IRQ stack,
/// interrupts off.
pub(super) extern "C" fn on_no_room(vector: u32, regs: &mut SavedRegs) -> ! {
    let interrupts_off = !regs.interrupts_are_on();
    // A stray access to a guard is reported as that, wherever SP stands.
    let access = (vector == u32::from(PAGE_FAULT)).then(|| (Delivery::OwnStack, fault_address()));
    let wanted = Addr::new(core::ptr::from_mut(regs) as usize).wrapping_sub(RESERVE);
    for (delivery, address) in
        [access, Some((Delivery::AnotherStack, wanted))].into_iter().flatten()
    {
        if let Some(report) = report::of(delivery, address, regs, interrupts_off) {
            carry_out(report, regs);
        }
    }
    (hooks().kernel_exception)(vector as u8, wanted, regs);
    unreachable!("a kernel returned from an entry without room")
}

/// What follows from the verdict.
fn carry_out(report: &'static OverflowReport, regs: &SavedRegs) -> ! {
    match report.verdict.consequence {
        Consequence::EndThread => end_on_own_stack(report, regs),
        Consequence::StopSystem => (hooks().stop)(report),
    }
}

/// A double fault. On its own stack, interrupts off, GS base the kernel's.
pub(super) extern "C" fn on_double_fault(regs: &mut SavedRegs) -> ! {
    // An entry runs with interrupts off; what it interrupted did not.
    let interrupts_off = !regs.interrupts_are_on() && !entry::is_on_way_in(regs.pc());
    if let Some(report) = report::of(Delivery::AnotherStack, fault_address(), regs, interrupts_off)
    {
        carry_out(report, regs);
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

/// Leaves whatever this runs on for the top of the running thread's stack, and ends the thread there.
fn end_on_own_stack(report: &'static OverflowReport, regs: &SavedRegs) -> ! {
    extern "C" fn end(report: &'static OverflowReport, regs: &mut SavedRegs) -> ! {
        irq::complete(regs);
        (hooks().end_thread)(report)
    }
    // The registers come along, below those of a program: an interrupt's handler may ask for them.
    // SAFETY: (1) entry code: the CPU has loaded its block.
    let at = unsafe { CpuLocal::this() }.thread_top().get() - 2 * size_of::<SavedRegs>();
    // SAFETY: (1) the verdict is about the running thread, which has overflowed its own stack or touched a guard; its stack is
    // mapped up to its top, and everything on it is given up, its frames are not returned to; `regs` may overlap; (2) rbp = 0 is
    // the outermost marker; (3) interrupts are off, so nothing comes in between; (4) SP is 16-aligned at the call: a top is.
    unsafe {
        core::ptr::copy(regs, at as *mut SavedRegs, 1);
        asm!(
            "mov rsp, {sp}",
            "xor ebp, ebp",
            "call {end}",
            "ud2",
            sp = in(reg) at,
            end = sym end,
            in("rdi") report,
            in("rsi") at,
            options(noreturn),
        )
    }
}
