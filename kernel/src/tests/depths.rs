//! How far stacks were used: their end words, and the meter.

use super::{Outcome, check};
use crate::provoke;
use alloc::format;
use kstack::end_word;
use kstack::kind::StackKind;
use kstack::verdict::Cause;
use threads::{sched, stacks};

/// Announces a stop because of an end word, and who is to be named.
fn expect_end_overwritten(test: &str, victim: &str) {
    control!(
        "expect {test} stack={} cause={} side=below consequence=stop-system victim={victim} reliable=yes running=0 backtrace~=leave_cpu",
        StackKind::Thread,
        Cause::EndOverwritten.name(),
    );
}

/// Red if a switch does not look, looks at the thread that comes, or names another than the one
/// that leaves.
pub fn t12_a_thread_whose_end_word_is_overwritten_stops_the_machine_when_it_leaves_its_cpu()
-> Outcome {
    expect_end_overwritten(
        "t12_a_thread_whose_end_word_is_overwritten_stops_the_machine_when_it_leaves_its_cpu",
        "scribbler",
    );
    provoke::overwrite_end(usize::MAX);
    Err("the machine went on".into())
}

/// Zeros are no end word, and the last switch of a thread looks, too.
pub fn t12_a_thread_that_ends_with_its_end_word_cleared_stops_the_machine() -> Outcome {
    expect_end_overwritten(
        "t12_a_thread_that_ends_with_its_end_word_cleared_stops_the_machine",
        "scribbler",
    );
    provoke::overwrite_end(0);
    Err("the machine went on".into())
}

/// Every stack that is held, of whatever kind, and each that is handed out, new or used.
pub fn t12_n10_every_stack_has_its_end_word_whatever_its_kind() -> Outcome {
    for _ in 0..3 {
        for (_, stack) in stacks::registry().live() {
            // A thread's may go while it is looked at.
            if stack.kind == StackKind::Thread {
                continue;
            }
            // SAFETY: (1) a stack that belongs to a CPU stays mapped.
            let whole = unsafe { end_word::is_whole(stack.range.lowest) };
            check!(whole, "{stack} has no end word");
        }
        for thread in sched::all() {
            let Some(borrowed) = stacks::borrow(thread.stack_ref()) else { continue };
            // SAFETY: (1) borrowed, so it stays mapped.
            let whole = unsafe { end_word::is_whole(borrowed.range().lowest) };
            check!(whole, "the stack of {} has no end word", thread.name());
        }
        sched::spawn_kernel("brief", |_| {}, 0).map_err(|error| format!("{error:?}"))?.join();
    }
    Ok(())
}
