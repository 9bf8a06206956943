//! Frames, as wide as they get: what the check of the image says of them is what the machine has,
//! and what it lets through runs into the guard.

use super::arch::expectations::EXPECTED;
use super::{Outcome, check};
use crate::provoke::{self, How};
use alloc::format;
use core::hint::black_box;
use core::sync::atomic::{AtomicUsize, Ordering};
use kstack::arch::current::{GEOMETRY, RESERVE};
use kstack::verdict::{Cause, Consequence, OverflowReport, Side};
use machine::arch::cpu;
use threads::report::overflow;
use threads::report::symbols;
use threads::sched;

/// What the check of this image has found, line by line.
pub(super) fn checked() -> Result<impl Iterator<Item = &'static str>, &'static str> {
    let text = symbols::checked();
    if text.is_empty() { Err("the archive has no kstack/checked") } else { Ok(text.lines()) }
}

/// The numbers and the name in a line of [`checked`].
pub(super) fn numbers<const N: usize>(line: &str) -> Option<([usize; N], &str)> {
    let (mut rest, mut numbers) = (line, [0; N]);
    for number in &mut numbers {
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        *number = word.parse().ok()?;
        rest = after;
    }
    Some((numbers, rest))
}

const GIANT: &str = "threads::report::on_purpose::one_giant_frame";

/// The guard that the image was checked against is that of this machine's stacks, every frame that
/// is wider than a page is named and fits into it, and the one that does not is on purpose. Red if
/// the check knows another machine, or leaves a frame out.
pub fn o3_the_image_was_checked_against_the_guard_that_stacks_have() -> Outcome {
    const PAGE: usize = 4096;
    let guard = GEOMETRY.guard_below().get();
    let (mut has_guard, mut giants, mut names_widest) = (false, 0, false);
    for line in checked()? {
        if let Some(line) = line.strip_prefix("guard ") {
            let ([bytes], _) = numbers(line).ok_or("no number")?;
            check!(bytes == guard, "checked against {bytes} bytes, stacks have {guard}");
            has_guard = true;
        } else if let Some(line) = line.strip_prefix("frame ") {
            let ([bytes], name) = numbers(line).ok_or("no number")?;
            check!(bytes > PAGE, "{name}: {bytes} bytes");
            check!(bytes <= guard || name == GIANT, "{name}: {bytes} bytes, the guard {guard}");
            giants += usize::from(name == GIANT && bytes > GEOMETRY.body().get());
            names_widest |= name.ends_with("as_wide_as_the_guard");
        }
    }
    check!(has_guard, "no guard");
    check!(giants == 1, "the giant frame is named {giants} times");
    let is_wide = guard > 2 * PAGE;
    check!(names_widest || !is_wide, "the widest frame that is let through is not named");
    Ok(())
}

/// The report of the thread that this makes overflow, and its stack's range.
fn report_of(
    body: fn(usize),
    what: usize,
) -> Result<alloc::boxed::Box<OverflowReport>, alloc::string::String> {
    let _old = overflow::take_last_report();
    let contained = overflow::contained_count();
    let thread = sched::spawn_kernel("wide", body, what).map_err(|e| format!("{e:?}"))?;
    thread.join();
    check!(overflow::contained_count() == contained + 1, "not contained");
    let report = overflow::take_last_report().ok_or("there is no report")?;
    check!(report.verdict.stack.owner == thread.id(), "{:?} is blamed", report.verdict.stack);
    check!(report.verdict.side == Side::Below, "{:?}", report.verdict.side);
    check!(report.verdict.consequence == Consequence::EndThread, "the machine was to stop");
    Ok(report)
}

/// What the frame below has besides its array, at most.
const BESIDE: usize = 512;
const WORDS: usize = (GEOMETRY.guard_below().get() - BESIDE) / size_of::<usize>();

/// Has a frame as wide as the check of the image lets through, and touches its far end first.
#[inline(never)]
fn as_wide_as_the_guard(value: usize) -> usize {
    let mut frame = [const { core::mem::MaybeUninit::<usize>::uninit() }; WORDS];
    black_box(&mut frame)[0].write(value);
    // SAFETY: (1) written above; the call above may have written the others.
    unsafe { black_box(&mut frame)[0].assume_init() }
}

/// Calls it with little left of the stack, but more than an interrupt asks for.
fn at_the_edge(_: usize) {
    const LEFT: usize = RESERVE.get() + 512;
    fn down(floor: usize) -> usize {
        let frame = black_box([1_u8; 64]);
        if cpu::stack_pointer() <= floor {
            return as_wide_as_the_guard(usize::from(frame[0]));
        }
        down(floor) + usize::from(black_box(frame)[1])
    }
    static SUM: AtomicUsize = AtomicUsize::new(0);
    let lowest = sched::current().stack_range().lowest.get();
    SUM.store(down(lowest + LEFT), Ordering::Relaxed);
}

/// A frame as wide as the guard, begun at the edge of the stack, ends in the guard: the thread is
/// ended with its report. Twice: the second one needs what the first one took. Red if such a frame
/// reaches what lies beyond, or is not told as a guard hit.
pub fn o3_a_frame_as_wide_as_the_guard_is_caught_in_it() -> Outcome {
    for _ in 0..2 {
        let report = report_of(at_the_edge, 0)?;
        let distance = report.verdict.distance.get();
        let guard = GEOMETRY.guard_below().get();
        check!(report.verdict.cause == Cause::GuardHit, "{:?}", report.verdict.cause);
        check!(distance <= guard, "{distance} bytes below the stack, the guard has {guard}");
    }
    Ok(())
}

/// A frame that the check of the image refuses everywhere else, wider than the stack and its guard,
/// is found all the same, as what it is.
pub fn o3_a_frame_wider_than_the_guard_is_found_and_its_thread_ended() -> Outcome {
    fn body(_: usize) {
        provoke::overflow_here(How::GiantFrame);
    }
    for _ in 0..2 {
        let cause = report_of(body, 0)?.verdict.cause;
        check!(cause == EXPECTED.giant_frame, "{cause:?}");
    }
    Ok(())
}
