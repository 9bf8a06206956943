//! The report of a fault on a stack: judged, written to a fixed place of the CPU's, and its
//! consequence carried out.
//!
//! An entry that finds that a fault may be about a stack asks here, on whatever stack it has.
//! Nothing is allocated, and the report never lies on that stack, not even on its way: it is larger
//! than the smallest of them.
//!
//! What is asked of the kernel meanwhile may fail in its turn. So each CPU notes how far its report
//! is, and [`under_way`] completes it without asking:
//!
//! | failed | the report then has |
//! | --- | --- |
//! | when the kernel was asked for the context | the verdict on the first fault, as far as the library knows the context; no backtrace |
//! | when the kernel was asked about code | the verdict, and the backtrace up to there |
//! | in the kernel's hook | all of it |
//!
//! A verdict that is given while another is under way asks the kernel for nothing: the handler of
//! overflows has failed itself, and the system stops.

use crate::arch::current::containment;
use crate::arch::current::regs::SavedRegs;
#[cfg(feature = "address-sanitizer")]
use crate::arch::current::this_cpu::as_fp;
use crate::hooks::{self, hooks};
use crate::local::CpuLocal;
use crate::registry::{self, Registry};
use crate::unwind;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::copy_nonoverlapping;
use core::sync::atomic::{AtomicU8, Ordering};
use kstack_core::addr::{Addr, AddrRange, ByteSize, CpuId};
use kstack_core::arena::SlotIndex;
use kstack_core::stacks::{StackId, StackLookup};
use kstack_core::unwind::Backtrace;
use kstack_core::verdict::{
    Cause, Consequence, Context, Delivery, Fault, OverflowReport, REPORT_STEPS, Side, StackTable,
    Verdict, is_guarded, judge,
};

/// One report per CPU.
struct Reports([Place; MAX_CPUS]);

/// CPUs that can report at the same time.
const MAX_CPUS: usize = 64;

/// Where a CPU makes its report.
struct Place {
    /// How far it is: one of the constants below.
    step: AtomicU8,
    /// What is being judged, and whether interrupts were off there.
    asked: UnsafeCell<MaybeUninit<(Fault, bool)>>,
    report: UnsafeCell<MaybeUninit<OverflowReport>>,
}

/// There is none.
const NONE: u8 = 0;
/// The kernel is asked for the context.
const ASKING: u8 = 1;
/// The verdict is written.
const WRITTEN: u8 = 2;

// SAFETY: (1) a CPU touches its own element only; (2) with interrupts off, from a handler of
// faults, and until the thread that is ended has read it, or the system has stopped. What overflows
// while it is read never goes back to reading it.
unsafe impl Sync for Reports {}

static REPORTS: Reports = Reports(
    [const {
        Place {
            step: AtomicU8::new(NONE),
            asked: UnsafeCell::new(MaybeUninit::uninit()),
            report: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }; MAX_CPUS],
);

/// What a report starts with: copied from here, not made on the stack first.
static NO_STEPS: Backtrace<REPORT_STEPS> = Backtrace::empty();

fn place_of(cpu: CpuId) -> &'static Place {
    &REPORTS.0[cpu.index() % MAX_CPUS]
}

/// Judges a fault and writes this CPU's report; nothing if no stack explains the fault. `address`
/// is where the access went that failed, or where the registers would have gone. `interrupts_off`:
/// the thread had turned them off where the fault happened. Interrupts off.
fn of(
    delivery: Delivery,
    address: Addr,
    regs: &SavedRegs,
    interrupts_off: bool,
) -> Option<&'static mut OverflowReport> {
    let registry = registry::get()?;
    // SAFETY: (1) entry code: the CPU has loaded its block.
    let cpu = unsafe { CpuLocal::this() }.cpu();
    let fault = Fault { delivery, address, sp: regs.sp(), pc: regs.pc(), cpu };
    let place = place_of(cpu);
    let before = place.step.load(Ordering::Relaxed);
    let known = if before == NONE {
        // SAFETY: (1) this CPU's own element, see `Reports`.
        unsafe { (*place.asked.get()).write((fault, interrupts_off)) };
        place.step.store(ASKING, Ordering::Release);
        (hooks().context)()
    } else {
        // The handler has failed: who is asked may be why.
        hooks::own_context()
    };
    let context = Context { interrupts_off, ..known };
    let Some(verdict) = judge(registry.arena(), registry, &fault, &context) else {
        place.step.store(before, Ordering::Relaxed);
        return None;
    };
    let report = write(verdict, fault, context);
    // SAFETY: (1) the entry that found the fault saved them, and has not gone back.
    unsafe { unwind::from_regs(registry, regs, &mut report.backtrace) };
    Some(report)
}

/// Writes this CPU's report, without a backtrace. Interrupts off.
fn write(verdict: Verdict, fault: Fault, context: Context) -> &'static mut OverflowReport {
    let place = place_of(fault.cpu);
    let report = place.report.get().cast::<OverflowReport>();
    // SAFETY: (1) this CPU's own element, see `Reports`; (2) every field is written, each where it
    // stays.
    let report = unsafe {
        (&raw mut (*report).verdict).write(verdict);
        (&raw mut (*report).fault).write(fault);
        (&raw mut (*report).context).write(context);
        (&raw mut (*report).frame).write(Addr::new(0));
        copy_nonoverlapping(&raw const NO_STEPS, &raw mut (*report).backtrace, 1);
        &mut *report
    };
    place.step.store(WRITTEN, Ordering::Release);
    report
}

/// The report that this CPU was making, or had given to [`Hooks::stop`](field@hooks::Hooks::stop),
/// when something failed: the system stops with it, whatever the first verdict was. `None` if no
/// report is under way. For a kernel's handler of panics and for
/// [`Hooks::kernel_exception`](field@hooks::Hooks::kernel_exception).
///
/// Interrupts off.
pub fn under_way() -> Option<&'static OverflowReport> {
    let registry = registry::get()?;
    // SAFETY: (1) by the promise of `Registry::new`.
    let cpu = unsafe { CpuLocal::if_loaded() }?.cpu();
    let place = place_of(cpu);
    match place.step.load(Ordering::Acquire) {
        NONE => return None,
        ASKING => {
            // SAFETY: (1) written before the step said so, by this CPU.
            let (fault, interrupts_off) = unsafe { (*place.asked.get()).assume_init() };
            let context = Context { interrupts_off, ..hooks::own_context() };
            let Some(verdict) = judge(registry.arena(), registry, &fault, &context) else {
                place.step.store(NONE, Ordering::Relaxed);
                return None;
            };
            write(verdict, fault, context);
        }
        _ => {}
    }
    // SAFETY: (1) this CPU's own element, whole since the step said so; what was writing to its
    // backtrace has failed and never continues.
    let report = unsafe { (*place.report.get()).assume_init_mut() };
    report.verdict.consequence = Consequence::StopSystem;
    Some(report)
}

/// The end word of a stack, at `address`, has been overwritten: stops the system. `fp` and `sp` are
/// those of the code that found it. Interrupts off.
pub(crate) fn end_is_overwritten(fp: Addr, sp: Addr, address: Addr) {
    // SAFETY: (1) the CPU has loaded its block, where the word was found.
    let local = unsafe { CpuLocal::this() };
    let Some(registry) = registry::get() else { return };
    let Some(stack) = registry.stack_at(address) else { return };
    let nowhere = Addr::new(0);
    let delivery = Delivery::OwnStack;
    let fault = Fault { delivery, address, sp, pc: nowhere, cpu: local.cpu() };
    let verdict = Verdict {
        stack,
        side: Side::Below,
        distance: ByteSize::ZERO,
        cause: Cause::EndOverwritten,
        consequence: Consequence::StopSystem,
    };
    let report = write(verdict, fault, hooks::own_context());
    report.context = Context { interrupts_off: true, ..(hooks().context)() };
    unwind::from_fp(registry, fp, &mut report.backtrace);
    let pc = report.code_addresses().next();
    report.fault.pc = pc.unwrap_or(nowhere);
    (hooks().stop)(report)
}

/// The frame of the function that has called what has the frame pointer `fp` was written over, on
/// the stack that `sp` is on: judges that and writes this CPU's report; nothing if `sp` is on no
/// known stack. Interrupts off.
#[cfg(feature = "stack-protector")]
pub(crate) fn frame_is_smashed(
    fp: Addr,
    sp: Addr,
    interrupts_off: bool,
) -> Option<&'static mut OverflowReport> {
    let registry = registry::get()?;
    // SAFETY: (1) if any CPU has loaded its block, this one has: boot code comes first on each.
    let local = unsafe { CpuLocal::if_loaded() }?;
    let stack = registry.stack_at(sp)?;
    let context = Context { interrupts_off, ..(hooks().context)() };
    let verdict = kstack_core::verdict::judge_frame(stack, sp, &context);
    let delivery = Delivery::OwnStack;
    let fault = Fault { delivery, address: sp, sp, pc: Addr::new(0), cpu: local.cpu() };
    let report = write(verdict, fault, context);
    unwind::from_fp(registry, fp, &mut report.backtrace);
    let pc = report.code_addresses().next();
    report.fault.pc = pc.unwrap_or(Addr::new(0));
    Some(report)
}

/// The sanitizer refuses an access to `address`, on the frame of the function `frame`, by code with
/// this SP and, in `at`, frame pointer and PC: judges that and writes this CPU's report; nothing if
/// the address is on no known stack. Interrupts off.
#[cfg(feature = "address-sanitizer")]
pub(crate) fn bad_access(
    cause: Cause,
    address: Addr,
    frame: Addr,
    at: [usize; 2],
    sp: Addr,
    interrupts_off: bool,
) -> Option<&'static mut OverflowReport> {
    let registry = registry::get()?;
    // SAFETY: (1) if any CPU has loaded its block, this one has: boot code comes first on each.
    let local = unsafe { CpuLocal::if_loaded() }?;
    let stack = registry.stack_at(address)?;
    let context = Context { interrupts_off, ..(hooks().context)() };
    let verdict = kstack_core::verdict::judge_access(stack, address, cause, &context);
    let delivery = Delivery::OwnStack;
    let fault = Fault { delivery, address, sp, pc: Addr::new(at[1]), cpu: local.cpu() };
    let report = write(verdict, fault, context);
    report.frame = frame;
    // A frame record of what called the check, as its callee would have it.
    let fp = as_fp(core::hint::black_box(&at));
    unwind::from_fp(registry, fp, &mut report.backtrace);
    Some(report)
}

/// Ends the running thread, at the top of its stack: what lies below is given up. Interrupts off,
/// on any stack.
#[cfg(any(feature = "stack-protector", feature = "address-sanitizer"))]
pub(crate) fn end_running_thread(report: &'static OverflowReport) -> ! {
    // SAFETY: (1) registers are numbers. No interrupt is in service that would ask for them.
    let regs = unsafe { MaybeUninit::<SavedRegs>::zeroed().assume_init() };
    end_thread(report, &regs)
}

/// Ends the running thread, at the top of its stack. Interrupts off.
fn end_thread(report: &'static OverflowReport, regs: &SavedRegs) -> ! {
    // SAFETY: (1) the verdict is about the running thread, so the CPU has loaded its block.
    let local = unsafe { CpuLocal::this() };
    forget_frames(AddrRange { lowest: local.thread_lowest(), top: local.thread_top() });
    // The stack that this runs on is free again, and so is what comes next to fail.
    place_of(report.fault.cpu).step.store(NONE, Ordering::Relaxed);
    containment::end_on_own_stack(report, regs)
}

/// The frames on a stack are given up: its shadow is to say nothing of them.
#[inline(always)]
pub(crate) fn forget_frames(_stack: AddrRange) {
    #[cfg(feature = "address-sanitizer")]
    crate::poison::forget_frames(_stack);
}

/// Whether a stack without guards was found to be too small too late: what follows it in memory is
/// another's, and its end word says that it has been written over.
fn is_past_its_end(report: &OverflowReport) -> bool {
    let stack = &report.verdict.stack;
    let is_guarded = registry::get().is_none_or(|all| is_guarded(all.arena(), stack));
    // SAFETY: (1) entry code: the CPU has loaded its block.
    !is_guarded && !unsafe { CpuLocal::this().end_is_whole() }
}

/// What an entry knows of a fault that may be about a stack.
pub(crate) struct Suspicion {
    /// The thread had interrupts off where the fault happened.
    pub(crate) interrupts_off: bool,
    /// The thread can be ended: its own stack can be run on again.
    pub(crate) can_end_thread: bool,
}

/// Judges each attempted access in turn, and carries out the first verdict: ends the running thread
/// on its own stack, or stops the system. Returns if no stack explains the fault. Interrupts off.
pub(crate) fn carry_out<const N: usize>(
    attempted: [Option<(Delivery, Addr)>; N],
    regs: &SavedRegs,
    suspicion: &Suspicion,
) {
    for (delivery, address) in attempted.into_iter().flatten() {
        let Some(report) = of(delivery, address, regs, suspicion.interrupts_off) else { continue };
        match report.verdict.consequence {
            Consequence::EndThread if suspicion.can_end_thread && !is_past_its_end(report) => {
                if report.verdict.cause != Cause::GuardAccess {
                    // SAFETY: (1) entry code: the CPU has loaded its block; the thread is about to
                    // be ended at the top of its stack.
                    unsafe { CpuLocal::this().mark_end_again() };
                }
                end_thread(report, regs)
            }
            _ => {
                report.verdict.consequence = Consequence::StopSystem;
                (hooks().stop)(report)
            }
        }
    }
}

impl StackTable for Registry {
    fn stack_in(&self, slot: SlotIndex) -> Option<StackId> {
        self.record(slot).stack(self.arena(), slot)
    }

    /// `None` too while no CPU has loaded its block: what a kernel's own threads run on is not
    /// known here.
    fn running_on(&self, _cpu: CpuId) -> Option<StackId> {
        // Asked by the CPU itself, in its fault handler.
        // SAFETY: (1) by the promise of `Registry::new`.
        let top = unsafe { CpuLocal::if_loaded() }?.thread_top();
        self.stack_at(Addr::new(top.get().wrapping_sub(1)))
    }
}
