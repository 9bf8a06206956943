//! An overflow of the stack on which overflows are handled.

use crate::hooks;
use crate::provoke::{self, How};
use crate::tests::Outcome;
use crate::tests::arch::overflow_handler;
use crate::tests::support::install_hooks;
use core::sync::atomic::{AtomicU32, Ordering};
use kstack::hooks::Hooks;
use kstack::kind::StackKind;
use kstack::verdict::Cause;

/// Overflows still to come.
static LEFT: AtomicU32 = AtomicU32::new(0);

fn may_overflow() {
    if LEFT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        provoke::overflow_here(How::Recursion);
    }
}

/// While an overflow is judged that would end a thread: the next double fault is about the
/// handler's own stack. Red if it is taken for the thread's, which would be ended with the handler
/// half done.
pub fn o4_an_overflow_of_the_double_fault_stack_stops_the_machine_with_a_report() -> Outcome {
    static HOOKS: Hooks = hooks::HOOKS.context(|| {
        may_overflow();
        (hooks::HOOKS.context)()
    });
    control!(
        "expect o4_an_overflow_of_the_double_fault_stack_stops_the_machine_with_a_report stack={} cause={} side=below \
         consequence=stop-system victim=overflowing running=0 failed=0",
        StackKind::DoubleFault,
        Cause::GuardHit.name(),
    );
    LEFT.store(1, Ordering::Relaxed);
    install_hooks(&HOOKS);
    provoke::in_thread(How::Recursion);
    Err("the machine went on".into())
}

/// Red if nothing counts them: the handler would be begun again without end.
pub fn o4_a_handler_that_overflows_each_time_is_begun_three_times_and_its_cpu_parked() -> Outcome {
    overflow_handler::check_that_its_cpu_is_parked(3)
}
