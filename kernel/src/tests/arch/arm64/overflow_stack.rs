//! The overflow stack: where it is, and what reaches it.

use crate::hooks;
use crate::provoke::{self, How};
use crate::tests::arch::overflow_handler;
use crate::tests::support::{check_mapping, kind_at, on_every_cpu, stack_at, stack_of_cpu};
use crate::tests::user_mode::{self, UserThread};
use crate::tests::{Outcome, check};
use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use kstack::addr::Addr;
use kstack::hooks::Hooks;
use kstack::kind::StackKind;
use kstack::verdict::{Cause, Consequence, Context};
use machine::arch::cpu::breakpoint;
use machine::arch::irqchip::vector;
use machine::arch::power::{self, End};
use machine::arch::regs::SavedRegs;
use machine::arch::{exceptions, paging};
use machine::cpus;
use threads::report::overflow;
use threads::sched;

/// SP_EL1 as it stands. Interrupts off.
fn sp_el1() -> usize {
    let sp: usize;
    // SAFETY: (1) everything is masked while SPSel is 1; (2) both are as they were afterwards.
    unsafe {
        asm!("mrs {daif}, daif", "msr daifset, #0xf", "msr spsel, #1", "mov {sp}, sp", "msr spsel, #0", "msr daif, {daif}",
             daif = out(reg) _, sp = out(reg) sp, options(nomem, preserves_flags));
    }
    sp
}

/// Red if two CPUs share one, a guard is mapped, or something has moved SP_EL1 and not put it back.
pub fn i9_every_cpu_has_an_overflow_stack_between_guards_and_sp_el1_at_its_top() -> Outcome {
    let mut seen = alloc::vec::Vec::new();
    for cpu in cpus::online() {
        let stack = stack_of_cpu(StackKind::Overflow, cpu)?;
        check!(stack.range.top == cpu.local.arch.overflow_top(), "CPU {}: {stack}", cpu.id());
        check!(!seen.contains(&stack.range), "two CPUs have {stack}");
        check_mapping(stack.range)?;
        seen.push(stack.range);
    }
    check!(seen.len() >= 2, "there is one CPU only");
    on_every_cpu(|_| {
        let (is, should) = (sp_el1(), cpus::this().local.arch.overflow_top().get());
        check!(is == should, "SP_EL1 is {is:#x}, the overflow stack's top {should:#x}");
        Ok(())
    })
}

/// From user mode, with the CPU's own answer: an abort, by a page that is there and not the
/// program's.
pub fn i9_user_mode_that_reads_an_overflow_stack_faults() -> Outcome {
    const DATA_ABORT: u8 = 0x24;
    /// In the syndrome: a permission, on the last level.
    const PERMISSION: u64 = 0xf;
    user_mode::with_hooks(None, || {
        for cpu in cpus::online() {
            user_mode::SEEN.lock().clear();
            let address = cpu.local.arch.overflow_top().get() as u64 - 16;
            check!(paging::kernel_is_mapped(address), "{address:x} is not mapped");
            check!(!paging::user_can_reach(address), "{address:x} is the user's");
            UserThread::start(super::user_code::read_there, address)?.finish();
            let seen = user_mode::seen();
            let [fault] = &seen[..] else { return Err(alloc::format!("{seen:x?}")) };
            check!(fault.vector == DATA_ABORT && fault.fault as u64 == address, "{fault:x?}");
            check!(fault.regs.esr & 0x3f == PERMISSION, "{fault:x?}");
            check!(fault.regs.pc == user_mode::CODE && fault.regs.x[1] == 0, "{fault:x?}");
            user_mode::check_at_top(fault)?;
        }
        Ok(())
    })
}

/// SP in a place whose bit says "sound", below all stacks, where nothing is mapped: the entry's own
/// store fails. That is told from a fault of the overflow handler, and blamed on the thread that
/// was running. More often than second faults are allowed in a row.
pub fn o1_o5_a_stack_pointer_that_leads_nowhere_ends_the_thread_and_the_machine_goes_on() -> Outcome
{
    fn nowhere() -> usize {
        let geometry = threads::stacks::arena().geometry();
        let below = threads::stacks::arena().range().lowest.align_down(geometry.align());
        below.wrapping_sub(geometry.align()).get() + geometry.body().get() / 2
    }
    fn body(_: usize) {
        // SAFETY: (1) none: the thread is lost, which is the purpose.
        unsafe {
            asm!("mov sp, {}", "svc #{}", "brk #1", in(reg) nowhere(), const vector::SOFTWARE, options(noreturn));
        }
    }
    for _ in 0..4 {
        let _old = overflow::take_last_report();
        let thread = sched::spawn_kernel("astray", body, 0);
        thread.map_err(|error| alloc::format!("{error:?}"))?.join();
        let report = overflow::take_last_report().ok_or("there is no report")?;
        let verdict = &report.verdict;
        check!(verdict.consequence == Consequence::EndThread, "{report}");
        check!(verdict.cause == Cause::FrameBeyondGuard, "{report}");
        check!(
            report.fault.sp.get() == nowhere(),
            "SP is {}, not {:x}",
            report.fault.sp,
            nowhere()
        );
        let code = body as *const () as usize;
        let distance = report.fault.pc.get().wrapping_sub(code);
        check!(distance < 512, "pc is {}, the function {code:x}", report.fault.pc);
    }
    Ok(())
}

/// The handler of an overflow overflows in its turn, on the stack made for it: the report says so,
/// and names that stack. Red if the entry starts over at the top each time, or writes below the
/// stack.
pub fn o2_i9_an_overflow_of_the_overflow_stack_stops_the_machine_with_a_report() -> Outcome {
    static OVERFLOWED: AtomicBool = AtomicBool::new(false);
    static HOOKS: Hooks = hooks::HOOKS.context(|| {
        if !OVERFLOWED.swap(true, Ordering::Relaxed) {
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

/// The first on the interrupted stack's behalf, then two second faults. Red if nothing counts them:
/// the handler would be begun again without end.
pub fn i9_a_handler_that_overflows_each_time_is_begun_three_times_and_its_cpu_parked() -> Outcome {
    overflow_handler::check_that_its_cpu_is_parked(3)
}

/// A breakpoint while an overflow is judged: it arrives through the vectors for SP_EL1, its
/// registers lie right below the handler's frames, the handler's own are as they were, and the
/// kernel is told. There is no return, so the test ends the machine. Red if the entry starts over
/// at the top, saves where something lies, or takes it for a program's wild SP.
pub fn i9_a_fault_in_the_overflow_handler_is_taken_below_it_and_told_to_the_kernel() -> Outcome {
    const NAME: &str =
        "i9_a_fault_in_the_overflow_handler_is_taken_below_it_and_told_to_the_kernel";
    const PATTERN: u64 = 0x1f2e_3d4c_5b6a_7988;
    static HANDLER: AtomicUsize = AtomicUsize::new(0);
    fn context() -> Context {
        if HANDLER.load(Ordering::Relaxed) == 0 {
            let pattern = core::hint::black_box([PATTERN; 32]);
            HANDLER.store(pattern.as_ptr() as usize, Ordering::Relaxed);
            breakpoint();
            core::hint::black_box(&pattern);
        }
        (hooks::HOOKS.context)()
    }
    fn told(vector: u8, _: Addr, regs: &mut SavedRegs) {
        let (saved, kept) = (core::ptr::from_mut(regs) as usize, HANDLER.load(Ordering::Relaxed));
        let sound = || -> Outcome {
            check!(exceptions::is_breakpoint(vector), "vector {vector:#x}");
            check!(kind_at(kept) == Some(StackKind::Overflow), "handled at {kept:#x}");
            check!(stack_at(saved) == stack_at(kept), "saved at {saved:#x}");
            let below = (regs.sp as usize).wrapping_sub(saved + size_of::<SavedRegs>());
            // A slot keeps x0, x1 and PSTATE right below SP.
            check!(below <= 4 * size_of::<u64>(), "saved at {saved:#x}, SP was {:#x}", regs.sp);
            // SAFETY: (1) the array of a frame that is still there, on a stack that stays.
            let pattern = unsafe { (kept as *const [u64; 32]).read_volatile() };
            check!(pattern == [PATTERN; 32], "the handler's frame was written to: {pattern:x?}");
            check!(cpus::this().local.arch.has_second_fault(), "not counted");
            Ok(())
        };
        match sound() {
            Ok(()) => control!("test pass {NAME}"),
            Err(message) => control!("test fail {NAME}: {message}"),
        }
        control!("end");
        power::end(End::Orderly)
    }
    static HOOKS: Hooks = hooks::HOOKS.context(context).kernel_exception(told);
    crate::tests::support::install_hooks(&HOOKS);
    provoke::in_thread(How::Recursion);
    Err("the machine went on".into())
}
