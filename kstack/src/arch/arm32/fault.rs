//! Exceptions: which of them are about a stack, and what then.
//!
//! A push into a guard page aborts, and the abort's entry finds SP so near to the guard, or in it, that the saved registers have
//! no room: it goes on on the overflow stack, with nothing written below. So does an interrupt that comes when there is no
//! room for it. A stray access to a guard from a sound stack arrives as a plain abort on that stack.
//!
//! Containment: the interrupted context is given up. The thread's stack is sound above the guard, so the thread is moved to the
//! top of its own stack and told to end there; the overflow stack is free again from that moment.
//!
//! | fault | on | then |
//! | --- | --- | --- |
//! | data abort, no room | overflow stack, depth 1 | judged by the address, or by SP |
//! | interrupt or other exception, no room | overflow stack, depth 1 | judged by where the saved registers would have gone |
//! | abort on the overflow stack with room | overflow stack, further down | it is about no stack: the kernel panics |
//! | no room on the overflow stack | last stack, depth 2 | its report is kept apart from the first; the system stops |

use super::entry::{DATA_ABORT, PREFETCH_ABORT, UNDEFINED};
use super::local::thread_info_at;
use super::regs::{SavedRegs, THUMB};
use super::switch::user_regs_at;
use crate::hooks::{hooks, on_debug};
use crate::local::CpuLocal;
use crate::{registry, unwind};
use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::size_of;
use kstack_core::addr::{Addr, ByteSize};
use kstack_core::unwind::Backtrace;
use kstack_core::verdict::{Consequence, Delivery, Fault, OverflowReport, judge};

/// Two reports per CPU, in a fixed place: the handler allocates nothing, and its frame stays small. The second is for an
/// overflow of the overflow stack.
struct Reports([[UnsafeCell<Option<OverflowReport>>; 2]; MOST_CPUS]);

/// CPUs that can report at the same time.
const MOST_CPUS: usize = 16;

// SAFETY: (1) a CPU touches its own elements only; (2) with interrupts off, from the abort handler, and until the thread
// that is ended has read it.
unsafe impl Sync for Reports {}

static REPORTS: Reports = Reports([const { [const { UnsafeCell::new(None) }; 2] }; MOST_CPUS]);

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
fn complete(vector: u8, regs: &mut SavedRegs) -> Addr {
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
    let arch = &CpuLocal::this().arch;
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
            on_debug(regs);
            return;
        }
        // The kernel goes on behind it.
        regs.pc += size_of::<u32>() as u32;
    } else if vector == DATA_ABORT
        && let Some(report) = report(Delivery::OwnStack, address, regs, 0)
    {
        match report.verdict.consequence {
            Consequence::EndThread => (hooks().end_thread)(report),
            Consequence::StopSystem => (hooks().stop)(report),
        }
    }
    (hooks().kernel_exception)(vector, address, regs);
}

/// The interrupted stack had no room for the saved registers. On the overflow stack, or on the last; IRQ masked.
pub(super) extern "C" fn on_bad_stack(vector: u32, regs: &mut SavedRegs) -> ! {
    let vector = vector as u8;
    let address = complete(vector, regs);
    let arch = &CpuLocal::this().arch;
    let second = arch.overflow_depth() > 1;
    let no_room = regs.sp().wrapping_sub(ByteSize::new(size_of::<SavedRegs>()));
    let which = usize::from(second);
    // An abort may have been about something else entirely: that the stack is full is reported first.
    let judged = report(Delivery::AnotherStack, address, regs, which)
        .or_else(|| report(Delivery::AnotherStack, no_room, regs, which));
    if let Some(report) = judged {
        match report.verdict.consequence {
            Consequence::EndThread if !second => end_on_own_stack(report),
            _ => (hooks().stop)(report),
        }
    }
    // Not about a stack. The kernel can only say so.
    (hooks().kernel_exception)(vector, address, regs);
    unreachable!("a kernel returned from an exception without a stack")
}

/// Judges the fault and writes this CPU's report.
fn report(
    delivery: Delivery,
    address: Addr,
    regs: &SavedRegs,
    which: usize,
) -> Option<&'static OverflowReport> {
    let registry = registry::get()?;
    let cpu = CpuLocal::this().cpu();
    let fault = Fault { delivery, address, sp: regs.sp(), pc: regs.pc(), cpu };
    let context = (hooks().context)();
    let verdict = judge(registry.arena(), registry, &fault, &context)?;
    // SAFETY: (1) this CPU's own element, see `Reports`.
    let place = unsafe { &mut *REPORTS.0[cpu.index() % MOST_CPUS][which].get() };
    let report =
        place.insert(OverflowReport { verdict, fault, context, backtrace: Backtrace::empty() });
    unwind::from_regs(registry, regs, &mut report.backtrace);
    Some(report)
}

/// Leaves the overflow stack for the overflowed one, below its saved user registers, and ends the thread there.
fn end_on_own_stack(report: &'static OverflowReport) -> ! {
    extern "C" fn end(report: &'static OverflowReport) -> ! {
        (hooks().end_thread)(report)
    }
    let stack = report.verdict.stack.range;
    let local = CpuLocal::this();
    local.arch.leave_overflow_stack();
    if super::local::THREAD_INFO_ON_STACK {
        // The overflow may have gone over it.
        // SAFETY: (1) the lowest word of a mapped stack whose frames are given up.
        unsafe { (thread_info_at(stack.lowest).get() as *mut usize).write(local.thread()) };
    }
    // SAFETY: (1) the verdict says a thread's own stack, mapped up to its top; everything on it is given up, its frames are
    // not returned to; (2) r11 = 0 is the outermost marker; (3) interrupts are off, so nothing comes in between.
    unsafe {
        asm!(
            "mov sp, {top}",
            "mov r11, #0",
            // Masked since the bit test failed; from here on SP is sound again.
            "cpsie f",
            "bl {end}",
            "udf #0",
            top = in(reg) user_regs_at(stack).get(),
            end = sym end,
            in("r0") report,
            options(noreturn),
        )
    }
}
