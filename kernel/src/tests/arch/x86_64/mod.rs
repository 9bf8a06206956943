//! x86_64: tests of what only it has, and what portable tests need.

pub(in crate::tests) mod attempts;
pub(in crate::tests) mod depth;
pub(in crate::tests) mod evidence;
pub(in crate::tests) mod expectations;
pub(in crate::tests) mod nmi;
pub(in crate::tests) mod privileges;
pub(in crate::tests) mod registers;
pub(in crate::tests) mod shadow_stacks;
pub(in crate::tests) mod sweep;
pub(in crate::tests) mod tss;
pub(in crate::tests) mod user_code;

use super::pc::{
    control, double_fault, every_instruction, firmware, first_instruction, io_maps, tss_guards,
    vector_registers, vectors,
};
use super::{breakpoints, flush, overflow_handler};
use crate::tests::table;

table! {
    HERE,
    shared: [
        breakpoints::b3_breakpoints_on_random_instructions_under_load_unwind_to_the_outermost_frame,
        first_instruction::b2_a_backtrace_from_a_functions_first_and_last_instructions_has_its_caller,
        first_instruction::b2_a_backtrace_from_within_a_function_without_frames_says_that_its_caller_may_be_missing,
        first_instruction::b2_a_backtrace_through_a_function_without_frames_says_that_a_frame_may_be_missing,
        flush::u1_t10_a_flush_waits_for_a_cpu_with_interrupts_off,
        firmware::m1_firmware_tables_are_followed_by_wide_pointers_and_believed_only_whole,
        tss::x1_the_loaded_task_state_segment_has_every_field_in_its_place,
        tss::x1_s1_the_stack_for_entries_from_user_mode_follows_the_running_thread,
        tss::x2_p8_system_calls_and_exceptions_start_on_one_top_and_rsp1_and_rsp2_stay_poison,
        io_maps::x3_programs_use_the_ports_they_are_permitted_and_no_others,
        io_maps::x3_a_map_is_inherited_changed_on_a_copy_and_freed,
        io_maps::x3_each_thread_has_its_own_map_whatever_the_cpu_held,
        tss_guards::x4_the_task_state_segment_has_a_page_between_guards_that_user_mode_cannot_reach,
        nmi::i8_every_cpu_has_guarded_exception_stacks_of_their_own_sizes,
        nmi::i8_an_nmi_lands_on_the_nmi_stack_and_is_handled_on_the_body_stack,
        nmi::i8_a_debug_exception_in_the_kernel_is_handled_on_its_own_stack,
        nmi::i8_an_nmi_that_comes_during_an_nmi_is_handled_after_it,
        nmi::i8_a_third_nmi_behind_one_that_hit_the_exit_window_disturbs_nothing,
        nmi::i8_nmis_from_another_cpu_disturb_no_register_of_any_thread,
        every_instruction::s4_an_nmi_on_every_instruction_of_the_entry_and_switch_paths_disturbs_nothing,
        nmi::b2_a_backtrace_in_an_nmi_crosses_every_stack_below_it,
        nmi::i8_an_nmi_from_user_mode_lands_on_the_nmi_stack_and_is_handled_on_the_thread_stack,
        vector_registers::s1_zeroing_a_page_leaves_the_register_that_it_borrows_as_it_was,
        tss_guards::x4_user_mode_that_reads_the_task_state_segment_faults,
        nmi::i8_a_debug_exception_in_the_debug_handler_is_taken_and_goes_back,
        nmi::i8_a_debug_exception_in_an_nmi_in_the_debug_handler_is_taken_and_goes_back,
        privileges::i8_u1_a_debug_exception_in_user_mode_is_handled_on_the_thread_stack,
        privileges::i8_a_machine_check_is_handled_on_its_own_stack,
        privileges::i8_an_nmi_whose_frame_is_lost_is_told_to_the_kernel,
        privileges::u1_p8_a_system_call_of_compatibility_mode_is_refused,
        privileges::p8_u1_calls_of_32_bits_are_made_by_int_0x80_and_kept_away_by_filters,
        privileges::u1_x1_loading_the_tables_leaves_nothing_of_what_was_there,
        privileges::u1_tables_are_refused_on_a_cpu_that_is_not_as_the_entries_need_it,
        privileges::u1_s1_a_program_starts_with_no_selector_of_another,
        privileges::u1_p8_only_an_address_in_the_lower_half_goes_back_by_sysret,
        shadow_stacks::p7_shadow_stacks_are_there_where_the_cpu_has_them_and_nmis_leave_them_alone,
        control::u1_every_cpu_has_the_control_registers_of_the_table,
        control::u1_a_control_register_that_was_left_otherwise_is_set,
        control::u1_what_is_written_once_is_read_only,
        control::u1_p8_no_entry_keeps_the_flags_that_a_program_chose,
        control::u1_a_handler_between_the_halves_of_an_ipi_leaves_it_its_destination,
        control::u1_the_old_interrupt_controllers_raise_no_exception,
        control::u1_s1_floating_point_registers_are_kept_apart_where_pointers_stay,
        vectors::p2_s1_vector_registers_of_programs_are_kept_apart,
        vectors::p6_handlers_change_no_vector_register_of_what_they_interrupt,
        vectors::p6_a_frame_has_the_states_of_the_processor_and_gives_back_what_fits,
        vectors::p6_programs_are_told_the_least_stack_that_a_frame_fits_on,
    ],
    own: [
        double_fault::o4_an_overflow_of_the_double_fault_stack_stops_the_machine_with_a_report,
        overflow_handler::o4_a_report_that_overflows_its_handlers_stack_twice_stops_the_machine,
        double_fault::o4_a_handler_that_overflows_each_time_is_begun_three_times_and_its_cpu_parked,
        nmi::o2_o5_o6_an_overflow_in_an_nmi_handler_stops_the_machine,
        nmi::o2_o5_o6_a_guard_touched_by_an_nmi_handler_stops_the_machine,
        nmi::o2_o5_o6_an_overflow_in_an_nmi_that_hit_user_mode_stops_the_machine,
    ]
}
