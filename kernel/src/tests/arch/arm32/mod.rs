//! arm32: tests of what only it has, and what portable tests need.

pub(in crate::tests) mod attempts;
pub(in crate::tests) mod depth;
pub(in crate::tests) mod evidence;
pub(in crate::tests) mod expectations;
pub(in crate::tests) mod modes;
pub(in crate::tests) mod nmi;
pub(in crate::tests) mod registers;
pub(in crate::tests) mod user_code;

use super::first_use;
use crate::tests::table;

table! {
    HERE,
    shared: [
        first_use::t5_s1_the_cpu_that_builds_a_first_frame_is_coherent_with_the_stack,
        modes::s2_t1_the_eight_bytes_at_the_top_of_a_stack_are_never_written,
        modes::s1_every_thread_has_a_domain_register_of_its_own,
        modes::i9_every_cpu_has_an_overflow_stack_and_mode_words_between_guards,
        modes::p8_an_abort_that_no_page_can_mend_is_a_signal_and_cache_maintenance_is_no_write,
        modes::i9_p8_user_mode_that_reads_what_entries_rest_on_faults,
        modes::t15_thread_info_is_where_the_build_says,
        modes::i10_each_exception_mode_has_words_of_its_own_and_svc_mode_does_the_work,
        nmi::i10_a_fiq_comes_with_interrupts_off_and_is_handled_in_svc_mode_where_it_hits,
        nmi::i10_a_fiq_from_user_mode_is_handled_on_the_thread_stack,
        nmi::b2_a_backtrace_in_a_fiq_crosses_the_irq_stack_to_the_thread,
        nmi::s4_fiqs_that_rain_on_entries_and_ways_back_disturb_no_register,
    ],
    own: [
        nmi::o2_an_overflow_in_a_fiq_handler_stops_the_machine_with_a_report,
        modes::i9_o2_an_overflow_of_the_overflow_stack_stops_the_machine_with_a_report,
    ]
}
