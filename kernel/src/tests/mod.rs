//! What the kernel proves, on the machine it runs on. Two tables, what every architecture proves
//! and what only this one does; a test's name starts with the catalogue's ids it shows.
//!
//! Most tests share one boot. A test that stops the machine has a boot of its own: it declares what
//! the report must say (`expect_stop`), and the host that runs the machine compares.

mod accounts;
pub(crate) mod arch;
mod backtraces;
mod contiguous;
mod control_groups;
mod depth;
mod depths;
mod dma;
mod dma_devices;
mod every_moment;
mod files;
mod frames;
mod hostile;
pub(crate) mod interrupts;
mod layouts;
mod machine;
mod mappings;
mod memory;
mod nodes;
mod overflows;
mod pages;
mod processes;
mod programs;
// Of variants' images it is not known.
#[cfg(not(any(feature = "stack-protector", feature = "address-sanitizer")))]
mod bound;
#[cfg(feature = "stack-protector")]
mod protector;
mod questions;
mod reports;
pub(crate) mod returns;
mod samples;
#[cfg(feature = "address-sanitizer")]
mod sanitizer;
mod sequences;
mod shadow_stacks;
mod signals;
mod softirqs;
mod stacks;
mod storms;
pub(crate) mod support;
mod switching;
mod test;
mod timers;
mod tracing;
pub(crate) mod user_mode;

use ::machine::arch::power::{self, End};
pub use hostile::fuzz_by_command;
pub use test::Outcome;
use test::{Boot, Test};
pub(crate) use test::{check, table};

table! {
    EVERYWHERE,
    shared: [
        machine::m1_every_cpu_and_all_memory_of_the_machine_are_used,
        machine::m1_memory_that_was_never_used_is_mapped_and_each_frame_is_its_own,
        machine::m1_booting_touches_page_tables_and_no_other_memory,
        machine::m1_memory_that_firmware_keeps_is_left_out,
        machine::m1_an_archive_outside_the_memory_map_is_memory_and_what_is_around_it_is_not,
        machine::m1_free_memory_at_boot_is_whole_pages_of_ram_that_nothing_else_is_in,
        layouts::x5_every_saved_register_is_in_the_field_of_its_name_and_comes_back,
        layouts::t1_a_thread_stack_has_its_size_is_aligned_mapped_and_between_guards,
        interrupts::i1_every_cpu_has_an_irq_stack_of_its_own_between_guards,
        interrupts::i1_i2_an_interrupt_runs_on_the_irq_stack_of_the_cpu_it_arrives_at,
        interrupts::i2_an_interrupt_in_a_thread_moves_to_the_irq_stack_and_marks_it,
        interrupts::i2_an_interrupt_that_comes_while_the_irq_stack_is_in_use_stays_on_it,
        interrupts::i2_i3_an_interrupt_that_hits_a_softirq_stays_on_the_irq_stack,
        interrupts::i3_softirqs_of_an_interrupt_from_the_kernel_run_on_the_irq_stack,
        interrupts::i4_a_softirq_raised_in_a_thread_runs_on_the_irq_stack_when_bottom_halves_are_enabled,
        interrupts::i4_bottom_halves_enabled_once_too_often_stay_enabled,
        interrupts::i4_softirqs_never_nest,
        interrupts::i7_a_breakpoint_in_a_thread_is_handled_on_the_threads_stack,
        switching::s1_a_switch_keeps_registers_and_moves_stack_thread_and_canary,
        switching::s1_t16_current_is_right_across_preemption_on_four_cpus,
        switching::t15_thread_info_is_in_the_task_structure_where_no_overflow_reaches_it,
        switching::t16_current_is_one_load,
        switching::i4_a_thread_with_bottom_halves_disabled_is_not_preempted,
        switching::s1_a_wake_up_before_the_sleeper_is_in_the_list_is_not_lost,
        switching::s2_the_first_frame_holds_registers_at_the_top_and_function_and_argument,
        switching::s2_a_kernel_thread_starts_with_its_function_and_argument,
        switching::s5_a_dead_threads_stack_is_given_back_by_the_next_thread,
        switching::t9_whether_and_where_a_thread_has_its_stack_is_a_query,
        switching::t10_a_new_stack_is_there_on_every_cpu_under_every_address_space,
        switching::t10_new_threads_run_on_every_cpu_at_once,
        switching::s1_t10_a_thread_that_leaves_its_cpu_counts_as_on_it_until_the_next_one_runs,
        switching::s1_t10_a_thread_that_leaves_its_cpu_is_on_no_other_before_its_registers_are_saved,
        overflows::o1_o5_a_thread_that_recurses_too_deep_is_ended_and_reported,
        overflows::o1_o5_a_thread_with_a_giant_frame_is_ended_and_reported,
        overflows::o5_what_a_thread_held_comes_back_when_it_overflows,
        overflows::o5_after_overflows_the_machine_goes_on_and_nothing_is_lost,
        storms::o1_o5_threads_that_overflow_at_once_are_each_ended_and_reported,
        storms::i3_i5_a_softirq_that_raises_itself_each_time_starves_no_thread,
        softirqs::i5_what_is_too_much_for_the_way_out_of_interrupts_runs_in_a_thread,
        softirqs::i5_a_storm_of_softirqs_on_all_cpus_leaves_threads_and_timers_their_time,
        softirqs::i5_a_tasklet_runs_on_one_cpu_at_a_time_and_after_each_time_it_was_scheduled,
        softirqs::i5_tasklets_run_in_the_order_in_which_they_were_scheduled,
        softirqs::i6_a_device_with_a_thread_is_quiet_until_the_thread_has_served_it,
        softirqs::i6_with_interrupt_threads_every_softirq_runs_in_a_thread,
        storms::b2_t8_backtraces_in_a_storm_of_threads_harm_nothing,
        depth::o6_an_exception_between_the_halves_of_a_switch_is_taken_where_sp_is,
        depth::o6_at_every_depth_whatever_comes_ends_the_right_thread_or_none,
        depths::t13_a_thread_that_ends_with_a_new_record_says_exactly_how_much_it_left,
        depths::t13_proc_vmstat_counts_ended_threads_by_depth_under_linuxs_names,
        depths::t13_n10_the_record_of_every_stack_of_a_cpu_is_exact,
        frames::o3_the_image_was_checked_against_the_guard_that_stacks_have,
        frames::o3_a_frame_as_wide_as_the_guard_is_caught_in_it,
        frames::o3_a_frame_wider_than_the_guard_is_found_and_its_thread_ended,
        depths::t12_n10_every_stack_has_its_end_word_whatever_its_kind,
        depths::n10_the_boot_stack_has_a_guard_a_record_a_place_in_the_registry_and_is_erased,
        pages::h5_no_page_of_the_kernel_is_writable_and_executable_by_any_address_on_any_cpu,
        pages::h5_a_jump_to_a_stack_of_any_kind_is_refused,
        pages::h5_a_store_to_text_or_read_only_data_is_refused_by_either_address,
        pages::h5_user_memory_is_neither_executed_nor_touched_by_accident,
        pages::h5_proc_tells_what_the_kernel_has_mapped_and_how,
        returns::h2_calls_and_exceptions_begin_at_places_that_are_even_and_unforeseen,
        returns::h3_what_a_call_left_on_stacks_is_erased_before_user_mode,
        returns::h3_t13_what_was_erased_counts_for_the_depth,
        overflows::t2_a_read_or_write_of_either_guard_traps_and_names_stack_and_side,
        overflows::t2_b1_a_guard_belongs_to_a_slot_and_to_no_stack,
        overflows::o5_o6_a_thread_that_touches_the_guard_of_anothers_stack_is_ended_and_the_other_unharmed,
        backtraces::b1_every_address_is_on_the_stack_it_is_on_or_on_none,
        samples::b3_a_thread_that_runs_on_another_cpu_is_traced_where_it_is,
        samples::b3_a_cpu_with_interrupts_off_answers_by_nmi_or_is_given_up_in_time,
        samples::b3_ten_thousand_samples_under_load_unwind_to_the_outermost_frame,
        backtraces::b2_a_backtrace_in_an_interrupt_crosses_to_the_thread_it_hit,
        backtraces::b2_a_backtrace_in_a_softirq_crosses_to_the_thread_that_was_interrupted,
        backtraces::b2_a_backtrace_in_a_softirq_of_a_thread_crosses_to_that_thread,
        backtraces::b2_a_frame_pointer_that_lies_ends_the_backtrace_unreliably,
        backtraces::b4_an_address_has_the_name_of_its_function_with_file_and_line,
        backtraces::b4_the_backtrace_of_a_sleeping_thread_shows_where_it_waits,
        backtraces::b2_t8_backtraces_of_threads_that_come_and_go_elsewhere_harm_nothing,
        backtraces::n9_the_registry_lists_every_stack_once,
        stacks::t4_a_stack_from_the_cache_takes_no_lock_and_changes_no_mapping,
        stacks::t4_a_full_cache_passes_half_on_and_the_excess_is_unmapped,
        stacks::t4_draining_a_cpu_puts_its_stacks_where_others_find_them,
        stacks::t5_a_reused_stack_reads_as_zero_whatever_its_last_owner_wrote,
        stacks::t8_stacks_are_given_back_in_an_interrupt_handler_and_at_once,
        stacks::t8_a_borrowed_stack_outlives_its_thread_and_cannot_be_borrowed_after,
        stacks::t11_every_failing_frame_is_an_error_and_leaks_nothing,
        stacks::t11_a_thread_that_cannot_be_made_is_an_error_and_leaks_nothing,
        stacks::t11_over_the_limit_creation_fails_and_charges_nothing,
        stacks::t4_t8_t11_threads_made_and_ended_on_four_cpus_leave_nothing_behind,
        contiguous::t3_t11_cpus_that_make_the_pool_at_one_instant_have_one_and_lose_nothing,
        contiguous::t3_a_contiguous_stack_is_one_piece_of_memory_aligned_as_stacks_are,
        contiguous::t3_d2_a_buffer_on_a_contiguous_stack_is_refused_by_the_stacks_name,
        contiguous::t3_t5_a_contiguous_stack_used_again_reads_as_zero,
        contiguous::t3_b2_threads_on_contiguous_stacks_switch_sleep_are_walked_and_end,
        contiguous::t3_o1_o5_a_thread_too_deep_on_a_contiguous_stack_is_ended_by_the_next_entry,
        contiguous::t3_t11_every_failing_allocation_of_a_contiguous_stack_leaks_nothing,
        contiguous::t3_t7_contiguous_stacks_count_as_kernel_stacks_while_they_are_in_use,
        contiguous::t3_t11_runs_are_made_of_single_frames_that_lie_together_and_of_no_others,
        nodes::t6_every_cpu_and_all_memory_is_of_the_node_that_firmware_says,
        nodes::t6_a_cpus_stacks_come_from_its_own_node,
        nodes::t6_a_stacks_record_is_memory_of_its_node,
        nodes::t6_a_threads_stack_comes_from_the_node_of_the_cpu_that_made_it,
        nodes::t6_a_stack_that_is_let_go_of_on_another_node_goes_home,
        nodes::t6_t11_a_node_without_frames_takes_anothers_and_counts_it,
        nodes::t6_t11_a_node_without_frames_asks_the_nearest_first,
        nodes::t6_t7_what_is_in_use_on_each_node_adds_up,
        nodes::t3_t6_a_contiguous_stack_comes_from_its_node_and_goes_back_there,
        user_mode::i2_i3_x1_an_interrupt_from_user_mode_and_its_softirq_run_on_the_thread_stack,
        user_mode::x5_p8_a_system_call_starts_at_the_top_of_the_thread_stack_and_keeps_registers,
        user_mode::b2_an_interrupt_in_a_softirq_in_a_system_call_is_traced_to_the_user_boundary,
        user_mode::o1_o5_an_overflow_in_a_system_call_ends_the_thread_with_a_report_to_user_mode,
        user_mode::i10_the_printed_table_of_entries_says_what_the_machine_does,
        signals::p6_a_handler_begins_as_a_function_on_its_stack_with_siginfo_and_ucontext,
        signals::p6_handlers_at_random_instructions_change_nothing_of_what_they_interrupt,
        signals::p6_what_a_signal_interrupts_has_every_register_afterwards,
        signals::p6_the_alternate_stack_has_every_state_and_error_of_linux,
        signals::p6_masks_hold_while_a_handler_runs_and_come_back,
        signals::p6_real_time_signals_are_queued_in_order_with_their_values,
        signals::p6_the_older_calls_are_where_linux_has_them,
        signals::p6_signals_are_read_from_a_file_as_on_linux,
        signals::p6_only_who_may_sends_a_signal,
        signals::p6_queued_signals_are_counted_by_user,
        signals::p6_a_stopped_group_that_is_orphaned_is_hung_up,
        signals::p6_a_handler_ends_calls_that_sleep_or_they_are_made_again,
        signals::p6_stops_and_continuations_are_told_to_the_parent,
        signals::p6_signals_reach_the_right_thread_and_death_reaches_all,
        signals::p6_a_fault_says_what_it_was_and_where,
        signals::p6_overflows_are_survived_by_jumping_off_the_alternate_stack,
        signals::p6_a_forged_frame_gives_no_privilege_and_no_kernel_fault,
        signals::p6_a_frame_may_lead_anywhere_and_the_fault_is_there,
        sequences::p2_restartable_sequences_are_registered_by_linuxs_rules,
        sequences::p2_a_thread_reads_from_its_memory_which_cpu_it_is_on,
        sequences::p2_counts_in_restartable_sequences_are_never_lost,
        sequences::p2_p6_a_signal_takes_a_thread_out_of_its_sequence,
        sequences::p2_a_switch_takes_a_thread_out_of_its_sequence,
        sequences::p2_a_barrier_takes_the_other_threads_out_of_their_sequences,
        sequences::p2_a_child_has_its_parents_structure_and_a_thread_its_own,
        sequences::p2_a_sequence_that_makes_no_sense_kills_the_program,
        signals::p2_each_thread_has_users_of_its_own,
        signals::p2_a_thread_can_have_descriptors_and_a_directory_of_its_own,
        signals::p6_programs_in_the_background_are_stopped_before_they_change_their_terminal,
        signals::p6_the_end_of_a_session_s_leader_is_told_to_the_foreground,
        signals::p6_pipes_tell_of_input_and_room_by_signals,
        signals::p6_sockets_and_terminals_tell_of_input_by_signals,
        signals::p6_files_tell_the_thread_process_or_group_they_were_given,
        signals::p6_directories_tell_of_what_happens_in_them_by_signals,
        signals::p2_message_queues_keep_priorities_and_linux_s_limits,
        signals::p2_message_queues_wait_for_room_and_for_messages,
        signals::p6_a_message_is_told_by_a_signal_once,
        signals::p2_threads_have_policies_and_priorities_of_their_own,
        signals::p2_threads_of_real_time_run_in_the_order_of_their_ranks,
        signals::p2_threads_of_real_time_leave_the_others_a_share,
        signals::p2_nice_values_are_shares_of_a_cpu,
        signals::p2_p6_a_signal_lets_one_sleep_on_who_is_to_be_moved,
        signals::p6_a_fatal_signal_leaves_a_core_file,
        signals::p6_no_core_file_is_left_where_linux_leaves_none,
        signals::p2_words_are_slept_on_by_the_calls_of_the_second_kind,
        signals::p4_what_tests_of_kernels_set_and_ask_is_there,
        shadow_stacks::p7_only_calls_and_returns_write_a_shadow_stack_and_a_return_elsewhere_is_told,
        shadow_stacks::p7_a_handler_returns_by_the_kernels_word_and_by_no_other,
        shadow_stacks::p7_threads_children_and_new_programs_have_the_shadow_stack_of_linux,
        shadow_stacks::p7_a_program_switches_to_a_shadow_stack_that_it_mapped,
        shadow_stacks::p7_a_page_below_a_shadow_stack_is_left_free_and_ends_what_overflows,
        processes::p2_programs_that_start_at_once_have_numbers_of_their_own,
        processes::s1_floating_point_registers_of_programs_are_kept_apart,
        programs::p1_a_program_finds_the_stack_that_the_abi_promises,
        programs::p1_busybox_passes_arguments_and_environment_on,
        programs::p1_a_script_is_run_by_the_program_that_its_first_line_names,
        programs::p1_too_many_arguments_are_refused,
        programs::p1_a_file_that_is_no_program_is_refused_and_nothing_is_lost,
        programs::p1_random_headers_never_harm_the_kernel,
        programs::p2_fork_copies_vfork_borrows_a_thread_has_the_stack_it_was_given,
        programs::p2_s1_a_forked_child_has_its_parents_registers,
        programs::p2_children_of_children_keep_to_themselves,
        programs::p4_maps_names_stack_and_heap,
        programs::p8_bad_pointers_and_unknown_calls_are_errors_to_the_caller,
        programs::p2_o5_many_processes_leave_nothing_behind,
        timers::p6_p8_clocks_sleeps_and_timers_of_programs_are_as_on_linux,
        timers::p8_the_clock_is_finer_than_a_tick_and_never_goes_back,
        timers::p8_a_short_sleep_does_not_wait_for_a_tick,
        memory::u1_a_guard_that_a_program_makes_is_as_good_as_the_kernels,
        memory::u1_p4_the_heap_grows_past_holes_and_never_over_anything,
        memory::u1_p3_the_stack_keeps_its_gap_to_what_is_accessible_and_none_to_a_guard,
        memory::u1_a_failed_mapping_changes_nothing,
        memory::u1_a_program_has_as_many_areas_as_linux_allows_and_no_more,
        memory::u1_address_space_without_pages_costs_no_time,
        memory::u1_no_cpu_writes_to_a_page_after_it_was_protected,
        memory::u1_p2_what_a_parent_writes_after_a_fork_is_its_own,
        memory::t4_the_depot_learns_how_many_stacks_are_wanted,
        memory::t13_an_interrupt_notes_how_deep_its_threads_stack_is,
        memory::u1_t11_a_sorted_list_says_what_a_plain_one_says,
        memory::u1_whatever_is_mapped_protected_and_unmapped_the_areas_are_what_they_should_be,
        programs::u1_p1_a_position_independent_program_lies_as_its_segments_are_aligned,
        programs::u1_p1_a_segment_of_zeros_alone_may_name_a_place_beyond_the_file,
        memory::u1_files_grow_have_holes_and_leave_half_of_memory,
        mappings::p2_u1_a_file_is_one_for_all_who_map_read_and_write_it,
        mappings::p2_u1_what_a_file_lost_is_in_no_mapping_of_it,
        mappings::u1_a_sealed_file_stays_as_it_is,
        mappings::u1_what_a_program_says_of_its_pages_is_done_or_refused,
        mappings::u1_what_may_be_dropped_is_dropped_and_nothing_else,
        mappings::p3_a_mapping_that_grows_keeps_its_gap,
        mappings::p3_p4_deep_recursion_leaves_pages_that_the_program_can_give_back,
        mappings::u1_p3_a_mapping_costs_no_more_with_many_areas,
        mappings::u1_mprotect_changes_what_lies_below_a_hole,
        mappings::u1_holes_in_files_are_in_their_mappings_too,
        mappings::u1_p3_limits_of_memory_hold_as_soon_as_they_are_set,
        mappings::u1_p2_the_page_at_0_is_mapped_by_root_where_no_null_pointer_reaches_it,
        mappings::p2_a_word_in_shared_memory_is_one_for_all_who_share_it,
        mappings::p4_what_proc_tells_of_memory_is_what_is_there,
        mappings::p5_stack_mappings_and_heap_lie_where_nobody_knows,
        dma::d1_the_pages_of_a_stack_are_as_many_pieces_as_lie_apart,
        dma::d1_a_list_of_blocks_is_what_a_device_finds_and_what_it_leaves,
        dma::d2_a_buffer_on_any_stack_is_refused_by_its_name_and_by_any_address,
        dma::d2_a_local_buffer_is_refused_where_it_is_and_other_memory_is_not,
        dma_devices::d3_a_cipher_over_one_piece_of_a_stacks_buffer_gives_wrong_bytes,
        dma_devices::d3_a_disk_that_is_told_where_a_stacks_buffer_begins_writes_to_anothers_page,
        dma_devices::d4_memory_of_a_stack_is_lent_to_no_device_and_owned_memory_is,
        dma_devices::d4_a_device_gets_a_copy_of_what_it_cannot_reach_or_would_spoil,
        dma_devices::d4_drivers_of_the_crate_use_the_interface_and_their_stack_buffers_become_copies,
        memory::u1_p2_every_thread_has_its_own_thread_pointer,
        memory::u1_p2_page_tables_are_freed_when_no_cpu_has_them_loaded,
        memory::u1_t10_page_tables_made_by_several_cpus_at_once_are_one,
        memory::u1_t10_a_cpu_forgets_a_stack_before_its_frames_change_owner,
        memory::u1_t10_a_cpu_that_spins_on_a_lock_answers_a_flush,
        memory::t7_what_is_charged_is_the_sum_of_all_live_stacks,
        accounts::t7_t8_a_charge_follows_the_stack_through_cache_depot_and_borrow,
        accounts::t7_t11_a_stack_that_cannot_be_mapped_is_charged_to_no_group,
        accounts::t7_t11_over_a_groups_limit_creation_fails_and_charges_nothing,
        accounts::t7_a_number_is_not_reused_while_a_stack_may_still_be_uncharged,
        accounts::t7_what_all_stacks_have_is_right_while_groups_take_and_give,
        control_groups::u1_t7_t11_p2_a_shell_over_its_groups_memory_limit_cannot_fork,
        control_groups::u1_t7_t11_p2_a_shell_over_its_groups_pids_limit_cannot_fork,
        control_groups::u1_t7_o5_p2_an_overflow_inside_a_clone_leaves_nothing_in_its_group,
        control_groups::u1_t7_p8_what_control_groups_do_not_take_is_an_error,
        programs::u1_p2_what_no_program_may_do_ends_that_program_and_nothing_else,
        processes::s3_p2_kernel_threads_and_processes_come_from_one_place,
        processes::o1_o5_an_overflow_in_a_programs_system_call_kills_it_and_the_machine_goes_on,
        processes::t14_threads_lie_in_a_slab_cache_of_their_own_whose_counts_a_program_reads,
        processes::b4_proc_pid_stack_shows_where_another_process_sleeps,
        questions::i2_i10_ask_whether_an_interrupt_from_user_mode_switches_twice,
        questions::i1_i10_ask_how_the_irq_stack_is_found,
        questions::i3_i4_i5_ask_where_softirqs_run,
        questions::b2_ask_what_a_backtrace_tells_of_an_interrupt,
        questions::p8_i7_i2_o1_ask_where_entries_stand,
        questions::i2_i6_ask_whose_irq_stack_a_device_uses_that_moves,
        questions::t14_ask_whether_the_task_structure_is_on_the_stack,
        questions::t4_ask_what_a_stack_costs,
        questions::s1_s4_ask_what_happens_when_the_stack_is_switched,
        questions::d3_d4_ask_why_a_device_gets_no_stack,
        questions::h2_ask_how_well_places_of_calls_are_foreseen,
        questions::h3_t13_ask_what_a_call_finds_of_the_one_before,
        questions::p1_ask_where_argc_argv_and_the_environment_are,
        questions::p3_ask_who_makes_and_grows_a_programs_stack,
        questions::p3_ask_whether_a_stacks_pages_are_given_back,
        questions::p4_ask_how_maps_knows_the_stack,
        questions::p6_ask_on_which_stack_a_handler_runs,
        questions::p5_ask_what_a_smashed_return_address_meets,
        questions::p7_ask_whether_there_are_shadow_stacks,
        questions::i10_every_question_of_the_console_has_a_test,
        hostile::p2_clone3_is_given_its_structure_by_linuxs_rules,
        hostile::p2_every_way_to_wait_finds_the_children_it_means,
        hostile::p2_limits_are_each_process_own_and_inherited,
        hostile::p3_mappings_are_what_was_asked_for_to_the_letter,
        hostile::p4_a_debugger_reads_and_writes_the_memory_of_others,
        hostile::p4_a_debugger_is_told_where_a_thread_sleeps,
        mappings::p2_u1_segments_have_keys_and_owners,
        mappings::p2_u1_segments_are_shared_and_go_with_their_last_attachment,
        mappings::p2_u1_semaphores_are_changed_all_together_or_not_at_all,
        mappings::p2_u1_semaphores_are_waited_for_and_given_back_at_the_end,
        mappings::p2_u1_messages_are_received_by_type,
        mappings::u1_p4_what_has_a_number_and_a_key_is_told_in_proc,
        mappings::u1_p3_a_shared_mapping_shows_the_part_that_is_asked_for,
        tracing::p2_p4_a_tracer_is_told_of_signals_and_chooses,
        tracing::p2_p8_a_tracer_halts_programs_at_their_calls,
        tracing::p2_a_tracer_is_told_of_children_programs_and_ends,
        tracing::p2_p6_a_seized_program_is_interrupted_and_stopped,
        tracing::p2_u1_a_tracer_that_ends_leaves_nothing_halted,
        tracing::p2_a_filter_leaves_calls_to_the_tracer,
        tracing::p2_p6_a_tracer_looks_at_signals_that_wait,
        tracing::p2_a_tracer_reads_and_sets_whose_calls_are_whose,
        tracing::u1_a_program_without_memory_is_told_of,
        tracing::p2_another_process_answers_calls,
        hostile::p2_filters_of_calls_answer_as_on_linux,
        hostile::p2_filters_of_calls_are_taken_by_linuxs_rules,
        tracing::p2_calls_that_filters_leave_to_a_supervisor_are_answered_as_on_linux,
        hostile::p2_a_process_ends_with_its_limit_of_cpu_time,
        hostile::p2_a_thread_of_real_time_runs_before_others,
        hostile::p2_children_are_told_apart_as_linux_does,
        hostile::u1_a_name_that_ends_in_a_slash_is_a_directorys,
        hostile::p2_words_are_changed_moved_and_locked_by_futex,
        hostile::p2_a_thread_runs_on_the_cpus_it_is_kept_to,
        hostile::p2_a_process_can_be_held_as_a_file,
        hostile::p2_mounts_are_seen_in_their_own_namespace,
        hostile::p2_processes_have_a_number_for_each_namespace,
        hostile::p2_the_first_process_of_a_namespace_is_its_init,
        hostile::p4_a_mount_of_proc_shows_one_namespace,
        hostile::p2_users_are_those_that_the_maps_say,
        hostile::p2_capabilities_hold_in_their_own_namespace,
        hostile::p2_clocks_are_ahead_in_their_own_namespace,
        hostile::p2_no_path_leads_out_of_a_root,
        hostile::p2_locks_keep_others_out_and_go_with_their_owners,
        files::p2_leases_hold_up_others_until_they_are_given_up,
        files::u1_files_keep_to_their_flags,
        files::u1_older_calls_tell_of_file_systems_and_names,
        hostile::p2_bytes_move_between_pipes_and_files,
        hostile::u1_paths_lead_where_links_lead_and_names_are_bytes,
        hostile::u1_a_directory_stays_the_same_whatever_becomes_of_its_name,
        hostile::u1_a_step_in_a_deep_tree_costs_what_one_at_its_top_costs,
        hostile::u1_a_removed_directory_is_there_for_those_in_it,
        hostile::p4_u1_names_of_what_is_in_use_follow_renames,
        hostile::u1_programs_run_as_whom_their_files_say,
        hostile::u1_p2_terminals_have_their_names_where_their_ptmx_is,
        hostile::u1_inotify_tells_what_happens_to_files_in_order,
        hostile::u1_inotify_keeps_to_its_rules_and_says_what_it_lost,
        hostile::u1_files_have_the_time_of_day_and_what_they_take,
        hostile::u1_files_keep_extended_attributes,
        hostile::u1_what_came_with_the_archive_can_be_written,
        hostile::p2_local_sockets_are_found_by_their_names,
        hostile::p4_the_kernel_keeps_to_what_it_is_set_to,
        hostile::u1_paths_lead_no_further_than_they_may,
        hostile::u1_file_systems_keep_to_their_limits,
        hostile::p2_the_clock_is_told_or_refuses,
        hostile::u1_a_files_cached_pages_are_counted,
        hostile::p2_programs_can_be_terminals_of_others,
        hostile::p4_links_of_proc_lead_on_and_its_files_are_made_anew,
        hostile::p4_programs_are_told_of_their_areas_and_pages,
        hostile::p2_who_is_not_root_any_more_stays_so,
        hostile::u1_p8_any_number_of_pieces_is_read_and_written,
        hostile::u1_a_call_without_an_end_ends_with_its_process,
        hostile::u1_names_move_as_on_linux_and_a_deep_tree_harms_nothing,
        hostile::u1_s1_a_child_has_its_parents_floating_point,
        hostile::u1_p8_a_read_of_nothing_is_a_sigsegv_to_the_parent,
        hostile::u1_links_take_their_part_of_the_heap_and_can_be_removed_again,
        hostile::u1_a_process_that_can_be_killed_dies_of_it,
        hostile::u1_exit_group_wins_against_clone,
        hostile::u1_a_child_is_given_to_one_waiter,
        hostile::u1_numbers_of_threads_groups_and_processes_mean_one_thing,
        hostile::u1_p2_the_end_of_a_thread_clears_its_word_and_wakes,
        hostile::u1_p2_a_copy_of_memory_stays_as_it_is_while_other_threads_write,
        hostile::u1_p2_what_a_thread_writes_to_a_copied_page_is_seen_by_the_others,
        hostile::u1_p2_a_page_that_is_opened_again_after_a_fork_is_still_copied,
        hostile::u1_p2_a_wake_up_reaches_who_sleeps_on_the_word_and_no_others,
        hostile::u1_p2_execve_leaves_what_it_should_and_nothing_else,
        hostile::u1_p2_a_new_threads_number_is_in_the_words_it_was_asked_for,
        hostile::u1_p2_a_new_thread_has_the_thread_pointer_it_was_given,
        hostile::u1_p2_a_pipe_whose_other_end_goes_wakes_its_sleepers,
        processes::u1_a_pipe_that_is_opened_for_packets_keeps_them_apart,
        processes::p4_stat_says_where_a_program_and_its_strings_lie,
        processes::p2_p4_threads_that_leave_their_cpus_are_counted,
        processes::u1_the_pieces_of_a_vector_go_through_a_pipe_or_a_socket_at_once,
        processes::u1_what_is_set_of_a_socket_is_kept_and_has_its_effect,
        processes::p2_ambient_capabilities_go_along_and_no_others,
        processes::p2_p4_a_first_thread_that_has_left_is_a_zombie_until_the_end,
        processes::u1_a_file_that_is_cut_is_cut_on_every_cpu,
        processes::u1_what_is_written_to_a_process_is_there_on_every_cpu,
        processes::p2_a_thread_is_where_it_may_be_as_soon_as_that_is_said,
        processes::p2_u1_advice_may_be_given_for_other_processes,
        processes::p2_u1_memory_of_a_dying_process_can_be_taken_at_once,
        processes::u1_a_local_socket_holds_as_much_as_it_is_told_to,
        processes::u1_calls_of_a_local_socket_wait_as_long_as_they_are_told_to,
        processes::u1_a_send_that_may_wait_sends_all,
        processes::u1_many_messages_go_with_one_call,
        processes::p2_u1_what_has_a_key_is_of_its_namespace_and_goes_with_it,
        processes::u1_a_descriptor_that_is_only_a_place_ends_no_locks,
        hostile::u1_open_files_pipes_and_waiting_for_them_are_linuxs,
        hostile::u1_p2_execve_ends_the_other_threads,
        hostile::u1_programs_that_never_call_the_kernel_are_preempted,
        hostile::u1_t7_t11_a_fork_that_fails_leaves_no_process,
        hostile::u1_with_no_heap_at_all_system_calls_are_errors,
        hostile::u1_p8_an_unknown_call_is_logged_once,
        hostile::u1_deaths_are_logged_and_not_without_end,
        hostile::u1_o5_a_thread_that_overflows_in_its_sleep_sleeps_no_more,
        hostile::u1_system_calls_with_any_arguments_break_nothing,
    ],
    own: [
        reports::o4_a_report_that_fails_before_others_are_parked_ends_in_an_orderly_stop,
        reports::o4_a_report_that_fails_before_anything_is_said_ends_in_an_orderly_stop,
        reports::o4_a_report_that_fails_when_it_names_the_stack_ends_in_an_orderly_stop,
        reports::o4_a_report_that_fails_when_it_names_who_ran_ends_in_an_orderly_stop,
        reports::o4_a_report_that_fails_when_it_traces_calls_ends_in_an_orderly_stop,
        reports::o4_a_report_that_strays_ends_in_an_orderly_stop,
        reports::o4_a_panic_in_a_report_ends_in_an_orderly_stop,
        reports::o4_a_report_that_fails_before_its_record_ends_in_an_orderly_stop,
        reports::o4_a_report_that_fails_when_its_record_names_calls_ends_in_an_orderly_stop,
        reports::o4_a_report_that_fails_when_all_is_told_ends_in_an_orderly_stop,
        reports::o4_a_report_that_fails_again_and_again_ends_in_an_orderly_stop,
        reports::o4_a_kernel_that_faults_when_it_is_asked_what_ran_stops_with_the_report,
        reports::o4_a_kernel_that_panics_when_it_is_asked_what_ran_stops_with_the_report,
        reports::o4_a_kernel_that_faults_when_it_is_asked_about_code_stops_with_the_report,
        reports::o4_a_report_that_fails_while_a_thread_is_ended_stops_the_machine,
        reports::o4_a_kernel_that_overflows_whenever_it_is_asked_stops_with_a_report,
        depths::t12_a_thread_whose_end_word_is_overwritten_stops_the_machine_when_it_leaves_its_cpu,
        depths::t12_n10_an_irq_stack_whose_end_word_is_overwritten_stops_the_machine_at_the_next_tick,
        depths::t12_n10_the_tick_looks_at_the_end_words_of_the_stacks_of_exceptions_too,
        depths::t12_n10_the_tick_looks_at_the_end_word_of_the_idle_stack_too,
        depths::t12_n10_the_tick_of_the_first_cpu_looks_at_the_end_word_of_the_boot_stack,
        depths::t12_a_thread_that_ends_with_its_end_word_cleared_stops_the_machine,
        contiguous::t3_t12_a_thread_that_wrote_below_its_contiguous_stack_stops_the_machine,
        contiguous::t3_t12_a_contiguous_stack_whose_neighbour_wrote_too_far_is_named,
        overflows::o2_o5_recursion_in_an_interrupt_handler_stops_the_machine_with_a_report,
        overflows::o2_o5_a_giant_frame_in_an_interrupt_handler_stops_the_machine_with_a_report,
        overflows::o2_o5_recursion_in_a_softirq_stops_the_machine_with_a_report,
        overflows::o2_o5_a_giant_frame_in_a_softirq_stops_the_machine_with_a_report,
        overflows::o5_a_thread_that_overflows_with_bottom_halves_disabled_stops_the_machine,
        overflows::o5_o6_a_thread_that_overflows_with_a_spinning_lock_held_stops_the_machine,
        overflows::o5_o6_a_thread_that_overflows_with_interrupts_off_stops_the_machine,
        overflows::o1_o6_a_stack_pointer_of_0_stops_the_machine_with_a_report,
        overflows::o5_o6_an_overflow_of_the_idle_thread_stops_the_machine,
        overflows::o5_o6_the_idle_thread_that_touches_a_guard_stops_the_machine,
        dma_devices::d4_a_stack_that_is_lent_to_a_device_stops_a_machine_that_is_told_so,
    ],
    counted: [
        every_moment::s4_an_interrupt_at_every_moment_of_entries_exits_and_switches_disturbs_nothing,
    ]
}

// Of variants' images it is not known how deep the handler goes: from each smashed frame it may go
// as deep again.
#[cfg(not(any(feature = "stack-protector", feature = "address-sanitizer")))]
table! {
    OF_USUAL,
    shared: [bound::o4_n10_the_handler_of_overflows_stays_within_its_bound],
    own: []
}
#[cfg(any(feature = "stack-protector", feature = "address-sanitizer"))]
const OF_USUAL: &[Test] = &[];

#[cfg(feature = "stack-protector")]
table! {
    OF_PROTECTOR,
    shared: [
        protector::h1_a_smashed_frame_ends_its_thread_before_it_returns_and_is_named,
        protector::h1_every_thread_has_a_canary_and_a_switch_changes_what_is_compared,
        protector::h1_stacks_of_a_cpu_have_canaries_of_their_own,
        protector::h1_canaries_come_from_what_no_program_can_foresee,
    ],
    own: [
        protector::h1_a_smashed_frame_in_an_interrupt_handler_stops_the_machine_and_is_named,
        protector::h1_a_smashed_frame_with_interrupts_off_stops_the_machine,
    ]
}
#[cfg(not(feature = "stack-protector"))]
const OF_PROTECTOR: &[Test] = &[];

#[cfg(feature = "address-sanitizer")]
table! {
    OF_SANITIZER,
    shared: [
        sanitizer::h6_a_write_past_an_array_of_a_frame_ends_its_thread_and_names_frame_and_stack,
        sanitizer::h6_an_access_to_a_dead_frame_ends_its_thread_and_names_the_stack,
        sanitizer::h6_stacks_are_doubled_and_each_page_of_them_has_shadow,
        sanitizer::h6_a_reused_stack_has_no_poison_of_its_last_owner,
        sanitizer::h6_threads_that_are_cut_out_leave_no_poison,
    ],
    own: [
        sanitizer::h6_a_write_past_an_array_in_an_interrupt_handler_stops_the_machine_and_is_named,
    ]
}
#[cfg(not(feature = "address-sanitizer"))]
const OF_SANITIZER: &[Test] = &[];

/// Those of every architecture, then those of this one, then those of this variant of the kernel.
fn tests() -> impl Iterator<Item = &'static Test> {
    let of_variant = OF_USUAL.iter().chain(OF_PROTECTOR).chain(OF_SANITIZER);
    EVERYWHERE.iter().chain(arch::HERE).chain(of_variant)
}

/// Names all tests on the control channel.
#[inline(never)]
pub fn list() {
    for test in tests() {
        let boot = match test.boot {
            Boot::Shared => "shared",
            Boot::Own => "own",
            Boot::Counted => "counted",
        };
        control!("list {} boot={boot}", test.name);
    }
    control!("end");
}

/// Runs the tests named, separated by commas, or `all` that share a boot.
#[inline(never)]
pub fn run(names: &str) {
    let chosen = |test: &&'static Test| {
        if names == "all" {
            test.boot == Boot::Shared
        } else {
            names.split(',').any(|name| name == test.name)
        }
    };
    let (mut passed, mut failed) = (0, 0);
    for test in tests().filter(chosen) {
        log!("test {}", test.name);
        control!("test start {}", test.name);
        let outcome = (test.run)();
        threads::entry::probes::forget_probes();
        match outcome {
            Ok(()) => {
                passed += 1;
                control!("test pass {}", test.name);
            }
            Err(message) => {
                failed += 1;
                log!("test {} failed: {message}", test.name);
                control!("test fail {}: {message}", test.name);
            }
        }
    }
    log!("{passed} passed, {failed} failed");
    control!("end");
    power::end(End::Orderly)
}
