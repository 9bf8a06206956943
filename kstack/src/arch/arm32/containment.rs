//! The end of a thread whose stack overflowed, on that stack.
//!
//! Containment: the interrupted context is given up. The thread's stack is sound above the guard,
//! so the thread is moved to the top of its own stack and told to end there; the overflow stack is
//! free again from that moment.

use super::local::{THREAD_INFO_ON_STACK, thread_info_at};
use super::regs::{FREE_AT_TOP, SavedRegs};
use crate::hooks::hooks;
use crate::local::CpuLocal;
use core::arch::asm;
use core::mem::size_of;
use kstack_core::addr::{AddrRange, ByteSize};
use kstack_core::verdict::OverflowReport;

/// Bytes at the top of a thread's stack that are its saved user registers, and free above them.
const TAKEN: ByteSize = ByteSize::new(size_of::<SavedRegs>() + FREE_AT_TOP.get());

/// Leaves the overflow stack for the overflowed one, below its saved user registers, and ends the
/// thread there.
pub(crate) fn end_on_own_stack(report: &'static OverflowReport, _regs: &SavedRegs) -> ! {
    extern "C" fn end(report: &'static OverflowReport) -> ! {
        (hooks().end_thread)(report)
    }
    // SAFETY: (1) entry code: the CPU has loaded its block.
    let local = unsafe { CpuLocal::this() };
    let stack = AddrRange { lowest: local.thread_lowest(), top: local.thread_top() };
    local.arch.leave_overflow_stack();
    if THREAD_INFO_ON_STACK {
        // The overflow may have gone over it.
        // SAFETY: (1) the lowest word of a mapped stack whose frames are given up.
        unsafe { (thread_info_at(stack.lowest).get() as *mut usize).write(local.thread()) };
    }
    // SAFETY: (1) the verdict is about the running thread, which has overflowed its own stack or
    // touched a guard; its stack is mapped up to its top, and everything on it is given up, its
    // frames are not returned to; (2) r11 = 0 is the outermost marker; (3) interrupts are off, so
    // nothing comes in between.
    unsafe {
        asm!(
            "mov sp, {top}",
            "mov r11, #0",
            // Masked since the bit test failed; from here on SP is sound again.
            "cpsie f",
            "bl {end}",
            "udf #0",
            top = in(reg) stack.top.wrapping_sub(TAKEN).get(),
            end = sym end,
            in("r0") report,
            options(noreturn),
        )
    }
}
