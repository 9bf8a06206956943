//! The end of a thread whose stack overflowed, on that stack.
//!
//! Containment: the interrupted context is given up. The thread's stack is sound above the guard,
//! so the thread is moved to the top of its own stack and told to end there; the overflow stack is
//! free again from that moment.

use super::regs::SavedRegs;
use crate::hooks::hooks;
use crate::local::CpuLocal;
use core::arch::asm;
use kstack_core::verdict::OverflowReport;

/// Leaves whatever this runs on for the top of the thread's own stack, and ends the thread there.
pub(crate) fn end_on_own_stack(report: &'static OverflowReport, _regs: &SavedRegs) -> ! {
    extern "C" fn end(report: &'static OverflowReport) -> ! {
        // SAFETY: (1) entry code: the CPU has loaded its block.
        let local = unsafe { CpuLocal::this() };
        local.arch.leave_overflow_stack();
        (hooks().end_thread)(report)
    }
    // SAFETY: (1) entry code: the CPU has loaded its block.
    let top = unsafe { CpuLocal::this() }.thread_top();
    // SAFETY: (1) the verdict is about the running thread, which has overflowed its own stack or
    // touched a guard; its stack is mapped up to its top, and everything on it is given up, its
    // frames are not returned to; (2) s0 = 0 is the outermost marker; (3) interrupts are off, so
    // nothing comes in between; (4) the report is in a static.
    unsafe {
        asm!(
            "mv sp, {top}",
            "li s0, 0",
            "call {end}",
            "unimp",
            top = in(reg) top.get(),
            end = sym end,
            in("a0") report,
            options(noreturn),
        )
    }
}
