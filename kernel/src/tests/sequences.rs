//! Restartable sequences of programs (rseq(2)).

use super::Outcome;
use super::signals::program;

/// What is refused, with which error, and that a structure can be given up and taken again.
pub fn p2_restartable_sequences_are_registered_by_linuxs_rules() -> Outcome {
    program("sequences", "calls")
}

/// Red when a thread that was moved reads its former CPU.
pub fn p2_a_thread_reads_from_its_memory_which_cpu_it_is_on() -> Outcome {
    program("sequences", "cpus")
}

/// Five threads on four CPUs, without one atomic operation. Red when a thread that lost its CPU in
/// a sequence continues there.
pub fn p2_counts_in_restartable_sequences_are_never_lost() -> Outcome {
    program("sequences", "counts")
}

/// The handler sees the abort handler as what it interrupted.
pub fn p2_p6_a_signal_takes_a_thread_out_of_its_sequence() -> Outcome {
    program("sequences", "signals")
}

/// A sequence that never ends by itself, while another thread wants the CPU.
pub fn p2_a_switch_takes_a_thread_out_of_its_sequence() -> Outcome {
    program("sequences", "switches")
}

/// `MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ`, of all CPUs and of one.
pub fn p2_a_barrier_takes_the_other_threads_out_of_their_sequences() -> Outcome {
    program("sequences", "barriers")
}

/// A child has its parent's structure, a thread none, a new program none.
pub fn p2_a_child_has_its_parents_structure_and_a_thread_its_own() -> Outcome {
    program("sequences", "family")
}

/// Each of six things that make no sense is SIGSEGV, and no fault of the kernel.
pub fn p2_a_sequence_that_makes_no_sense_kills_the_program() -> Outcome {
    program("sequences", "spoiled")
}
