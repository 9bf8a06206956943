//! Failures inside the report of an overflow: each ends in an orderly stop that still says which
//! stack it was.

use super::{Outcome, check};
use crate::provoke::{self, How};
use core::sync::atomic::{AtomicU32, Ordering};
use kstack::kind::StackKind;
use kstack::verdict::Cause;
use threads::report::overflow::{self, Stage};
use threads::stacks::depths;

/// Failures still to come.
static LEFT: AtomicU32 = AtomicU32::new(0);

/// Reads from the first page, where nothing ever is.
fn fault() {
    let nowhere = core::hint::black_box(0x18_usize) as *const u32;
    // SAFETY: (1) none: the read faults, in the report. That is the test.
    core::hint::black_box(unsafe { nowhere.read_volatile() });
}

fn may_fail() -> bool {
    LEFT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

/// Overflows the IRQ stack, with a probe in the report. The machine stops with a record that says
/// how often telling it has failed.
fn stop_with(test: &str, probe: fn(&mut Stage), failures: u32, victim: &str) -> Outcome {
    LEFT.store(failures, Ordering::Relaxed);
    overflow::set_stage_probe(Some(probe));
    control!(
        "expect {test} stack={} cause={} side=below consequence=stop-system victim={victim} running=0 failed={failures}",
        StackKind::Irq,
        Cause::GuardHit.name(),
    );
    provoke::in_interrupt(How::Recursion);
    Err("the machine went on".into())
}

/// Red if an exception in the report loops, hangs, or ends the machine as a panic that names no
/// stack.
pub fn o4_a_report_that_fails_before_anything_is_said_ends_in_an_orderly_stop() -> Outcome {
    stop_with(
        "o4_a_report_that_fails_before_anything_is_said_ends_in_an_orderly_stop",
        |stage| {
            if *stage == Stage::Parked && may_fail() {
                fault();
            }
        },
        1,
        "main",
    )
}

/// The same in the middle of the text.
pub fn o4_a_report_that_fails_when_it_names_who_ran_ends_in_an_orderly_stop() -> Outcome {
    stop_with(
        "o4_a_report_that_fails_when_it_names_who_ran_ends_in_an_orderly_stop",
        |stage| {
            if *stage == Stage::Name && may_fail() {
                fault();
            }
        },
        1,
        "main",
    )
}

/// The same right before the backtrace.
pub fn o4_a_report_that_fails_when_it_traces_calls_ends_in_an_orderly_stop() -> Outcome {
    stop_with(
        "o4_a_report_that_fails_when_it_traces_calls_ends_in_an_orderly_stop",
        |stage| {
            if *stage == Stage::Trace && may_fail() {
                fault();
            }
        },
        1,
        "main",
    )
}

/// Each time the record is to be written: the third time it is, by what asks for nothing.
pub fn o4_a_report_that_fails_again_and_again_ends_in_an_orderly_stop() -> Outcome {
    stop_with(
        "o4_a_report_that_fails_again_and_again_ends_in_an_orderly_stop",
        |stage| {
            if *stage == Stage::Record && may_fail() {
                fault();
            }
        },
        2,
        "?",
    )
}

/// A failed check of the kernel's own, instead of the CPU's.
pub fn o4_a_panic_in_a_report_ends_in_an_orderly_stop() -> Outcome {
    stop_with(
        "o4_a_panic_in_a_report_ends_in_an_orderly_stop",
        |stage| assert!(*stage != Stage::Trace || !may_fail(), "on purpose"),
        1,
        "main",
    )
}

/// After thread overflows of both sorts, and their reports: how far the stack was used on which
/// overflows are handled. Red if less than a quarter of it was left at the deepest.
pub fn o4_n10_the_handler_of_overflows_keeps_to_a_part_of_its_stack() -> Outcome {
    for how in [How::Recursion, How::GiantFrame] {
        provoke::in_thread(how);
    }
    let mut used = 0;
    for (stack, left) in depths::of_cpus() {
        if !matches!(stack.kind, StackKind::DoubleFault | StackKind::Overflow) {
            continue;
        }
        let size = stack.range.size().get();
        log!("  {stack}: {} of {size} bytes used", size - left.get());
        check!(left.get() >= size / 4, "{stack}: {} of {size} bytes left", left.get());
        used += usize::from(left.get() < size - 64);
    }
    // Where it is a stack of its own at all, one CPU at least has used it.
    let has_own = depths::of_cpus()
        .any(|(stack, _)| matches!(stack.kind, StackKind::DoubleFault | StackKind::Overflow));
    check!(!has_own || used > 0, "no stack of that kind was used");
    Ok(())
}
