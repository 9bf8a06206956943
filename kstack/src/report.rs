//! The report of a fault on a stack: judged, and written to a fixed place of the CPU's.
//!
//! Whoever finds that a fault may be about a stack asks here, on whatever stack it has; what follows from the verdict is the
//! architecture's business ([`crate::arch::current::fault`]). Nothing is allocated, and the report never lies on that stack,
//! not even on its way: it is larger than the smallest of them.

use crate::arch::current::regs::SavedRegs;
use crate::hooks::hooks;
use crate::local::CpuLocal;
use crate::{registry, unwind};
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::copy_nonoverlapping;
use kstack_core::addr::Addr;
use kstack_core::unwind::Backtrace;
use kstack_core::verdict::{Context, Delivery, Fault, OverflowReport, REPORT_STEPS, judge};

/// One report per CPU.
struct Reports([UnsafeCell<MaybeUninit<OverflowReport>>; MAX_CPUS]);

/// CPUs that can report at the same time.
const MAX_CPUS: usize = 64;

// SAFETY: (1) a CPU touches its own element only; (2) with interrupts off, from a handler of faults, and until the thread that
// is ended has read it, or the system has stopped. What overflows while it is read never goes back to reading it.
unsafe impl Sync for Reports {}

static REPORTS: Reports = Reports([const { UnsafeCell::new(MaybeUninit::uninit()) }; MAX_CPUS]);

/// What a report starts with: copied from here, not made on the stack first.
static NO_STEPS: Backtrace<REPORT_STEPS> = Backtrace::empty();

/// Judges a fault and writes this CPU's report; nothing if no stack explains the fault. `address` is where the access went that
/// failed, or where the registers would have gone. `interrupts_off`: the thread had turned them off where the fault happened.
/// Interrupts off.
pub(crate) fn of(
    delivery: Delivery,
    address: Addr,
    regs: &SavedRegs,
    interrupts_off: bool,
) -> Option<&'static OverflowReport> {
    let registry = registry::get()?;
    // SAFETY: (1) entry code: the CPU has loaded its block.
    let cpu = unsafe { CpuLocal::this() }.cpu();
    let fault = Fault { delivery, address, sp: regs.sp(), pc: regs.pc(), cpu };
    let context = Context { interrupts_off, ..(hooks().context)() };
    let verdict = judge(registry.arena(), registry, &fault, &context)?;
    let place = REPORTS.0[cpu.index() % MAX_CPUS].get().cast::<OverflowReport>();
    // SAFETY: (1) this CPU's own element, see `Reports`; (2) every field is written, each where it stays.
    let report = unsafe {
        (&raw mut (*place).verdict).write(verdict);
        (&raw mut (*place).fault).write(fault);
        (&raw mut (*place).context).write(context);
        copy_nonoverlapping(&raw const NO_STEPS, &raw mut (*place).backtrace, 1);
        &mut *place
    };
    // SAFETY: (1) the entry that found the fault saved them, and has not gone back.
    unsafe { unwind::from_regs(registry, regs, &mut report.backtrace) };
    Some(report)
}
