//! The overflow stack: where it is, what reaches it, and what continues from there.

use crate::hooks;
use crate::provoke::{self, How};
use crate::tests::arch::overflow_handler;
use crate::tests::support::{check_mapping, kind_at, stack_at, stack_of_cpu, until};
use crate::tests::user_mode::{self, UserThread};
use crate::tests::{Outcome, check};
use alloc::format;
use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use kstack::addr::Addr;
use kstack::arch::current::call::call_on_stack;
use kstack::arch::current::cause::software_interrupt;
use kstack::hooks::Hooks;
use kstack::kind::StackKind;
use kstack::verdict::{Cause, Consequence};
use machine::arch::cpu::breakpoint;
use machine::arch::{cpu, paging};
use machine::cpus;
use threads::entry::probes;
use threads::report::overflow;
use threads::sched;
use threads::stacks;

/// Red if two CPUs share one, a guard is mapped, or the entry code would go elsewhere.
pub fn i9_every_cpu_has_an_overflow_stack_between_guards() -> Outcome {
    let mut seen = alloc::vec::Vec::new();
    for cpu in cpus::online() {
        let stack = stack_of_cpu(StackKind::Overflow, cpu)?;
        check!(stack.range.top == cpu.local.arch.overflow_top(), "CPU {}: {stack}", cpu.id());
        check!(!seen.contains(&stack.range), "two CPUs have {stack}");
        check!(cpu.local.arch.overflows() == 0, "CPU {} handles an overflow", cpu.id());
        check_mapping(stack.range)?;
        seen.push(stack.range);
    }
    check!(seen.len() >= 2, "there is one CPU only");
    Ok(())
}

/// Neither the block that the entry code reads first, nor the stacks it chooses from. Red if a page
/// of the kernel half is user mode's, or if such a fault is taken for the kernel's own.
pub fn i9_p8_user_mode_that_reads_what_entries_rest_on_faults() -> Outcome {
    const LOAD_PAGE_FAULT: u8 = 13;
    user_mode::with_hooks(None, || {
        for cpu in cpus::online() {
            let block = core::ptr::from_ref(&cpu.local) as u64;
            let word_below = |top: Addr| top.get() as u64 - 8;
            let stacks = [cpu.local.irq_top(), cpu.local.arch.overflow_top()].map(word_below);
            for address in stacks.into_iter().chain([block]) {
                check!(!paging::user_can_reach(address), "user mode can read {address:#x}");
                user_mode::SEEN.lock().clear();
                UserThread::start(super::user_code::read_there, address)?.finish();
                let seen = user_mode::seen();
                let [fault] = &seen[..] else { return Err(format!("{seen:x?}")) };
                check!(fault.vector == LOAD_PAGE_FAULT, "{fault:x?}");
                check!(fault.fault as u64 == address, "{fault:x?}");
                check!(fault.regs.epc == user_mode::CODE, "{fault:x?}");
                user_mode::check_at_top(fault)?;
            }
        }
        Ok(())
    })
}

/// A breakpoint while an overflow is judged: it is handled below what is there, and the overflow's
/// report is as ever. Red if the entry starts over at the top of the overflow stack, or takes its
/// SP for a broken one.
pub fn i9_an_exception_in_the_overflow_handler_is_handled_further_down_its_stack() -> Outcome {
    static HANDLER: AtomicUsize = AtomicUsize::new(0);
    static SAVED: AtomicUsize = AtomicUsize::new(0);
    static HOOKS: Hooks = hooks::HOOKS.context(|| {
        HANDLER.store(cpu::stack_pointer(), Ordering::Relaxed);
        breakpoint();
        (hooks::HOOKS.context)()
    });
    let _old = overflow::take_last_report();
    probes::set_breakpoint_probe(Some(|regs| {
        SAVED.store(core::ptr::from_mut(regs) as usize, Ordering::Relaxed);
    }));
    crate::tests::support::install_hooks(&HOOKS);
    provoke::in_thread(How::Recursion);
    crate::tests::support::install_hooks(&hooks::HOOKS);
    probes::set_breakpoint_probe(None);
    let (handler, saved) = (HANDLER.load(Ordering::Relaxed), SAVED.load(Ordering::Relaxed));
    check!(kind_at(handler) == Some(StackKind::Overflow), "handled at {handler:#x}");
    check!(stack_at(saved) == stack_at(handler) && saved < handler, "{saved:#x}, {handler:#x}");
    let report = overflow::take_last_report().ok_or("there is no report")?;
    check!(report.verdict.cause == Cause::GuardHit, "{report}");
    i9_every_cpu_has_an_overflow_stack_between_guards()
}

/// A thread calls on a stack that it has acquired, and takes an exception there: the registers lie
/// on that stack, and it comes back. Red if the entry takes every stack that it does not know for
/// an overflow, or leaves the overflow stack in use.
pub fn i9_a_stack_that_the_entry_does_not_know_is_used_if_it_is_this_cpus_or_threads() -> Outcome {
    static SAVED: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn visit(_: usize, _: usize) {
        breakpoint();
    }
    let stack = stacks::acquire_thread(sched::current().id()).map_err(|e| format!("{e:?}"))?;
    let range = stack.range();
    probes::set_breakpoint_probe(Some(|regs| {
        SAVED.store(core::ptr::from_mut(regs) as usize, Ordering::Relaxed);
    }));
    for _ in 0..4 {
        SAVED.store(0, Ordering::Relaxed);
        cpu::without_interrupts(|| {
            stack.make_coherent(cpus::this().id());
            // SAFETY: (1) acquired above, and in no other use; (2) `visit` returns; (3)
            // interrupts are off.
            unsafe { call_on_stack(0, 0, visit, range.top.get()) };
        });
        let saved = SAVED.load(Ordering::Relaxed);
        check!(
            (range.lowest.get()..range.top.get()).contains(&saved),
            "registers at {saved:#x}, not on {range:?}"
        );
    }
    probes::set_breakpoint_probe(None);
    i9_every_cpu_has_an_overflow_stack_between_guards()
}

static SP: AtomicUsize = AtomicUsize::new(0);

/// A thread that sets SP to [`SP`] and raises a software interrupt.
fn astray(_: usize) {
    // SAFETY: (1) none: the thread is lost, which is the purpose.
    unsafe {
        asm!("mv sp, {}", in(reg) SP.load(Ordering::Relaxed));
    }
    software_interrupt();
}

/// Runs [`astray`] with this SP, and checks that it has been ended as one that left its stack.
fn check_astray(sp: usize) -> Outcome {
    SP.store(sp, Ordering::Relaxed);
    let _old = overflow::take_last_report();
    let thread = sched::spawn_kernel("astray", astray, 0).map_err(|e| format!("{e:?}"))?;
    thread.join();
    let report = overflow::take_last_report().ok_or("there is no report")?;
    let verdict = &report.verdict;
    check!(verdict.consequence == Consequence::EndThread, "{report}");
    check!(verdict.stack.owner == thread.id(), "{report}");
    check!(verdict.cause == Cause::FrameBeyondGuard, "{report}");
    check!(report.fault.sp.get() == sp, "SP is {}, not {sp:#x}", report.fault.sp);
    let distance = report.fault.pc.get().wrapping_sub(astray as *const () as usize);
    check!(distance < 512, "pc is {}", report.fault.pc);
    Ok(())
}

/// SP below all stacks, where nothing is mapped. More often than overflows are counted.
pub fn o1_o5_a_stack_pointer_that_leads_nowhere_ends_the_thread_and_the_machine_goes_on() -> Outcome
{
    for _ in 0..4 {
        check_astray(stacks::arena().range().lowest.get() - 0x10_0000)?;
    }
    Ok(())
}

/// SP in the middle of a sleeping thread's stack, where one bit of it says "sound" and a store
/// would succeed: what lies there is as it was. Red if the entry trusts a bit, or any stack that is
/// mapped.
pub fn o1_o5_a_stack_pointer_on_another_threads_stack_ends_the_thread_and_leaves_the_other_alone()
-> Outcome {
    const PATTERN: u64 = 0x7a7a_5b5b_3c3c_1d1d;
    static PLACE: AtomicUsize = AtomicUsize::new(0);
    static MAY_END: AtomicBool = AtomicBool::new(false);
    static HARMED: AtomicUsize = AtomicUsize::new(0);
    static STAYING: sched::WaitQueue = sched::WaitQueue::new();
    fn neighbour(_: usize) {
        let pattern = core::hint::black_box([PATTERN; 256]);
        PLACE.store(pattern.as_ptr() as usize, Ordering::Release);
        STAYING.wait_uninterruptibly(|| MAY_END.load(Ordering::Relaxed));
        let harmed = core::hint::black_box(&pattern).iter().filter(|&&word| word != PATTERN);
        HARMED.store(harmed.count(), Ordering::Relaxed);
    }
    PLACE.store(0, Ordering::Relaxed);
    MAY_END.store(false, Ordering::Relaxed);
    let neighbour = sched::spawn_kernel("neighbour", neighbour, 0).map_err(|e| format!("{e:?}"))?;
    until("the neighbour sleeps", || PLACE.load(Ordering::Acquire) != 0 && !neighbour.is_on_cpu())?;
    let outcome = check_astray((PLACE.load(Ordering::Relaxed) + 1600) & !15);
    MAY_END.store(true, Ordering::Relaxed);
    STAYING.wake_all();
    neighbour.join();
    outcome?;
    let harmed = HARMED.load(Ordering::Relaxed);
    check!(harmed == 0, "{harmed} words of the other thread's stack were written");
    Ok(())
}

/// The handler of an overflow overflows in its turn, on the stack made for it: the report says so,
/// and names that stack. Red if the entry starts over at the top each time, or writes below the
/// stack.
pub fn o2_i9_an_overflow_of_the_overflow_stack_stops_the_machine_with_a_report() -> Outcome {
    static HOOKS: Hooks = hooks::HOOKS.context(|| {
        if cpus::this().local.arch.overflows() == 1 {
            provoke::overflow_here(How::Recursion);
        }
        (hooks::HOOKS.context)()
    });
    crate::tests::support::install_hooks(&HOOKS);
    control!(
        "expect o2_i9_an_overflow_of_the_overflow_stack_stops_the_machine_with_a_report stack=overflow cause=guard-hit \
         consequence=stop-system backtrace~=recurse_until_overflow"
    );
    provoke::in_thread(How::Recursion);
    Err("the machine went on".into())
}

/// Each time at the stack's top. Red if nothing counts them: the handler would be begun again
/// without end.
pub fn i9_a_handler_that_overflows_each_time_is_begun_three_times_and_its_cpu_parked() -> Outcome {
    overflow_handler::check_that_its_cpu_is_parked(3)
}
