//! On which stack interrupts and softirqs run, shown by addresses.
//!
//! Handlers write down where they stand; the test compares afterwards, so a wrong place fails a
//! test instead of a machine.

use super::arch::expectations::EXPECTED;
use super::support::{check_mapping, kind_at, on_every_cpu, stack_at, stack_of_cpu, until};
use super::{Outcome, check};
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use kstack::addr::CpuId;
use kstack::kind::StackKind;
use kstack::stacks::{StackId, ThreadId};
use machine::arch::cpu;
use machine::arch::irqchip::software_interrupt;
use machine::cpus;
use machine::spin::SpinLock;
use threads::entry::probes;
use threads::entry::softirq::{self, Softirq};
use threads::sched;

/// Where a handler stood, and what the CPU's state was there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stand {
    /// Where the CPU pushed its frame; 0 for a softirq.
    pub(crate) frame: usize,
    pub(crate) sp: usize,
    /// The stack that `sp` is on.
    pub(crate) stack: Option<StackId>,
    /// The thread that runs, or was interrupted.
    pub(crate) thread: ThreadId,
    pub(crate) cpu: CpuId,
    in_use: bool,
    in_softirq: bool,
    hardirq_depth: u32,
    interrupts_on: bool,
    irq_top: usize,
    thread_top: usize,
}

static STANDS: SpinLock<Vec<Stand>> = SpinLock::new(Vec::new());

/// Writes down where the caller's handler stands.
#[inline(always)]
pub(crate) fn stand(frame: usize) {
    // The caller's, since this is part of it: a call of its own would stand further down.
    let sp = cpu::stack_pointer();
    let interrupts_on = cpu::interrupts_are_on();
    cpu::without_interrupts(|| {
        let local = &cpus::this().local;
        let state = local.irq.snapshot();
        STANDS.lock().push(Stand {
            frame,
            sp,
            stack: stack_at(sp),
            thread: sched::current().id(),
            cpu: local.cpu(),
            in_use: state.irq_stack_in_use(),
            in_softirq: state.in_softirq(),
            hardirq_depth: state.hardirq_depth(),
            interrupts_on,
            irq_top: local.irq_top().get(),
            thread_top: sched::current().stack_range().top.get(),
        });
    });
}

/// Runs `body` with the list of stands empty, and gives the list.
pub(crate) fn stands_of(body: impl FnOnce()) -> Vec<Stand> {
    let room = Vec::with_capacity(64);
    *STANDS.lock() = room;
    body();
    probes::set_probe(None);
    softirq::set_probe(|| {});
    core::mem::take(&mut *STANDS.lock())
}

/// The last one that was written down.
pub(crate) fn last_stand() -> Option<Stand> {
    cpu::without_interrupts(|| STANDS.lock().last().copied())
}

/// Whether an address lies on the IRQ stack whose top is given.
fn on_irq_stack(address: usize, irq_top: usize) -> bool {
    stack_at(address)
        .is_some_and(|stack| stack.kind == StackKind::Irq && stack.range.top.get() == irq_top)
}

/// Whether an address lies on the stack that softirqs run on; the IRQ stack whose top is given, if
/// they have none of their own.
fn on_softirq_stack(address: usize, irq_top: usize) -> bool {
    match EXPECTED.softirq_stack {
        StackKind::Irq => on_irq_stack(address, irq_top),
        kind => kind_at(address) == Some(kind),
    }
}

/// What the mark of the IRQ stack says in a softirq.
const IN_USE_IN_SOFTIRQS: bool = matches!(EXPECTED.softirq_stack, StackKind::Irq);

fn on_own_thread_stack(address: usize, thread_top: usize) -> bool {
    stack_at(address)
        .is_some_and(|stack| stack.kind == StackKind::Thread && stack.range.top.get() == thread_top)
}

/// Red if two CPUs share one, if a page of a guard is mapped, or if the entry code has another top
/// than the registry.
pub fn i1_every_cpu_has_an_irq_stack_of_its_own_between_guards() -> Outcome {
    let mut tops = Vec::new();
    for cpu in cpus::online() {
        let stack = stack_of_cpu(StackKind::Irq, cpu)?;
        check!(stack.range.top == cpu.local.irq_top(), "CPU {} uses another one", cpu.id());
        check!(!tops.contains(&stack.range.top), "CPU {} shares its stack", cpu.id());
        tops.push(stack.range.top);
        check_mapping(stack.range)?;
    }
    check!(tops.len() == 4, "{} CPUs, not 4", tops.len());
    Ok(())
}

/// On every CPU, a real interrupt (an IPI), not the software one, arrives on that CPU's own stack.
/// It may hit a softirq there instead of a thread.
pub fn i1_i2_an_interrupt_runs_on_the_irq_stack_of_the_cpu_it_arrives_at() -> Outcome {
    on_every_cpu(|regs| {
        let (cpu, sp) = (cpus::this(), cpu::stack_pointer());
        check!(!regs.from_user(), "there is no user mode here");
        check!(on_irq_stack(sp, cpu.local.irq_top().get()), "the handler runs at {sp:#x}");
        let frame = core::ptr::from_ref(regs) as usize;
        let thread = sched::current().stack_range();
        let is_on_threads = thread.contains(kstack::addr::Addr::new(frame));
        // The thread of softirqs runs them on its own stack.
        let is_there = if cpu.local.irq.snapshot().in_softirq() {
            on_softirq_stack(frame, cpu.local.irq_top().get())
                || is_on_threads && sched::current().name().starts_with("ksoftirqd")
        } else {
            is_on_threads
        };
        check!(is_there, "the CPU pushed its frame at {frame:#x}, not on {thread:?}");
        check!(cpu.local.irq.snapshot().irq_stack_in_use(), "in use, and not marked");
        Ok(())
    })
}

/// The CPU leaves SP on the thread's stack, the entry code moves it once; the mark is set in
/// between and cleared after.
pub fn i2_an_interrupt_in_a_thread_moves_to_the_irq_stack_and_marks_it() -> Outcome {
    let mark = || cpu::without_interrupts(|| cpus::this().local.irq.snapshot().irq_stack_in_use());
    check!(!mark(), "the mark is set in a thread");
    let stands = stands_of(|| {
        probes::set_probe(Some(|regs| stand(core::ptr::from_mut(regs) as usize)));
        software_interrupt();
    });
    check!(!mark(), "the mark is still set afterwards");
    let [one] = stands[..] else { return Err(alloc::format!("{} handlers", stands.len())) };
    check!(on_own_thread_stack(one.frame, one.thread_top), "the frame is elsewhere: {one:x?}");
    check!(on_irq_stack(one.sp, one.irq_top), "the handler is elsewhere: {one:x?}");
    check!(one.irq_top - one.sp < 2048, "the IRQ stack was not empty: {one:x?}");
    check!(one.in_use && one.hardirq_depth == 1 && !one.interrupts_on, "{one:x?}");
    Ok(())
}

/// Three deep. Red if the entry code starts at the top again: it would overwrite the frames of the
/// one it interrupted.
pub fn i2_an_interrupt_that_comes_while_the_irq_stack_is_in_use_stays_on_it() -> Outcome {
    let stands = stands_of(|| {
        probes::set_probe(Some(|regs| {
            stand(core::ptr::from_mut(regs) as usize);
            if cpus::this().local.irq.snapshot().hardirq_depth() < 3 {
                software_interrupt();
            }
        }));
        software_interrupt();
    });
    check!(stands.len() == 3, "{} handlers", stands.len());
    for (depth, pair) in stands.windows(2).enumerate() {
        let [outer, inner] = pair else { continue };
        check!(on_irq_stack(inner.frame, inner.irq_top), "the frame is elsewhere: {inner:x?}");
        check!(on_irq_stack(inner.sp, inner.irq_top), "the handler is elsewhere: {inner:x?}");
        check!(inner.frame < outer.sp && inner.sp < inner.frame, "{outer:x?} then {inner:x?}");
        check!(inner.hardirq_depth == depth as u32 + 2 && inner.in_use, "{inner:x?}");
    }
    Ok(())
}

/// The softirq stands on the IRQ stack, with interrupts on; the interrupt that hits it stays there.
pub fn i2_i3_an_interrupt_that_hits_a_softirq_stays_on_the_irq_stack() -> Outcome {
    let stands = stands_of(|| {
        probes::set_probe(Some(|regs| {
            stand(core::ptr::from_mut(regs) as usize);
            if !cpus::this().local.irq.snapshot().in_softirq() {
                softirq::raise(Softirq::Probe);
            }
        }));
        softirq::set_probe(|| {
            stand(0);
            software_interrupt();
        });
        software_interrupt();
    });
    let [first, softirq, second] = stands[..] else {
        return Err(alloc::format!("{} stands", stands.len()));
    };
    check!(on_irq_stack(first.sp, first.irq_top) && !first.in_softirq, "{first:x?}");
    check!(on_softirq_stack(softirq.sp, softirq.irq_top) && softirq.in_softirq, "{softirq:x?}");
    check!(softirq.interrupts_on && softirq.hardirq_depth == 0, "{softirq:x?}");
    check!(on_softirq_stack(second.frame, second.irq_top), "{second:x?}");
    let below = second.sp < softirq.sp || !IN_USE_IN_SOFTIRQS;
    check!(on_irq_stack(second.sp, second.irq_top) && below, "{second:x?}");
    check!(second.in_softirq && second.hardirq_depth == 1, "{second:x?}");
    Ok(())
}

/// An interrupt of this thread, and the softirq that it raises: where both stand.
pub(crate) fn interrupt_and_its_softirq() -> Result<[Stand; 2], String> {
    let stands = stands_of(|| {
        probes::set_probe(Some(|regs| {
            stand(core::ptr::from_mut(regs) as usize);
            softirq::raise(Softirq::Probe);
        }));
        softirq::set_probe(|| stand(0));
        software_interrupt();
    });
    stands.try_into().map_err(|stands: Vec<_>| alloc::format!("{} stands", stands.len()))
}

/// The timer's own softirq is no different, but this one is observed: on the way out, same stack,
/// interrupts on.
pub fn i3_softirqs_of_an_interrupt_from_the_kernel_run_on_the_irq_stack() -> Outcome {
    let [handler, softirq] = interrupt_and_its_softirq()?;
    check!(!handler.interrupts_on, "{handler:x?}");
    check!(on_softirq_stack(softirq.sp, softirq.irq_top), "{softirq:x?}");
    check!(softirq.irq_top == handler.irq_top, "another CPU's: {handler:x?} {softirq:x?}");
    check!(softirq.in_use == IN_USE_IN_SOFTIRQS, "{softirq:x?}");
    check!(softirq.in_softirq && softirq.interrupts_on, "{softirq:x?}");
    Ok(())
}

/// A softirq that a thread raises: where it stands. An error if it ran before bottom halves were
/// enabled again, or not once.
pub(crate) fn softirq_of_a_thread() -> Result<Stand, String> {
    let mut too_early = 0;
    let stands = stands_of(|| {
        softirq::set_probe(|| stand(0));
        softirq::disable_bottom_halves();
        softirq::disable_bottom_halves();
        softirq::raise_from_thread(Softirq::Probe);
        // An interrupt on the way must leave it alone too.
        software_interrupt();
        too_early += STANDS.lock().len();
        softirq::enable_bottom_halves();
        too_early += STANDS.lock().len();
        softirq::enable_bottom_halves();
    });
    check!(too_early == 0, "ran while bottom halves were disabled");
    let [softirq] = stands[..] else { return Err(alloc::format!("ran {} times", stands.len())) };
    Ok(softirq)
}

/// Raised by a thread that has bottom halves disabled: not before, not twice, and on the IRQ stack.
pub fn i4_a_softirq_raised_in_a_thread_runs_on_the_irq_stack_when_bottom_halves_are_enabled()
-> Outcome {
    let softirq = softirq_of_a_thread()?;
    check!(on_softirq_stack(softirq.sp, softirq.irq_top), "{softirq:x?}");
    check!(softirq.in_use == IN_USE_IN_SOFTIRQS, "{softirq:x?}");
    check!(softirq.in_softirq && softirq.interrupts_on, "{softirq:x?}");
    let state = cpu::without_interrupts(|| cpus::this().local.irq.snapshot());
    check!(state.is_thread_context(), "left behind: {state:?}");
    Ok(())
}

/// One call too many changes nothing: wrapped, the count would keep softirqs and preemption off
/// this CPU.
pub fn i4_bottom_halves_enabled_once_too_often_stay_enabled() -> Outcome {
    let stands = stands_of(|| {
        softirq::set_probe(|| stand(0));
        softirq::enable_bottom_halves();
        softirq::disable_bottom_halves();
        softirq::raise_from_thread(Softirq::Probe);
        softirq::enable_bottom_halves();
    });
    check!(stands.len() == 1, "ran {} times", stands.len());
    let state = cpu::without_interrupts(|| cpus::this().local.irq.snapshot());
    check!(state.may_switch() && state.pending() & 1 << Softirq::Probe as u32 == 0, "{state:?}");
    Ok(())
}

/// A softirq is interrupted by a handler that raises another: it runs after the first, not inside
/// it.
pub fn i4_softirqs_never_nest() -> Outcome {
    static NOW: AtomicU32 = AtomicU32::new(0);
    static MOST: AtomicU32 = AtomicU32::new(0);
    static RAN: AtomicU32 = AtomicU32::new(0);
    fn softirq() {
        let now = NOW.fetch_add(1, Ordering::Relaxed) + 1;
        MOST.fetch_max(now, Ordering::Relaxed);
        if RAN.fetch_add(1, Ordering::Relaxed) < 5 {
            software_interrupt();
        }
        NOW.fetch_sub(1, Ordering::Relaxed);
    }
    for counter in [&NOW, &MOST, &RAN] {
        counter.store(0, Ordering::Relaxed);
    }
    softirq::set_probe(softirq);
    probes::set_probe(Some(|_| softirq::raise(Softirq::Probe)));
    software_interrupt();
    // More than there is time for on the way out is left to a thread.
    let has_run = || RAN.load(Ordering::Relaxed) == 6;
    let first = until("the interrupt's softirqs have run", has_run);
    let from_interrupt = RAN.swap(0, Ordering::Relaxed);
    softirq::disable_bottom_halves();
    softirq::raise_from_thread(Softirq::Probe);
    softirq::enable_bottom_halves();
    let second = until("the thread's softirqs have run", has_run);
    let from_thread = RAN.load(Ordering::Relaxed);
    probes::set_probe(None);
    softirq::set_probe(|| {});
    first.and(second)?;
    check!(from_interrupt == 6 && from_thread == 6, "ran {from_interrupt} and {from_thread} times");
    check!(MOST.load(Ordering::Relaxed) == 1, "{MOST:?} softirqs at a time");
    Ok(())
}

/// A breakpoint of this thread: where its handler stands.
pub(crate) fn breakpoint_here() -> Result<Stand, String> {
    let stands = stands_of(|| {
        probes::set_breakpoint_probe(Some(|regs| stand(core::ptr::from_mut(regs) as usize)));
        cpu::breakpoint();
        probes::set_breakpoint_probe(None);
    });
    let [one] = stands[..] else { return Err(alloc::format!("{} handlers", stands.len())) };
    Ok(one)
}

/// Handled where it happened: frame and handler on the thread's own stack, right below what it
/// interrupted.
pub fn i7_a_breakpoint_in_a_thread_is_handled_on_the_threads_stack() -> Outcome {
    let one = breakpoint_here()?;
    let here = cpu::stack_pointer();
    check!(on_own_thread_stack(one.frame, one.thread_top), "{one:x?}");
    check!(on_own_thread_stack(one.sp, one.thread_top), "{one:x?}");
    check!(one.sp < one.frame && one.frame < here && here - one.frame < 1024, "{one:x?}");
    check!(!one.in_use && one.hardirq_depth == 0, "{one:x?}");
    check!(kind_at(here) == Some(StackKind::Thread), "a test runs in a thread");
    Ok(())
}
