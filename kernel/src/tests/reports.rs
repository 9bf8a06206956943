//! Failures inside the report of an overflow, at each of its steps: each ends in an orderly stop
//! that still says which stack it was, and what failed.

use super::Outcome;
use super::arch::expectations::EXPECTED;
use super::support::install_hooks;
use crate::hooks;
use crate::provoke::{self, How};
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use kstack::hooks::Hooks;
use kstack::kind::StackKind;
use kstack::verdict::Cause;
use threads::report::overflow::{self, Stage};

/// Failures still to come.
static LEFT: AtomicU32 = AtomicU32::new(0);
/// The stage that fails.
static STAGE: AtomicU8 = AtomicU8::new(0);

/// Reads from the first page, where nothing ever is.
fn fault() {
    let nowhere = core::hint::black_box(0x18_usize) as *const u32;
    // SAFETY: (1) none: the read faults, in the report. That is the test.
    core::hint::black_box(unsafe { nowhere.read_volatile() });
}

/// Calls what is no code.
fn stray() {
    static WORDS: [usize; 2] = [0; 2];
    let nowhere = core::hint::black_box(WORDS.as_ptr());
    // SAFETY: (1) none: the data is not executable, so the call faults, in the report. That is the
    // test.
    unsafe { core::mem::transmute::<*const usize, fn()>(nowhere)() };
}

fn may_fail() -> bool {
    LEFT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

fn is_chosen(stage: Stage) -> bool {
    stage as u8 == STAGE.load(Ordering::Relaxed) && may_fail()
}

fn fault_at_chosen(stage: &mut Stage) {
    if is_chosen(*stage) {
        fault();
    }
}

fn stray_at_chosen(stage: &mut Stage) {
    if is_chosen(*stage) {
        stray();
    }
}

fn panic_at_chosen(stage: &mut Stage) {
    assert!(!is_chosen(*stage), "on purpose");
}

/// Announces the record that the machine will stop with.
fn expect(test: &str, stack: StackKind, victim: &str, failed: &str) {
    control!(
        "expect {test} stack={stack} cause={} side=below consequence=stop-system victim={victim} running=0 {failed}",
        Cause::GuardHit.name(),
    );
}

/// Overflows the IRQ stack, with a probe in the report. The machine stops with a record that says
/// how often telling it has failed, and where.
fn stop_with(
    test: &str,
    probe: fn(&mut Stage),
    stage: Stage,
    failures: u32,
    victim: &str,
    failed: &str,
) -> Outcome {
    LEFT.store(failures, Ordering::Relaxed);
    STAGE.store(stage as u8, Ordering::Relaxed);
    overflow::set_stage_probe(Some(probe));
    expect(test, StackKind::Irq, victim, failed);
    provoke::in_interrupt(How::Recursion);
    Err("the machine went on".into())
}

/// Tests that let a report fail once.
macro_rules! fails {
    ($($(#[$doc:meta])* $name:ident: $probe:ident at $stage:ident, $failed:literal;)*) => {
        $(
            $(#[$doc])*
            pub fn $name() -> Outcome {
                stop_with(stringify!($name), $probe, Stage::$stage, 1, "main", $failed)
            }
        )*
    };
}

fails! {
    /// Red if other CPUs go on, or are waited for without end.
    o4_a_report_that_fails_before_others_are_parked_ends_in_an_orderly_stop:
        fault_at_chosen at Parking, "failed=1 at=parking";
    /// Red if an exception in the report loops, hangs, or ends the machine as a panic that names no
    /// stack.
    o4_a_report_that_fails_before_anything_is_said_ends_in_an_orderly_stop:
        fault_at_chosen at Parked, "failed=1 at=parked";
    /// Before the first line.
    o4_a_report_that_fails_when_it_names_the_stack_ends_in_an_orderly_stop:
        fault_at_chosen at Head, "failed=1 at=head";
    /// In the middle of the text.
    o4_a_report_that_fails_when_it_names_who_ran_ends_in_an_orderly_stop:
        fault_at_chosen at Name, "failed=1 at=name";
    /// Right before the backtrace.
    o4_a_report_that_fails_when_it_traces_calls_ends_in_an_orderly_stop:
        fault_at_chosen at Trace, "failed=1 at=trace";
    /// An instruction that cannot be fetched, instead of data that cannot be read.
    o4_a_report_that_strays_ends_in_an_orderly_stop:
        stray_at_chosen at Trace, "failed=1 at=trace";
    /// A failed check of the kernel's own, instead of the CPU's.
    o4_a_panic_in_a_report_ends_in_an_orderly_stop:
        panic_at_chosen at Trace, "failed=1 at=trace";
    /// With the text told, and nothing of the record.
    o4_a_report_that_fails_before_its_record_ends_in_an_orderly_stop:
        fault_at_chosen at Record, "failed=1 at=record";
    /// In the middle of the record's line. Red if the line is begun again, or never ended.
    o4_a_report_that_fails_when_its_record_names_calls_ends_in_an_orderly_stop:
        fault_at_chosen at Names, "failed=1 at=names";
    /// With everything told. Red if it is told twice, or the machine does not end.
    o4_a_report_that_fails_when_all_is_told_ends_in_an_orderly_stop:
        fault_at_chosen at End, "failed=0 at=- frames>=60";
}

/// Each time the record is to be written: the third time it is, by what asks for nothing.
pub fn o4_a_report_that_fails_again_and_again_ends_in_an_orderly_stop() -> Outcome {
    stop_with(
        "o4_a_report_that_fails_again_and_again_ends_in_an_orderly_stop",
        fault_at_chosen,
        Stage::Record,
        2,
        "?",
        "failed=2 at=record",
    )
}

/// Overflows the IRQ stack, with hooks of which one fails once.
fn stop_with_hooks(test: &str, hooks: &'static Hooks, failed: &str) -> Outcome {
    LEFT.store(1, Ordering::Relaxed);
    install_hooks(hooks);
    expect(test, StackKind::Irq, "main", failed);
    provoke::in_interrupt(How::Recursion);
    Err("the machine went on".into())
}

/// Before there is a verdict. Red if the machine ends with the fault and does not say what had
/// overflowed.
pub fn o4_a_kernel_that_faults_when_it_is_asked_what_ran_stops_with_the_report() -> Outcome {
    static HOOKS: Hooks = hooks::HOOKS.context(|| {
        if may_fail() {
            fault();
        }
        (hooks::HOOKS.context)()
    });
    stop_with_hooks(
        "o4_a_kernel_that_faults_when_it_is_asked_what_ran_stops_with_the_report",
        &HOOKS,
        "failed=1 at=judging",
    )
}

/// The same by a panic.
pub fn o4_a_kernel_that_panics_when_it_is_asked_what_ran_stops_with_the_report() -> Outcome {
    static HOOKS: Hooks = hooks::HOOKS.context(|| {
        assert!(!may_fail(), "on purpose");
        (hooks::HOOKS.context)()
    });
    stop_with_hooks(
        "o4_a_kernel_that_panics_when_it_is_asked_what_ran_stops_with_the_report",
        &HOOKS,
        "failed=1 at=judging",
    )
}

/// After the verdict, in the walk through the calls.
pub fn o4_a_kernel_that_faults_when_it_is_asked_about_code_stops_with_the_report() -> Outcome {
    static HOOKS: Hooks = hooks::HOOKS.frame(|pc| {
        if may_fail() {
            fault();
        }
        (hooks::HOOKS.frame)(pc)
    });
    stop_with_hooks(
        "o4_a_kernel_that_faults_when_it_is_asked_about_code_stops_with_the_report",
        &HOOKS,
        "failed=1 at=judging",
    )
}

/// While a thread's end is told, with the text's lock held. Red if the machine ends without the
/// thread's name, or waits for the lock.
pub fn o4_a_report_that_fails_while_a_thread_is_ended_stops_the_machine() -> Outcome {
    LEFT.store(1, Ordering::Relaxed);
    STAGE.store(Stage::Trace as u8, Ordering::Relaxed);
    overflow::set_stage_probe(Some(fault_at_chosen));
    expect(
        "o4_a_report_that_fails_while_a_thread_is_ended_stops_the_machine",
        StackKind::Thread,
        "overflowing",
        "failed=1 at=trace",
    );
    provoke::in_thread(How::Recursion);
    Err("the machine went on".into())
}

/// The stack on which overflows are handled.
pub(super) fn handlers_stack() -> StackKind {
    let has = |kind| EXPECTED.cpu_stacks.contains(&kind);
    if has(StackKind::DoubleFault) { StackKind::DoubleFault } else { StackKind::Overflow }
}

/// The second time the kernel is asked for nothing. Red if the handler is begun again and again, or
/// its CPU parked without a word.
pub fn o4_a_kernel_that_overflows_whenever_it_is_asked_stops_with_a_report() -> Outcome {
    static HOOKS: Hooks = hooks::HOOKS.context(|| {
        provoke::overflow_here(How::Recursion);
        (hooks::HOOKS.context)()
    });
    install_hooks(&HOOKS);
    expect(
        "o4_a_kernel_that_overflows_whenever_it_is_asked_stops_with_a_report",
        handlers_stack(),
        "overflowing",
        "failed=0 at=-",
    );
    provoke::in_thread(How::Recursion);
    Err("the machine went on".into())
}
