//! The overflow stack: where it is, and what reaches it.

use crate::cpus;
use crate::overflow;
use crate::sched;
use crate::tests::support::{check_mapping, on_every_cpu, stack_of_cpu};
use crate::tests::{Outcome, check};
use core::arch::asm;
use kstack::local::CpuLocal;
use kstack_core::kind::StackKind;
use kstack_core::verdict::Consequence;

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
        let (is, should) = (sp_el1(), CpuLocal::this().arch.overflow_top().get());
        check!(is == should, "SP_EL1 is {is:#x}, the overflow stack's top {should:#x}");
        Ok(())
    })
}

/// SP in a place whose bit says "sound" and where nothing is mapped: the guard between two bodies, one slot below. The entry's
/// own store fails; that is told from a fault of the overflow handler, and blamed on the thread that was running.
pub fn o1_o5_a_stack_pointer_that_leads_nowhere_ends_the_thread_or_stops_the_machine() -> Outcome {
    fn body(_: usize) {
        let lowest = sched::current().stack_range().lowest.get();
        // Far below: past the own guard, in the body of a slot that was never used, which is unmapped, bit clear.
        let nowhere = crate::stacks::arena().range().top.get() - (32 << 10) + (8 << 10);
        assert!(nowhere != lowest);
        // SAFETY: (1) none: the thread is lost, which is the purpose.
        unsafe { asm!("mov sp, {}", "svc #0xf6", "brk #7", in(reg) nowhere, options(noreturn)) };
    }
    for _ in 0..2 {
        let _old = overflow::take_last_report();
        let thread = sched::spawn_kernel("astray", body, 0);
        thread.map_err(|error| alloc::format!("{error:?}"))?.join();
        let report = overflow::take_last_report().ok_or("there is no report")?;
        check!(report.verdict.consequence == Consequence::EndThread, "{report}");
    }
    Ok(())
}
