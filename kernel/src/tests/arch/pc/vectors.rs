//! Vector registers of programs beyond SSE's: AVX, and AVX-512 where the CPU has it.

use crate::tests::Outcome;
use crate::tests::signals::program;

/// Each thread and process has its own across switches, a child its parent's, a new program none.
pub fn p2_s1_vector_registers_of_programs_are_kept_apart() -> Outcome {
    program("wide-registers", "switches")
}

/// A handler begins with none in use, and the program that it interrupts finds its own again.
pub fn p6_handlers_change_no_vector_register_of_what_they_interrupt() -> Outcome {
    program("wide-registers", "handlers")
}

/// The area's header, marks and sizes; what a handler changes there comes back; what the CPU would
/// refuse to load is SIGSEGV, and what does not fit is taken as far as the first 512 bytes.
pub fn p6_a_frame_has_the_states_of_the_processor_and_gives_back_what_fits() -> Outcome {
    program("wide-registers", "frames")
}

/// AT_MINSIGSTKSZ is as large as any frame.
pub fn p6_programs_are_told_the_least_stack_that_a_frame_fits_on() -> Outcome {
    program("wide-registers", "least")
}
