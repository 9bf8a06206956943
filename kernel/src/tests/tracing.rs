//! Tracing (ptrace): what debuggers and tracers of calls ask of the kernel. The programs keep it to
//! what Linux does; nothing of them stays.

use super::Outcome;
use super::hostile::run;

/// Red when a signal is taken that the tracer has not let through, when one is lost on the way, or
/// when the tracer does not reach the memory of what it traces.
pub fn p2_p4_a_tracer_is_told_of_signals_and_chooses() -> Outcome {
    run("tracing", "signals")
}

/// Red when a call is not seen with its arguments and its result, or when a changed result does not
/// come to the program; and when a single step is more than one instruction.
pub fn p2_p8_a_tracer_halts_programs_at_their_calls() -> Outcome {
    run("tracing", "calls")
}

/// Red when a child of what is traced runs before its tracer has seen it, or when an end or another
/// program is not told.
pub fn p2_a_tracer_is_told_of_children_programs_and_ends() -> Outcome {
    run("tracing", "births")
}

/// Red when a stop is not told apart from the signal that asks for it, or an interruption is lost.
pub fn p2_p6_a_seized_program_is_interrupted_and_stopped() -> Outcome {
    run("tracing", "seized")
}

/// Red when something waits for a tracer that has ended.
pub fn p2_u1_a_tracer_that_ends_leaves_nothing_halted() -> Outcome {
    run("tracing", "ends")
}

/// Red when a call that a filter leaves to the tracer is not told, or is not made after it.
pub fn p2_a_filter_leaves_calls_to_the_tracer() -> Outcome {
    run("tracing", "filtered")
}

/// Red when a supervisor does not hear of a call that a filter leaves to it, when its answer is not
/// the call's result, or when a call waits for one that is gone.
pub fn p2_calls_that_filters_leave_to_a_supervisor_are_answered_as_on_linux() -> Outcome {
    ["rules", "answers", "descriptors", "interrupted", "patient"]
        .into_iter()
        .try_for_each(|part| run("supervisors", part))
}

/// Red when a tracer does not see which signals wait, or what is told with them.
pub fn p2_p6_a_tracer_looks_at_signals_that_wait() -> Outcome {
    run("tracing", "waiting")
}

/// Red when a tracer cannot see which calls a program carries out itself.
pub fn p2_a_tracer_reads_and_sets_whose_calls_are_whose() -> Outcome {
    run("tracing", "dispatch")
}

/// Red when the sum of an address space without areas is told elsewhere than that of others.
pub fn u1_a_program_without_memory_is_told_of() -> Outcome {
    run("tracing", "emptied")
}

/// Red when a call that a filter leaves to another process does not wait for that, or returns
/// something else.
pub fn p2_another_process_answers_calls() -> Outcome {
    run("filters", "listener")
}
