//! riscv64: tests of what only it has, and what portable tests need.

pub(in crate::tests) mod attempts;
pub(in crate::tests) mod depth;
pub(in crate::tests) mod evidence;
pub(in crate::tests) mod expectations;
pub(in crate::tests) mod harts;
pub(in crate::tests) mod overflow_stack;
pub(in crate::tests) mod registers;
pub(in crate::tests) mod user_code;
pub(in crate::tests) mod user_memory;

use super::{first_use, flush, overflow_handler};
use crate::tests::table;

table! {
    HERE,
    shared: [
        first_use::t5_s1_the_cpu_that_builds_a_first_frame_is_coherent_with_the_stack,
        flush::u1_t10_a_flush_waits_for_a_cpu_with_interrupts_off,
        overflow_stack::i9_every_cpu_has_an_overflow_stack_between_guards,
        overflow_stack::i9_p8_user_mode_that_reads_what_entries_rest_on_faults,
        harts::i1_whichever_hart_is_started_first_is_cpu_0_and_all_others_come,
        user_memory::h5_no_cpu_lets_the_kernel_use_user_memory_not_in_a_system_call_either,
        overflow_stack::i9_an_exception_in_the_overflow_handler_is_handled_further_down_its_stack,
        overflow_stack::i9_a_stack_that_the_entry_does_not_know_is_used_if_it_is_this_cpus_or_threads,
        overflow_stack::o1_o5_a_stack_pointer_that_leads_nowhere_ends_the_thread_and_the_machine_goes_on,
        overflow_stack::o1_o5_a_stack_pointer_on_another_threads_stack_ends_the_thread_and_leaves_the_other_alone,
    ],
    own: [
        overflow_handler::o4_a_report_that_overflows_its_handlers_stack_twice_stops_the_machine,
        overflow_stack::o2_i9_an_overflow_of_the_overflow_stack_stops_the_machine_with_a_report,
        overflow_stack::i9_a_handler_that_overflows_each_time_is_begun_three_times_and_its_cpu_parked,
    ]
}
