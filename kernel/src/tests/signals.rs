//! Signals of programs: what handlers begin with and give back, the stacks they run on, what waits
//! for them, and what a forged frame does.

use super::{Outcome, check};
use alloc::format;
use alloc::string::String;
use linux::run_captured;

/// A program of ours with one argument ends with status 0.
pub(super) fn program(name: &str, part: &str) -> Outcome {
    let path = format!("/kstack/bin/{name}");
    let argv: [&[u8]; 2] = [name.as_bytes(), part.as_bytes()];
    let (status, output) = run_captured(&path, &argv).map_err(|error| format!("{error}"))?;
    let output = String::from_utf8_lossy(&output);
    check!(status == 0, "{name} {part}: status {status}, {}", output.trim_end());
    Ok(())
}

/// A program that is interrupted at sixty places at least, by another one, half of the time on its
/// alternate stack, by a handler that changes everything: integers, carries, floating point,
/// rounding mode and the red zone are as before. Red without any one register in the frame.
pub fn p6_handlers_at_random_instructions_change_nothing_of_what_they_interrupt() -> Outcome {
    program("signals", "registers")
}

/// The same for registers that a system call may change, as the one at the handler's end is.
pub fn p6_what_a_signal_interrupts_has_every_register_afterwards() -> Outcome {
    program("wide-registers", "plain")
}

/// SP as the ABI wants it at a function's entry, from stacks of every remainder; the siginfo and
/// the ucontext; the stack that was asked for; and handlers without SA_SIGINFO.
pub fn p6_a_handler_begins_as_a_function_on_its_stack_with_siginfo_and_ucontext() -> Outcome {
    program("signals", "frame")
}

/// SS_ONSTACK, SS_DISABLE, SS_AUTODISARM, EPERM, ENOMEM, EINVAL, EFAULT, nesting, and frames that
/// do not fit.
pub fn p6_the_alternate_stack_has_every_state_and_error_of_linux() -> Outcome {
    program("signals", "alternate")
}

/// `sa_mask`, SA_NODEFER, SA_RESETHAND, sigprocmask, sigpending, sigsuspend.
pub fn p6_masks_hold_while_a_handler_runs_and_come_back() -> Outcome {
    program("signals", "masks")
}

/// Three hundred real-time signals with values, in order; standard ones once; sigtimedwait with and
/// without a time.
pub fn p6_real_time_signals_are_queued_in_order_with_their_values() -> Outcome {
    program("signals", "queue")
}

/// read, write and wait4 with SA_RESTART and without; nanosleep, pause and futex, which end
/// either way; a signal without a handler is not seen.
pub fn p6_a_handler_ends_calls_that_sleep_or_they_are_made_again() -> Outcome {
    program("signal-waits", "calls")
}

/// SIGSTOP and SIGCONT twenty times, each told once by wait4 and by SIGCHLD; SIGKILL of a stopped
/// one; SA_NOCLDSTOP, SA_NOCLDWAIT and an ignored SIGCHLD.
pub fn p6_stops_and_continuations_are_told_to_the_parent() -> Outcome {
    program("signal-waits", "jobs")
}

/// The thread that lets a signal in takes it; a fatal one ends all threads; a stop stops all;
/// tgkill to threads that end meanwhile.
pub fn p6_signals_reach_the_right_thread_and_death_reaches_all() -> Outcome {
    program("signal-waits", "threads")
}

/// Signal, code and address of page faults and of each architecture's instructions.
pub fn p6_a_fault_says_what_it_was_and_where() -> Outcome {
    program("signal-waits", "faults")
}

/// Four threads at once, a thousand overflows each, each handled on the thread's alternate stack
/// and left by a jump.
pub fn p6_overflows_are_survived_by_jumping_off_the_alternate_stack() -> Outcome {
    program("signal-attacks", "overflows")
}

/// Four hundred frames with words changed at random, every single flag, and frames out of nothing.
/// Red if the kernel loads what faults in it, or a program runs with more rights.
pub fn p6_a_forged_frame_gives_no_privilege_and_no_kernel_fault() -> Outcome {
    program("signal-attacks", "forged")
}

/// Red when a frame that leads to no place of a program is refused, instead of the place: the
/// handler of SIGSEGV sees where the program was sent.
pub fn p6_a_frame_may_lead_anywhere_and_the_fault_is_there() -> Outcome {
    program("signal-attacks", "anywhere")
}

/// sigaction, sigprocmask, sigpending and sigsuspend with sets of one word: on the 32-bit machines,
/// and on no other.
pub fn p6_the_older_calls_are_where_linux_has_them() -> Outcome {
    program("signals", "old")
}

/// signalfd: every error, what is read of a signal, whose signals, poll, sleeping, another set.
pub fn p6_signals_are_read_from_a_file_as_on_linux() -> Outcome {
    program("signal-senders", "descriptor")
}

/// Another user's processes are not sent signals, but for SIGCONT in the session; a handler is told
/// the sender's user; kill(2) by the number of a thread.
pub fn p6_only_who_may_sends_a_signal() -> Outcome {
    program("signal-senders", "permissions")
}

/// RLIMIT_SIGPENDING bounds the queued signals of a user, over all its processes.
pub fn p6_queued_signals_are_counted_by_user() -> Outcome {
    program("signal-senders", "limit")
}

/// The last one that would have continued a stopped group ends: SIGHUP and SIGCONT.
pub fn p6_a_stopped_group_that_is_orphaned_is_hung_up() -> Outcome {
    program("signal-senders", "orphans")
}

/// A thread that becomes another user by the call itself is one alone: its permissions are that
/// user's, the other threads' as before; a new thread begins as its maker. Red when users are kept
/// per process.
pub fn p2_each_thread_has_users_of_its_own() -> Outcome {
    program("threads-apart", "users")
}

/// unshare of descriptors and directory by one thread of two; threads made without sharing them.
pub fn p2_a_thread_can_have_descriptors_and_a_directory_of_its_own() -> Outcome {
    program("threads-apart", "files")
}

/// tcsetattr and, with TOSTOP, write from the background: SIGTTOU and once more, or not if it is
/// blocked or ignored; EIO in an orphaned group.
pub fn p6_programs_in_the_background_are_stopped_before_they_change_their_terminal() -> Outcome {
    program("threads-apart", "background")
}

/// SIGHUP for the foreground, and for it alone, when the leader of a session ends.
pub fn p6_the_end_of_a_session_s_leader_is_told_to_the_foreground() -> Outcome {
    program("threads-apart", "leader")
}

/// Policies, priorities and nice values: errors, who may, children, and each thread its own.
pub fn p2_threads_have_policies_and_priorities_of_their_own() -> Outcome {
    program("real-time", "rules")
}

/// Threads of real time on one CPU: the highest rank first; SCHED_FIFO keeps the CPU, SCHED_RR
/// takes turns with its equals. Red when the run queue knows no ranks.
pub fn p2_threads_of_real_time_run_in_the_order_of_their_ranks() -> Outcome {
    program("real-time", "order")
}

/// A thread of real time that spins leaves others some of each second.
pub fn p2_threads_of_real_time_leave_the_others_a_share() -> Outcome {
    program("real-time", "share")
}

/// Ordinary threads on one CPU have shares as their nice values say. Red when the nice value is
/// kept and the run queue does not know it.
pub fn p2_nice_values_are_shares_of_a_cpu() -> Outcome {
    program("real-time", "nice")
}

/// O_ASYNC with F_SETSIG on a pipe: input, room and the end are told with their code, events and
/// descriptor, each once; SIGIO without F_SETSIG. Red when F_SETFL refuses or forgets O_ASYNC.
pub fn p6_pipes_tell_of_input_and_room_by_signals() -> Outcome {
    program("notices", "pipes")
}

/// The same of sockets and terminals; what has no such signals stays without the flag.
pub fn p6_sockets_and_terminals_tell_of_input_by_signals() -> Outcome {
    program("notices", "others")
}

/// F_SETOWN and F_SETOWN_EX: threads, processes, groups, and what is none.
pub fn p6_files_tell_the_thread_process_or_group_they_were_given() -> Outcome {
    program("notices", "owners")
}

/// F_NOTIFY: what happens in a directory, each by its bit, once or again and again, until it is
/// taken back or the process closes any descriptor of it. Red when fcntl refuses it.
pub fn p6_directories_tell_of_what_happens_in_them_by_signals() -> Outcome {
    program("notices", "directories")
}

/// Message queues: names, limits, errors; the highest priority first, equals in order; a queue
/// without a name lives until it is closed, and is not counted afterwards.
pub fn p2_message_queues_keep_priorities_and_linux_s_limits() -> Outcome {
    program("message-queues", "rules")
}

/// Senders and receivers that wait, until a message, room, or a time of day.
pub fn p2_message_queues_wait_for_room_and_for_messages() -> Outcome {
    program("message-queues", "waits")
}

/// mq_notify: once, for the first message of an empty queue that no receiver waits for.
pub fn p6_a_message_is_told_by_a_signal_once() -> Outcome {
    program("message-queues", "told")
}

/// Red when a signal ends the sleep of a thread that is to be moved to a lock, or does not end its
/// wait for that.
pub fn p2_p6_a_signal_lets_one_sleep_on_who_is_to_be_moved() -> Outcome {
    program("futexes", "moved")
}

/// Red when a program that a signal ends leaves no core file, or one without its thread, its memory
/// or what says so in the wait status.
pub fn p6_a_fatal_signal_leaves_a_core_file() -> Outcome {
    program("cores", "left")
}

/// Red when there is a core file where Linux leaves none, or by another name.
pub fn p6_no_core_file_is_left_where_linux_leaves_none() -> Outcome {
    program("cores", "none")
}

/// Red without futex_wake, futex_wait and futex_requeue.
pub fn p2_words_are_slept_on_by_the_calls_of_the_second_kind() -> Outcome {
    program("cores", "words")
}

/// Red when what /proc/sys has of real time cannot be set or does not count, when /proc has no
/// command line or configuration, or a personality's bits do nothing.
pub fn p4_what_tests_of_kernels_set_and_ask_is_there() -> Outcome {
    program("cores", "settings")
}
