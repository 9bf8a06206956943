//! The end of a thread whose stack overflowed, on that stack.
//!
//! Containment: the interrupted context is given up. The thread's stack is sound above the guard,
//! so the thread is moved to the top of its own stack and told to end there; the double-fault stack
//! is free again from that moment. If it was an interrupt that found no room, the controller has it
//! in service, and would let no other through: its handler runs first.

use super::regs::SavedRegs;
use crate::hooks::hooks;
use crate::irq;
use crate::local::CpuLocal;
use core::arch::asm;
use core::mem::size_of;
use kstack_core::verdict::OverflowReport;

/// Leaves whatever this runs on for the top of the running thread's stack, and ends the thread
/// there.
pub(crate) fn end_on_own_stack(report: &'static OverflowReport, regs: &SavedRegs) -> ! {
    extern "C" fn end(report: &'static OverflowReport, regs: &mut SavedRegs) -> ! {
        irq::complete(regs);
        (hooks().end_thread)(report)
    }
    // The registers come along, below those of a program: an interrupt's handler may ask for them.
    // SAFETY: (1) entry code: the CPU has loaded its block.
    let local = unsafe { CpuLocal::this() };
    local.arch.leave_double_faults();
    let at = local.thread_top().get() - 2 * size_of::<SavedRegs>();
    // SAFETY: (1) the verdict is about the running thread, which has overflowed its own stack or
    // touched a guard; its stack is mapped up to its top, and everything on it is given up, its
    // frames are not returned to; `regs` may overlap; (2) ebp = 0 is the outermost marker; (3)
    // interrupts are off, so nothing comes in between; (4) SP is 16-aligned at the call.
    unsafe {
        core::ptr::copy(regs, at as *mut SavedRegs, 1);
        asm!(
            "mov esp, {regs}",
            "xor ebp, ebp",
            "and esp, -16",
            "sub esp, 2 * {word}",
            "push {regs}",
            "push {report}",
            "call {end}",
            "ud2",
            regs = in(reg) at,
            report = in(reg) report,
            end = sym end,
            word = const size_of::<usize>(),
            options(noreturn),
        )
    }
}
