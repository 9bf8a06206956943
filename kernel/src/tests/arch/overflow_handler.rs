//! The handler of overflows, where it begins again at the top of its stack: what becomes of one
//! that overflows it.

use crate::hooks;
use crate::provoke::{self, How};
use crate::tests::reports::handlers_stack;
use crate::tests::support::{on_cpu, until};
use crate::tests::{Outcome, check};
use alloc::format;
use core::sync::atomic::{AtomicUsize, Ordering};
use kstack::hooks::Hooks;
use kstack::verdict::Cause;
use machine::arch::cpu;
use machine::cpus;
use threads::report::overflow::{self, Stage};
use threads::{sched, time};

/// A handler that overflows each time it is to stop the machine: it is begun as often as the
/// architecture says, then the CPU is parked, and the others go on. Takes a CPU out of the machine:
/// not the first one, which keeps the time.
pub(super) fn check_that_its_cpu_is_parked(after: usize) -> Outcome {
    static BEGUN: AtomicUsize = AtomicUsize::new(0);
    static HOOKS: Hooks = hooks::HOOKS.stop(|report| {
        BEGUN.fetch_add(1, Ordering::Relaxed);
        provoke::overflow_here(How::Recursion);
        (hooks::HOOKS.stop)(report)
    });
    fn doomed(_: usize) {
        loop {
            cpu::without_interrupts(|| {
                if cpus::this().id().get() != 0 {
                    provoke::overflow_here(How::Recursion);
                }
            });
            sched::yield_now();
        }
    }
    crate::tests::support::install_hooks(&HOOKS);
    let thread = sched::spawn_kernel("doomed", doomed, 0).map_err(|e| format!("{e:?}"))?;
    until("the handler has been begun", || BEGUN.load(Ordering::Relaxed) >= after)?;
    // Time for thousands more, if nothing ends it.
    time::sleep(200_000_000).map_err(|_| "killed")?;
    let times = BEGUN.load(Ordering::Relaxed);
    check!(times == after, "begun {times} times, not {after}");
    check!(thread.last_cpu().get() != 0 && thread.is_on_cpu(), "on CPU {}", thread.last_cpu());
    let mut others = cpus::online().filter(|cpu| cpu.id() != thread.last_cpu());
    others.try_for_each(|cpu| on_cpu(cpu, |_| Ok(())))
}

/// Overflows still to come.
static LEFT: AtomicUsize = AtomicUsize::new(0);

/// In the report, and in what is tried after that: twice. Red if telling it begins anew each time.
pub fn o4_a_report_that_overflows_its_handlers_stack_twice_stops_the_machine() -> Outcome {
    control!(
        "expect o4_a_report_that_overflows_its_handlers_stack_twice_stops_the_machine stack={} cause={} side=below \
         consequence=stop-system victim=? running=0 failed=2 at=record",
        handlers_stack(),
        Cause::GuardHit.name(),
    );
    LEFT.store(2, Ordering::Relaxed);
    overflow::set_stage_probe(Some(|stage| {
        let may_fail = |left: usize| left.checked_sub(1);
        if matches!(stage, Stage::Trace | Stage::Record)
            && LEFT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, may_fail).is_ok()
        {
            provoke::overflow_here(How::Recursion);
        }
    }));
    provoke::with_interrupts_off(How::Recursion);
    Err("the machine went on".into())
}
