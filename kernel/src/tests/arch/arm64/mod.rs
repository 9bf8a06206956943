//! arm64: tests of what only it has, and what portable tests need.

pub(in crate::tests) mod attempts;
pub(in crate::tests) mod depth;
pub(in crate::tests) mod every_instruction;
pub(in crate::tests) mod evidence;
pub(in crate::tests) mod expectations;
pub(in crate::tests) mod overflow_stack;
pub(in crate::tests) mod registers;
pub(in crate::tests) mod user_code;
pub(in crate::tests) mod user_memory;

use super::{breakpoints, first_use, overflow_handler};
use crate::tests::table;

table! {
    HERE,
    shared: [
        breakpoints::b3_breakpoints_on_random_instructions_under_load_unwind_to_the_outermost_frame,
        first_use::t5_s1_the_cpu_that_builds_a_first_frame_is_coherent_with_the_stack,
        overflow_stack::i9_every_cpu_has_an_overflow_stack_between_guards_and_sp_el1_at_its_top,
        overflow_stack::i9_user_mode_that_reads_an_overflow_stack_faults,
        user_memory::p8_an_abort_that_no_page_can_mend_is_a_signal_and_cache_maintenance_is_no_write,
        user_memory::h5_no_cpu_lets_the_kernel_use_user_memory_not_in_a_system_call_either,
        every_instruction::s4_an_exception_and_an_interrupt_on_every_instruction_of_the_entry_and_switch_paths_disturb_nothing,
        overflow_stack::o1_o5_a_stack_pointer_that_leads_nowhere_ends_the_thread_and_the_machine_goes_on,
    ],
    own: [
        overflow_handler::o4_a_report_that_overflows_its_handlers_stack_twice_stops_the_machine,
        overflow_stack::o2_i9_an_overflow_of_the_overflow_stack_stops_the_machine_with_a_report,
        overflow_stack::i9_a_fault_in_the_overflow_handler_is_taken_below_it_and_told_to_the_kernel,
        overflow_stack::i9_a_handler_that_overflows_each_time_is_begun_three_times_and_its_cpu_parked,
    ]
}
