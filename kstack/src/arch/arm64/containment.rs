//! The end of a thread whose stack overflowed, on that stack.
//!
//! Containment: the interrupted context is given up. The thread's stack is sound above the guard,
//! so the thread is moved to the top of its own stack and told to end there; the overflow stack is
//! free again from that moment.

use super::regs::SavedRegs;
use super::save::DEBUG_AND_SERROR;
use crate::hooks::hooks;
use crate::local::CpuLocal;
use core::arch::asm;
use kstack_core::verdict::OverflowReport;

/// Leaves whatever this runs on for the top of the thread's own stack, and ends the thread there.
/// SP_EL1 is back at its top.
pub(crate) fn end_on_own_stack(report: &'static OverflowReport, _regs: &SavedRegs) -> ! {
    extern "C" fn end(report: &'static OverflowReport) -> ! {
        (hooks().end_thread)(report)
    }
    // SAFETY: (1) entry code: the CPU has loaded its block.
    let local = unsafe { CpuLocal::this() };
    local.arch.forget_second_faults();
    // SAFETY: (1) the verdict is about the running thread, which has overflowed its own stack or
    // touched a guard; its stack is mapped up to its top, and everything on it is given up, its
    // frames are not returned to; (2) x29 = 0 is the outermost marker; (3) interrupts are off, so
    // nothing comes in between; (4) nothing on the overflow stack is used after SP_EL1 is set back:
    // the report is in a static.
    unsafe {
        asm!(
            "msr daifset, #0xf",
            "msr spsel, #1",
            "mov sp, {overflow_top}",
            "msr spsel, #0",
            "mov sp, {top}",
            "mov x29, xzr",
            "msr daifclr, #{debug_and_serror}",
            "bl {end}",
            "brk #1",
            overflow_top = in(reg) local.arch.overflow_top().get(),
            top = in(reg) local.thread_top().get(),
            debug_and_serror = const DEBUG_AND_SERROR,
            end = sym end,
            in("x0") report,
            options(noreturn),
        )
    }
}
