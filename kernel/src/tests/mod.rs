//! What the kernel proves, on the machine it runs on. Two tables, what every architecture proves and what only
//! this one does; a test's name starts with the catalogue's ids it shows.
//!
//! Most tests share one boot. A test that stops the machine has a boot of its own: it declares what the report must say
//! (`expect_stop`), and whoever runs the machine compares.

mod arch;
mod backtraces;
mod every_moment;
mod interrupts;
mod layouts;
mod overflows;
mod processes;
mod programs;
mod stacks;
mod support;
mod switching;
mod user_mode;

use crate::arch::power::{self, End};
use alloc::string::String;

/// What a test says: nothing, or what was wrong.
pub type Outcome = Result<(), String>;

/// Whether a test needs a machine of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Boot {
    Shared,
    Own,
    /// Of its own, with one CPU, whose time counts instructions.
    Counted,
}

struct Test {
    name: &'static str,
    boot: Boot,
    run: fn() -> Outcome,
}

/// Makes a table of tests under a name.
macro_rules! table {
    ($table:ident, shared: [$($shared_in:ident :: $shared:ident),* $(,)?], own: [$($own_in:ident :: $own:ident),* $(,)?]
     $(, counted: [$($counted_in:ident :: $counted:ident),* $(,)?])?) => {
        pub(in crate::tests) const $table: &[$crate::tests::Test] = &[
            $($crate::tests::Test { name: stringify!($shared), boot: $crate::tests::Boot::Shared, run: $shared_in::$shared },)*
            $($crate::tests::Test { name: stringify!($own), boot: $crate::tests::Boot::Own, run: $own_in::$own },)*
            $($($crate::tests::Test { name: stringify!($counted), boot: $crate::tests::Boot::Counted, run: $counted_in::$counted },)*)?
        ];
    };
}

/// Fails the test with a message unless the condition holds.
macro_rules! check {
    ($condition:expr, $($message:tt)*) => {
        if !$condition {
            return Err(alloc::format!($($message)*));
        }
    };
}
pub(crate) use check;
pub(crate) use table;

table! {
    EVERYWHERE,
    shared: [
        layouts::x5_every_saved_register_is_in_the_field_of_its_name_and_comes_back,
        layouts::t1_a_thread_stack_has_its_size_is_aligned_mapped_and_between_guards,
        interrupts::i1_every_cpu_has_an_irq_stack_of_its_own_between_guards,
        interrupts::i1_i2_an_interrupt_runs_on_the_irq_stack_of_the_cpu_it_arrives_at,
        interrupts::i2_an_interrupt_in_a_thread_moves_to_the_irq_stack_and_marks_it,
        interrupts::i2_an_interrupt_that_comes_while_the_irq_stack_is_in_use_stays_on_it,
        interrupts::i2_i3_an_interrupt_that_hits_a_softirq_stays_on_the_irq_stack,
        interrupts::i3_softirqs_of_an_interrupt_from_the_kernel_run_on_the_irq_stack,
        interrupts::i4_a_softirq_raised_in_a_thread_runs_on_the_irq_stack_when_bottom_halves_are_enabled,
        interrupts::i4_softirqs_never_nest,
        interrupts::i7_a_breakpoint_in_a_thread_is_handled_on_the_threads_stack,
        switching::s1_a_switch_keeps_registers_and_moves_stack_thread_and_canary,
        switching::s1_t16_current_is_right_across_preemption_on_four_cpus,
        switching::t15_thread_info_is_in_the_task_structure_where_no_overflow_reaches_it,
        switching::t16_current_is_one_load,
        switching::s2_the_first_frame_holds_registers_at_the_top_and_function_and_argument,
        switching::s2_a_kernel_thread_starts_with_its_function_and_argument,
        switching::s5_a_dead_threads_stack_is_given_back_by_the_next_thread,
        switching::t9_whether_and_where_a_thread_has_its_stack_is_a_query,
        switching::t10_a_new_stack_is_there_on_every_cpu_under_every_address_space,
        switching::t10_new_threads_run_on_every_cpu_at_once,
        overflows::o1_o5_a_thread_that_recurses_too_deep_is_ended_and_reported,
        overflows::o1_o5_a_thread_with_a_giant_frame_is_ended_and_reported,
        overflows::o5_what_a_thread_held_comes_back_when_it_overflows,
        overflows::o5_after_overflows_the_machine_goes_on_and_nothing_is_lost,
        overflows::t2_a_read_or_write_of_either_guard_traps_and_names_stack_and_side,
        overflows::t2_b1_a_guard_belongs_to_a_slot_and_to_no_stack,
        backtraces::b1_every_address_is_on_the_stack_it_is_on_or_on_none,
        backtraces::b2_a_backtrace_in_an_interrupt_crosses_to_the_thread_it_hit,
        backtraces::b2_a_backtrace_in_a_softirq_crosses_to_the_thread_that_was_interrupted,
        backtraces::b2_a_backtrace_in_a_softirq_of_a_thread_crosses_to_that_thread,
        backtraces::b2_a_frame_pointer_that_lies_ends_the_backtrace_unreliably,
        backtraces::b4_an_address_has_the_name_of_its_function_with_file_and_line,
        backtraces::b4_the_backtrace_of_a_sleeping_thread_shows_where_it_waits,
        backtraces::b2_t8_backtraces_of_threads_that_come_and_go_on_other_cpus_harm_nothing,
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
        user_mode::i2_i3_x1_an_interrupt_from_user_mode_and_its_softirq_run_on_the_thread_stack,
        user_mode::x5_p8_a_system_call_starts_at_the_top_of_the_thread_stack_and_keeps_registers,
        user_mode::b2_an_interrupt_in_a_softirq_in_a_system_call_is_traced_to_the_user_boundary,
        user_mode::o1_o5_an_overflow_in_a_system_call_ends_the_thread_with_a_report_to_user_mode,
        user_mode::i10_the_printed_table_of_entries_says_what_the_machine_does,
        processes::s1_floating_point_registers_of_programs_are_kept_apart,
        programs::p1_a_program_finds_the_stack_that_the_abi_promises,
        programs::p1_busybox_passes_arguments_and_environment_on,
        programs::p1_too_many_arguments_are_refused,
        programs::p1_a_file_that_is_no_program_is_refused_and_nothing_is_lost,
        programs::p1_random_headers_never_harm_the_kernel,
        programs::p2_fork_copies_vfork_borrows_a_thread_has_the_stack_it_was_given,
        programs::p2_children_of_children_keep_to_themselves,
        programs::p4_maps_names_stack_and_heap,
        programs::p8_bad_pointers_and_unknown_calls_are_errors_to_the_caller,
        programs::p2_o5_many_processes_leave_nothing_behind,
        processes::s3_p2_kernel_threads_and_processes_come_from_one_place,
        processes::o1_o5_an_overflow_in_a_programs_system_call_kills_it_and_the_machine_goes_on,
        processes::t14_threads_lie_in_a_slab_cache_of_their_own_whose_counts_a_program_reads,
        processes::b4_proc_pid_stack_shows_where_another_process_sleeps,
    ],
    own: [
        overflows::o2_o5_recursion_in_an_interrupt_handler_stops_the_machine_with_a_report,
        overflows::o2_o5_a_giant_frame_in_an_interrupt_handler_stops_the_machine_with_a_report,
        overflows::o2_o5_recursion_in_a_softirq_stops_the_machine_with_a_report,
        overflows::o2_o5_a_giant_frame_in_a_softirq_stops_the_machine_with_a_report,
        overflows::o5_a_thread_that_overflows_with_bottom_halves_disabled_stops_the_machine,
    ],
    counted: [
        every_moment::s4_an_interrupt_at_every_moment_of_entries_exits_and_switches_disturbs_nothing,
    ]
}

/// Those of every architecture, then those of this one.
fn tests() -> impl Iterator<Item = &'static Test> {
    EVERYWHERE.iter().chain(arch::HERE)
}

/// Names all tests on the control channel.
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
        crate::interrupts::forget_probes();
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
