//! An overflow of the stack on which overflows are handled.

use crate::hooks;
use crate::provoke::{self, How};
use crate::tests::Outcome;
use crate::tests::support::install_hooks;
use core::sync::atomic::{AtomicU32, Ordering};
use kstack::hooks::Hooks;
use kstack::kind::StackKind;
use kstack::verdict::Cause;
use threads::report::overflow::{self, Stage};

/// Overflows still to come.
static LEFT: AtomicU32 = AtomicU32::new(0);

fn may_overflow() {
    if LEFT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        provoke::overflow_here(How::Recursion);
    }
}

fn expect(test: &str, failed: u32, victim: &str) {
    control!(
        "expect {test} stack={} cause={} side=below consequence=stop-system victim={victim} running=0 failed={failed}",
        StackKind::DoubleFault,
        Cause::GuardHit.name(),
    );
}

/// While an overflow is judged that would end a thread: the next double fault is about the
/// handler's own stack. Red if it is taken for the thread's, which would be ended with the handler
/// half done.
pub fn o4_an_overflow_of_the_double_fault_stack_stops_the_machine_with_a_report() -> Outcome {
    static HOOKS: Hooks = hooks::HOOKS.context(|| {
        may_overflow();
        (hooks::HOOKS.context)()
    });
    expect(
        "o4_an_overflow_of_the_double_fault_stack_stops_the_machine_with_a_report",
        0,
        "overflowing",
    );
    LEFT.store(1, Ordering::Relaxed);
    install_hooks(&HOOKS);
    provoke::in_thread(How::Recursion);
    Err("the machine went on".into())
}

/// In the report, and in what is tried after that: twice. Red if telling it begins anew each time.
pub fn o4_a_report_that_overflows_the_double_fault_stack_twice_stops_the_machine() -> Outcome {
    expect("o4_a_report_that_overflows_the_double_fault_stack_twice_stops_the_machine", 2, "?");
    LEFT.store(2, Ordering::Relaxed);
    overflow::set_stage_probe(Some(|stage| {
        if matches!(stage, Stage::Trace | Stage::Record) {
            may_overflow();
        }
    }));
    provoke::with_interrupts_off(How::Recursion);
    Err("the machine went on".into())
}
