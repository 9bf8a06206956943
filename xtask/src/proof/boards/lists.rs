//! Which tests a machine of the table runs.

use std::ops::RangeInclusive;

/// What each machine that runs has to show: a program, threads, a contained overflow, and that all
/// of it is used.
pub(super) const SMOKE: [&str; 6] = [
    "m1_every_cpu_and_all_memory_of_the_machine_are_used",
    "m1_memory_that_was_never_used_is_mapped_and_each_frame_is_its_own",
    "m1_booting_touches_page_tables_and_no_other_memory",
    "s2_a_kernel_thread_starts_with_its_function_and_argument",
    "p1_busybox_passes_arguments_and_environment_on",
    "o1_o5_a_thread_that_recurses_too_deep_is_ended_and_reported",
];
/// The same on PCs, whose CPUs save registers of programs in three ways (`fxsave`, `xsave`,
/// `xsaveopt`) and have vectors or not.
pub(super) const SMOKE_OF_PCS: [&str; 2] = [
    "p2_s1_vector_registers_of_programs_are_kept_apart",
    "p6_a_frame_has_the_states_of_the_processor_and_gives_back_what_fits",
];
/// What Bochs enforces and QEMU's TCG does not, or what it does otherwise: privileges, and what is
/// left over. With how many CPUs each can be shown there: some act from another CPU.
pub(super) const PRIVILEGES_OF_PCS: [(&str, RangeInclusive<u32>); 7] = [
    ("u1_every_cpu_has_the_control_registers_of_the_table", ANY),
    ("u1_a_control_register_that_was_left_otherwise_is_set", ANY),
    ("u1_what_is_written_once_is_read_only", ANY),
    ("u1_a_handler_between_the_halves_of_an_ipi_leaves_it_its_destination", 4..=64),
    ("u1_the_old_interrupt_controllers_raise_no_exception", ANY),
    ("u1_s1_floating_point_registers_are_kept_apart_where_pointers_stay", ANY),
    ("u1_p8_no_entry_keeps_the_flags_that_a_program_chose", 2..=64),
];
/// The same that the 64-bit kernel alone has. The last one sets an instruction breakpoint. With
/// more than one CPU, Bochs 3.0 raises that one's exception again and again and executes nothing:
/// its loop over several CPUs looks for a breakpoint at the address of the last instruction it
/// committed, and an exception commits none there (seen in its CPU's state: RIP at the handler's
/// first instruction, the committed address at the breakpoint, a thousand exceptions on end). With
/// one CPU its loop commits.
pub(super) const PRIVILEGES_OF_X86_64: [(&str, RangeInclusive<u32>); 6] = [
    ("i8_u1_a_debug_exception_in_user_mode_is_handled_on_the_thread_stack", ANY),
    ("u1_p8_a_system_call_of_compatibility_mode_is_refused", ANY),
    ("u1_x1_loading_the_tables_leaves_nothing_of_what_was_there", ANY),
    ("u1_tables_are_refused_on_a_cpu_that_is_not_as_the_entries_need_it", ANY),
    ("u1_s1_a_program_starts_with_no_selector_of_another", ANY),
    ("u1_p8_only_an_address_in_the_lower_half_goes_back_by_sysret", 1..=1),
];
const ANY: RangeInclusive<u32> = 1..=64;
/// What is different on a CPU that has shadow stacks for programs; the last one on x86_64 alone.
pub(super) const SHADOW_STACKS: [&str; 6] = [
    "p7_only_calls_and_returns_write_a_shadow_stack_and_a_return_elsewhere_is_told",
    "p7_a_handler_returns_by_the_kernels_word_and_by_no_other",
    "p7_threads_children_and_new_programs_have_the_shadow_stack_of_linux",
    "p7_a_program_switches_to_a_shadow_stack_that_it_mapped",
    "p7_a_page_below_a_shadow_stack_is_left_free_and_ends_what_overflows",
    "p7_shadow_stacks_are_there_where_the_cpu_has_them_and_nmis_leave_them_alone",
];
/// What is the same with interrupts that have threads: where hard interrupts run, what softirqs may
/// and may not, that timers are right. (How soon they are is not, since a thread has to have its
/// turn first, nor is where softirqs run: the tests of `i3_` and `i4_` that compare their stacks
/// are not among them.)
pub(super) const IRQ_THREADS: [&str; 15] = [
    "i1_i2_an_interrupt_runs_on_the_irq_stack_of_the_cpu_it_arrives_at",
    "i2_an_interrupt_in_a_thread_moves_to_the_irq_stack_and_marks_it",
    "i2_an_interrupt_that_comes_while_the_irq_stack_is_in_use_stays_on_it",
    "i4_softirqs_never_nest",
    "i4_a_thread_with_bottom_halves_disabled_is_not_preempted",
    "i3_i5_a_softirq_that_raises_itself_each_time_starves_no_thread",
    "i5_what_is_too_much_for_the_way_out_of_interrupts_runs_in_a_thread",
    "i5_a_storm_of_softirqs_on_all_cpus_leaves_threads_and_timers_their_time",
    "i5_a_tasklet_runs_on_one_cpu_at_a_time_and_after_each_time_it_was_scheduled",
    "i5_tasklets_run_in_the_order_in_which_they_were_scheduled",
    "i6_a_device_with_a_thread_is_quiet_until_the_thread_has_served_it",
    "i6_with_interrupt_threads_every_softirq_runs_in_a_thread",
    "p6_p8_clocks_sleeps_and_timers_of_programs_are_as_on_linux",
    "o1_o5_threads_that_overflow_at_once_are_each_ended_and_reported",
    "b2_t8_backtraces_in_a_storm_of_threads_harm_nothing",
];
/// What is the same where threads have physically contiguous stacks, without guards: of the smoke
/// tests all but the last, which runs into a guard; and what looks for a thread's stack.
pub(super) const CONTIGUOUS: [&str; 14] = [
    "t3_t11_cpus_that_make_the_pool_at_one_instant_have_one_and_lose_nothing",
    "t3_a_contiguous_stack_is_one_piece_of_memory_aligned_as_stacks_are",
    "t3_b2_threads_on_contiguous_stacks_switch_sleep_are_walked_and_end",
    "t3_o1_o5_a_thread_too_deep_on_a_contiguous_stack_is_ended_by_the_next_entry",
    "s1_a_switch_keeps_registers_and_moves_stack_thread_and_canary",
    "s2_the_first_frame_holds_registers_at_the_top_and_function_and_argument",
    "i2_an_interrupt_in_a_thread_moves_to_the_irq_stack_and_marks_it",
    "i4_a_softirq_raised_in_a_thread_runs_on_the_irq_stack_when_bottom_halves_are_enabled",
    "b2_a_backtrace_in_an_interrupt_crosses_to_the_thread_it_hit",
    "b4_the_backtrace_of_a_sleeping_thread_shows_where_it_waits",
    "t12_n10_every_stack_has_its_end_word_whatever_its_kind",
    "t13_a_thread_that_ends_with_a_new_record_says_exactly_how_much_it_left",
    "i2_i3_x1_an_interrupt_from_user_mode_and_its_softirq_run_on_the_thread_stack",
    "p6_p8_clocks_sleeps_and_timers_of_programs_are_as_on_linux",
];
/// What there is to show where there are two memory nodes, and what must be as ever there.
pub(super) const NODES: [&str; 12] = [
    "t6_every_cpu_and_all_memory_is_of_the_node_that_firmware_says",
    "t6_a_cpus_stacks_come_from_its_own_node",
    "t6_a_threads_stack_comes_from_the_node_of_the_cpu_that_made_it",
    "t6_a_stack_that_is_let_go_of_on_another_node_goes_home",
    "t6_t11_a_node_without_frames_takes_anothers_and_counts_it",
    "t6_t11_a_node_without_frames_asks_the_nearest_first",
    "t6_t7_what_is_in_use_on_each_node_adds_up",
    "t3_t11_cpus_that_make_the_pool_at_one_instant_have_one_and_lose_nothing",
    "t3_t6_a_contiguous_stack_comes_from_its_node_and_goes_back_there",
    "t4_t8_t11_threads_made_and_ended_on_four_cpus_leave_nothing_behind",
    "t11_every_failing_frame_is_an_error_and_leaks_nothing",
    "n9_the_registry_lists_every_stack_once",
];

/// The same where there are three, which are not equally far.
pub(super) const FAR_NODES: [&str; 2] = [
    "t6_every_cpu_and_all_memory_is_of_the_node_that_firmware_says",
    "t6_t11_a_node_without_frames_asks_the_nearest_first",
];

/// Where stacks are erased on the way to user mode and calls begin elsewhere each time: that they
/// do, and that depths, backtraces, overflows in calls, signals and programs are as without.
pub(super) const HARDENED: [&str; 13] = [
    "h2_calls_and_exceptions_begin_at_places_that_are_even_and_unforeseen",
    "h3_what_a_call_left_on_stacks_is_erased_before_user_mode",
    "h3_t13_what_was_erased_counts_for_the_depth",
    "t13_a_thread_that_ends_with_a_new_record_says_exactly_how_much_it_left",
    "t5_a_reused_stack_reads_as_zero_whatever_its_last_owner_wrote",
    "t12_n10_every_stack_has_its_end_word_whatever_its_kind",
    "i2_i3_x1_an_interrupt_from_user_mode_and_its_softirq_run_on_the_thread_stack",
    "x5_p8_a_system_call_starts_at_the_top_of_the_thread_stack_and_keeps_registers",
    "b2_an_interrupt_in_a_softirq_in_a_system_call_is_traced_to_the_user_boundary",
    "o1_o5_an_overflow_in_a_system_call_ends_the_thread_with_a_report_to_user_mode",
    "p6_what_a_signal_interrupts_has_every_register_afterwards",
    "p6_handlers_at_random_instructions_change_nothing_of_what_they_interrupt",
    "o1_o5_threads_that_overflow_at_once_are_each_ended_and_reported",
];
