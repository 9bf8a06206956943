//! Backtraces that begin where a function's frame record is not there yet, or not any more, and
//! through functions that have none.

use crate::tests::backtraces::{HANDLER, goes_through, interrupted_here, steps_of};
use crate::tests::{Outcome, check};
use alloc::string::String;
use core::arch::naked_asm;
use kstack::unwind::{Backtrace, End, Step};
use machine::arch::irqchip::vector::SOFTWARE;
use threads::entry::probes;
use threads::report::backtrace;

/// The interrupt comes before the first instruction.
#[unsafe(naked)]
extern "C" fn hit_before_anything() {
    naked_asm!("int {}", "ret", const SOFTWARE)
}

macro_rules! framed {
    ($name:ident, $push:literal, $mov:literal, $pop:literal) => {
        /// With a frame record; the interrupt comes when it is gone again.
        #[unsafe(naked)]
        extern "C" fn $name() {
            naked_asm!($push, $mov, $pop, "int {}", "ret", const SOFTWARE)
        }
    };
}
#[cfg(target_pointer_width = "64")]
framed!(hit_after_the_record, "push rbp", "mov rbp, rsp", "pop rbp");
#[cfg(target_pointer_width = "32")]
framed!(hit_after_the_record, "push ebp", "mov ebp, esp", "pop ebp");

macro_rules! frameless {
    ($name:ident, $sp:literal, $bytes:literal) => {
        /// Without a frame record; the interrupt comes in its middle.
        #[unsafe(naked)]
        extern "C" fn $name() {
            naked_asm!(
                concat!("sub ", $sp, ", ", $bytes),
                "int {0}",
                concat!("add ", $sp, ", ", $bytes),
                "ret",
                const SOFTWARE
            )
        }
    };
}
#[cfg(target_pointer_width = "64")]
frameless!(hit_without_a_record, "rsp", "8");
#[cfg(target_pointer_width = "32")]
frameless!(hit_without_a_record, "esp", "12");

macro_rules! between {
    ($name:ident, $sp:literal, $bytes:literal) => {
        /// Calls a function that keeps frames, and keeps none itself.
        #[unsafe(naked)]
        extern "C" fn $name() {
            naked_asm!(
                concat!("sub ", $sp, ", ", $bytes),
                "call {}",
                concat!("add ", $sp, ", ", $bytes),
                "ret",
                sym interrupted_further_in
            )
        }
    };
}
#[cfg(target_pointer_width = "64")]
between!(calls_without_a_record, "rsp", "8");
#[cfg(target_pointer_width = "32")]
between!(calls_without_a_record, "esp", "12");

/// The backtrace is kept by the handler: here there is no room for it.
extern "C" fn interrupted_further_in() {
    interrupted_here();
    core::hint::black_box(());
}

/// The caller that must not be missing.
#[inline(never)]
fn caller_of(function: extern "C" fn()) -> usize {
    let kept = core::hint::black_box(3_usize);
    core::hint::black_box(function)();
    core::hint::black_box(kept)
}

const CALLER: fn(extern "C" fn()) -> usize = caller_of;

/// The backtrace of the interrupt that comes in a function, or in what it calls.
fn from_within(function: extern "C" fn()) -> Result<Backtrace<{ backtrace::STEPS }>, String> {
    steps_of(|| {
        probes::set_probe(Some(|regs| {
            backtrace::keep_steps_from_regs(regs, HANDLER.lock().get_or_insert(Backtrace::empty()));
        }));
        core::hint::black_box(caller_of(function));
    })
}

/// Red if the walk begins with the frame pointer and nothing else, as it did: the caller is
/// missing, and the end is reliable.
pub fn b2_a_backtrace_from_a_functions_first_and_last_instructions_has_its_caller() -> Outcome {
    for function in [hit_before_anything as extern "C" fn(), hit_after_the_record] {
        let steps = from_within(function)?;
        let through = goes_through(&steps, CALLER as *const () as usize);
        check!(through && steps.is_reliable(), "{:x?}", steps.steps());
    }
    Ok(())
}

/// Red if code without a prologue is taken for code with one.
pub fn b2_a_backtrace_from_within_a_function_without_frames_says_that_its_caller_may_be_missing()
-> Outcome {
    let steps = from_within(hit_without_a_record)?;
    let first = match steps.steps().first() {
        Some((Step::Interrupted(regs), _)) => regs.pc,
        other => return Err(alloc::format!("it starts with {other:x?}")),
    };
    check!(!goes_through(&steps, CALLER as *const () as usize), "the caller is there: why?");
    check!(steps.end() == Some(End::InnermostMayBeMissing(first)), "{:x?}", steps.end());
    check!(!steps.is_reliable(), "it is called reliable");
    Ok(())
}

/// Red if callers are not looked at.
pub fn b2_a_backtrace_through_a_function_without_frames_says_that_a_frame_may_be_missing() -> Outcome
{
    let steps = from_within(calls_without_a_record)?;
    check!(
        goes_through(&steps, calls_without_a_record as *const () as usize),
        "{:x?}",
        steps.steps()
    );
    check!(!goes_through(&steps, CALLER as *const () as usize), "the caller is there: why?");
    check!(matches!(steps.end(), Some(End::FrameMayBeMissing(_))), "{:x?}", steps.end());
    Ok(())
}
