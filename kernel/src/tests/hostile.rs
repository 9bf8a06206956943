//! Programs that mean harm: attacks one by one, and a fuzzer of all system calls. Whatever they do
//! ends in errors or in their own deaths, and nothing of them stays: frames, stacks, processes and
//! the heap are as before.

use super::support::{install_hooks, make_arena_tables_for, settled_frames, until};
use super::{Outcome, check};
use crate::hooks;
use alloc::format;
use alloc::string::String;
use core::sync::atomic::{AtomicUsize, Ordering};
use kstack::arch::current::RESERVE;
use kstack::arch::current::call::call_on_stack;
use kstack::hooks::Hooks;
use kstack::pool::Census;
use kstack::verdict::OverflowReport;
use linux::error::Errno;
use linux::{abi, run_captured};
use machine::arch::extras;
use machine::arch::regs::SavedRegs;
use machine::memory::heap;
use machine::{log, options, recorder};
use threads::report::overflow;
use threads::stacks::pages;
use threads::{sched, stacks};

/// More stacks than hostile programs have at a time here.
const STACKS: usize = 1024;
/// What tables that grow with the number of threads and processes may keep of the heap.
const KEPT_HEAP: usize = 96 << 10;
/// Calls of the fuzzer in the tests.
const CALLS: u64 = 60_000;
const SEED: u64 = 7;

/// What must be the same afterwards.
#[derive(Debug, Clone, Copy)]
pub struct State {
    frames: usize,
    census: Census,
    charged: usize,
    threads: usize,
    heap: usize,
}

impl State {
    /// Once nothing is on its way out any more.
    fn now() -> Result<Self, String> {
        let frames = settled_frames()?;
        Ok(Self {
            frames,
            census: stacks::census(),
            charged: pages::charged_bytes(),
            threads: sched::thread_count(),
            heap: heap::allocated_bytes(),
        })
    }

    fn check_same(&self, after: &Self) -> Outcome {
        let same = self.frames == after.frames
            && self.census.live == after.census.live
            && self.census.ending == after.census.ending
            && self.charged == after.charged
            && self.threads == after.threads
            && after.heap <= self.heap + KEPT_HEAP;
        check!(same, "before: {self:?}\nafter: {after:?}");
        check!(heap::unkept_promises() == 0, "the heap's promises were not asked for");
        Ok(())
    }
}

/// Makes what is made when it is first wanted, and kept: tables of the arena, and the CPUs' maps of
/// ports. A count of frames before and after then has neither.
fn make_what_is_kept() -> Outcome {
    make_arena_tables_for(STACKS)?;
    extras::prepare_ports().map_err(|error| format!("{error:?}"))
}

/// Runs one of the programs, and compares what there is before and after.
pub(super) fn run(program: &str, attack: &str) -> Outcome {
    make_what_is_kept()?;
    let before = State::now()?;
    let path = format!("/kstack/bin/{program}");
    let argv = [program.as_bytes(), attack.as_bytes()];
    let (status, output) = run_captured(&path, &argv).map_err(|error| format!("{error}"))?;
    let output = String::from_utf8_lossy(&output);
    check!(status == 0, "{attack}: status {status}: {output}");
    before.check_same(&State::now()?)
}

pub fn u1_p8_any_number_of_pieces_is_read_and_written() -> Outcome {
    run("file-attacks", "vectors")
}

pub fn u1_a_call_without_an_end_ends_with_its_process() -> Outcome {
    run("file-attacks", "endless")
}

pub fn u1_names_move_as_on_linux_and_a_deep_tree_harms_nothing() -> Outcome {
    run("file-attacks", "names")
}

/// Red when a child's registers are those of a fresh program.
pub fn u1_s1_a_child_has_its_parents_floating_point() -> Outcome {
    run("file-attacks", "floats")
}

pub fn u1_p8_a_read_of_nothing_is_a_sigsegv_to_the_parent() -> Outcome {
    run("file-attacks", "deaths")
}

pub fn u1_links_take_their_part_of_the_heap_and_can_be_removed_again() -> Outcome {
    run("file-attacks", "heap")
}

pub fn u1_a_process_that_can_be_killed_dies_of_it() -> Outcome {
    run("attacks", "born")
}

pub fn u1_exit_group_wins_against_clone() -> Outcome {
    run("attacks", "endings")
}

pub fn u1_a_child_is_given_to_one_waiter() -> Outcome {
    run("attacks", "waiters")
}

pub fn u1_numbers_of_threads_groups_and_processes_mean_one_thing() -> Outcome {
    run("attacks", "numbers")
}

/// Red when the kernel forgets to clear the word, or to wake those who sleep on it.
pub fn u1_p2_the_end_of_a_thread_clears_its_word_and_wakes() -> Outcome {
    run("attacks", "threads")
}

/// Red when fork leaves other CPUs the translations with which they write.
pub fn u1_p2_a_copy_of_memory_stays_as_it_is_while_other_threads_write() -> Outcome {
    run("copies", "frozen")
}

/// Red when a page that was copied is forgotten by the CPU that copied it only.
pub fn u1_p2_what_a_thread_writes_to_a_copied_page_is_seen_by_the_others() -> Outcome {
    run("copies", "seen")
}

/// Red when mprotect lets a program write to a page that it shares with its parent.
pub fn u1_p2_a_page_that_is_opened_again_after_a_fork_is_still_copied() -> Outcome {
    run("copies", "opened")
}

/// Red when a wake-up reaches who sleeps on another word or in another process, or counts who is
/// not asleep.
pub fn u1_p2_a_wake_up_reaches_who_sleeps_on_the_word_and_no_others() -> Outcome {
    run("futexes", "all")
}

/// Red when execve leaves handlers or descriptors of the old program.
pub fn u1_p2_execve_leaves_what_it_should_and_nothing_else() -> Outcome {
    run("inheritance", "execve")
}

pub fn u1_p2_a_new_threads_number_is_in_the_words_it_was_asked_for() -> Outcome {
    run("inheritance", "words")
}

/// Red when clone forgets the thread pointer that it was given, or gives it to the parent.
pub fn u1_p2_a_new_thread_has_the_thread_pointer_it_was_given() -> Outcome {
    run("inheritance", "pointers")
}

/// Red when clone3 takes what Linux refuses, or copies descriptors that are to be shared.
pub fn p2_clone3_is_given_its_structure_by_linuxs_rules() -> Outcome {
    run("kinds-of-processes", "clones")
}

pub fn p2_every_way_to_wait_finds_the_children_it_means() -> Outcome {
    run("kinds-of-processes", "waits")
}

pub fn p2_limits_are_each_process_own_and_inherited() -> Outcome {
    run("kinds-of-processes", "limits")
}

/// Red when maps shows more than was asked for, or a flag that is not known is taken.
pub fn p3_mappings_are_what_was_asked_for_to_the_letter() -> Outcome {
    run("call-rules", "memory")
}

/// Red when a debugger's write reaches a file or another process, changes what the program may do,
/// or is made for one who may not look in.
pub fn p4_a_debugger_reads_and_writes_the_memory_of_others() -> Outcome {
    run("looking-in", "memory")
}

/// Red when /proc does not tell what a thread that sleeps asked for, or what was moved.
pub fn p4_a_debugger_is_told_where_a_thread_sleeps() -> Outcome {
    run("looking-in", "asleep")
}

/// Red when a filter's answer does something else than on Linux, or is not asked for.
pub fn p2_filters_of_calls_answer_as_on_linux() -> Outcome {
    run("filters", "answers")
}

/// Red when a program is taken for a filter that Linux refuses, or a thread does not get its own.
pub fn p2_filters_of_calls_are_taken_by_linuxs_rules() -> Outcome {
    run("filters", "rules")
}

/// Red when a process uses more CPU time than RLIMIT_CPU says, or is not told first.
pub fn p2_a_process_ends_with_its_limit_of_cpu_time() -> Outcome {
    run("call-rules", "cpu-time")
}

/// Red when an urgent thread takes turns with others, or its policy is not kept.
pub fn p2_a_thread_of_real_time_runs_before_others() -> Outcome {
    run("call-rules", "policies")
}

/// Red when a child that is another program is moved into a group, or one that has ended can stop.
pub fn p2_children_are_told_apart_as_linux_does() -> Outcome {
    run("call-rules", "children")
}

/// Red when a file is made, moved or removed by a name that is a directory's.
pub fn u1_a_name_that_ends_in_a_slash_is_a_directorys() -> Outcome {
    run("call-rules", "names")
}

pub fn p2_words_are_changed_moved_and_locked_by_futex() -> Outcome {
    run("kinds-of-processes", "words")
}

pub fn p2_a_thread_runs_on_the_cpus_it_is_kept_to() -> Outcome {
    run("kinds-of-processes", "places")
}

pub fn p2_who_is_not_root_any_more_stays_so() -> Outcome {
    run("kinds-of-processes", "users")
}

/// Red when the last user of one end goes and those who sleep on the other end are not woken.
pub fn u1_p2_a_pipe_whose_other_end_goes_wakes_its_sleepers() -> Outcome {
    run("pipes", "ends")
}

/// Red when a pipe, a counter, an epoll, a select or a flag of an open file differs from Linux.
pub fn u1_open_files_pipes_and_waiting_for_them_are_linuxs() -> Outcome {
    run("open-files", "all")
}

/// Red when a process that has ended is not ready, or the file of one that is gone means another.
pub fn p2_a_process_can_be_held_as_a_file() -> Outcome {
    run("other-files", "processes")
}

/// Red when a mount is seen in another namespace, or a way into one is wrong.
pub fn p2_mounts_are_seen_in_their_own_namespace() -> Outcome {
    run("namespaces", "mounts")
}

/// Red when a process has not a number for each namespace that it is seen in.
pub fn p2_processes_have_a_number_for_each_namespace() -> Outcome {
    run("pid-namespaces", "numbers")
}

/// Red when the first process of a namespace is ended from inside, or one outlives it.
pub fn p2_the_first_process_of_a_namespace_is_its_init() -> Outcome {
    run("pid-namespaces", "first")
}

/// Red when a way into a PID namespace is wrong, or a mount of /proc shows another one.
pub fn p4_a_mount_of_proc_shows_one_namespace() -> Outcome {
    run("pid-namespaces", "ways")
}

/// Red when a user or group inside a namespace stands for another one than its maps say.
pub fn p2_users_are_those_that_the_maps_say() -> Outcome {
    run("user-namespaces", "maps")
}

/// Red when a capability holds outside of the namespace that it is of, or not in it.
pub fn p2_capabilities_hold_in_their_own_namespace() -> Outcome {
    run("user-namespaces", "rights")
}

/// Red when a clock is not ahead as it was said to be, or a time by it is another one.
pub fn p2_clocks_are_ahead_in_their_own_namespace() -> Outcome {
    run("user-namespaces", "clocks")
}

/// Red when a path leads out of a root that a process was given, or the wrong way below it.
pub fn p2_no_path_leads_out_of_a_root() -> Outcome {
    run("namespaces", "roots")
}

/// Red when a lock does not keep others out, outlives its owner, or a circle of sleepers is not
/// seen.
pub fn p2_locks_keep_others_out_and_go_with_their_owners() -> Outcome {
    run("other-files", "locks")
}

/// Red when bytes are lost, doubled or out of order on their way between pipes and files.
pub fn p2_bytes_move_between_pipes_and_files() -> Outcome {
    run("other-files", "moves")
}

/// Red when a line is not edited, a key sends no signal, or an end that goes is not noticed.
pub fn p2_programs_can_be_terminals_of_others() -> Outcome {
    run("other-files", "terminals")
}

/// Red when maps read in pieces is another text, an area is told wrong, or a page is not where
/// pagemap says.
pub fn p4_programs_are_told_of_their_areas_and_pages() -> Outcome {
    run("proc-memory", "all")
}

/// Red when a path through /proc does not lead on, or a file of it keeps what it was.
pub fn p4_links_of_proc_lead_on_and_its_files_are_made_anew() -> Outcome {
    run("other-files", "texts")
}

/// Red when `..` is that of the text and not of where a link leads, or a name that is no UTF-8 is
/// refused or told as another one.
pub fn u1_paths_lead_where_links_lead_and_names_are_bytes() -> Outcome {
    run("file-facts", "paths")
}

/// Red when the current directory, or an open one, is a path: then it is lost when a name above it
/// changes, and another directory that gets its name is taken for it.
pub fn u1_a_directory_stays_the_same_whatever_becomes_of_its_name() -> Outcome {
    run("file-facts", "standing")
}

/// Red when a step from one directory to the next begins at the root: then a tree costs as the
/// square of its depth.
pub fn u1_a_step_in_a_deep_tree_costs_what_one_at_its_top_costs() -> Outcome {
    run("places", "deep")
}

/// Red when a directory that was removed is not there for those who are in it.
pub fn u1_a_removed_directory_is_there_for_those_in_it() -> Outcome {
    run("places", "removed")
}

/// Red when /proc tells a name that an open file, a mapping or a program does not have any more.
pub fn p4_u1_names_of_what_is_in_use_follow_renames() -> Outcome {
    run("places", "names")
}

/// Red when what happens to files is not told, told twice or in another order than on Linux.
pub fn u1_inotify_tells_what_happens_to_files_in_order() -> Outcome {
    run("watches", "events")
}

/// Red when a watch takes what it should refuse, tells too much, or loses events without a word.
pub fn u1_inotify_keeps_to_its_rules_and_says_what_it_lost() -> Outcome {
    run("watches", "rules")
}

/// Red when a terminal has its name elsewhere than with its ptmx, or a slave is another's.
pub fn u1_p2_terminals_have_their_names_where_their_ptmx_is() -> Outcome {
    run("terminal-places", "all")
}

/// Red when a program does not run as its file says, or runs so where that is not to be.
pub fn u1_programs_run_as_whom_their_files_say() -> Outcome {
    run("set-ids", "all")
}

/// Red when a file's times are of another clock than the program's, a change does not show in them,
/// or a hole takes memory.
pub fn u1_files_have_the_time_of_day_and_what_they_take() -> Outcome {
    run("file-facts", "times")
}

/// Red when an extended attribute is lost, told to one who may not see it, or another value.
pub fn u1_files_keep_extended_attributes() -> Outcome {
    run("file-facts", "attributes")
}

/// Red when what came with the archive cannot be written, or is something else where it was not.
pub fn u1_what_came_with_the_archive_can_be_written() -> Outcome {
    // From the first time on, the file has a page of its own.
    let argv: [&[u8]; 2] = [b"file-facts", b"archive"];
    run_captured("/kstack/bin/file-facts", &argv).map_err(|error| format!("{error}"))?;
    run("file-facts", "archive")
}

/// Red when a setting is taken without effect, or that of a namespace counts outside.
pub fn p4_the_kernel_keeps_to_what_it_is_set_to() -> Outcome {
    run("kept-limits", "settings")
}

/// Red when a file system that was mounted with limits does not keep to them.
pub fn u1_file_systems_keep_to_their_limits() -> Outcome {
    run("kept-limits", "rooms")
}

/// Red when the clock takes what it does not do, or forgets what it was told.
pub fn p2_the_clock_is_told_or_refuses() -> Outcome {
    run("kept-limits", "clock")
}

/// Red when a page of a file is not counted, or one that is not there.
pub fn u1_a_files_cached_pages_are_counted() -> Outcome {
    run("kept-limits", "cached")
}

/// Red when a path that may not lead everywhere does, or is refused where it may lead.
pub fn u1_paths_lead_no_further_than_they_may() -> Outcome {
    run("scoped-paths", "all")
}

/// Red when a local socket is not found by its name, or an end that goes is not noticed.
pub fn p2_local_sockets_are_found_by_their_names() -> Outcome {
    run("file-facts", "sockets")
}

/// Bytes above RESERVE at which the first sleep on a word begins, and how far below it the next one
/// does.
const FIRST_SLEEP: usize = 2048;
const SLEEPS_APART: usize = 16;
static SLEEPS: AtomicUsize = AtomicUsize::new(0);
/// Sleepers that were ended while they were in the list.
static ENDED_ASLEEP: AtomicUsize = AtomicUsize::new(0);

/// A system call; one that sleeps on a word at the depth that is next.
fn on_syscall(regs: &mut SavedRegs) {
    extern "C" fn there(regs: usize, _: usize) {
        // SAFETY: (1) the caller's, which waits for this to return.
        (hooks::HOOKS.syscall)(unsafe { &mut *(regs as *mut SavedRegs) });
    }
    const WAIT: u64 = 128;
    let is_futex = matches!(abi::name(abi::number(regs)), Some("futex" | "futex_time64"));
    if !is_futex || abi::arguments::<2>(regs, |_| Err(Errno::EFAULT))[1] != WAIT {
        return (hooks::HOOKS.syscall)(regs);
    }
    let depth = SLEEPS.fetch_add(1, Ordering::Relaxed) * SLEEPS_APART;
    let first = sched::current().stack_range().lowest.get() + RESERVE.get() + FIRST_SLEEP;
    let sp = (first - depth) & !15;
    // SAFETY: (1) on this thread's own stack, below everything that is in use; (2) it returns, or
    // the thread is ended.
    unsafe { call_on_stack(core::ptr::from_mut(regs) as usize, 0, there, sp) };
}

fn note_end(report: &OverflowReport) -> ! {
    ENDED_ASLEEP.fetch_add(linux::sleepers_for_test(), Ordering::Relaxed);
    (hooks::HOOKS.end_thread)(report)
}

/// Red when a thread whose stack overflows in its sleep stays in the list of sleepers.
pub fn u1_o5_a_thread_that_overflows_in_its_sleep_sleeps_no_more() -> Outcome {
    static HOOKS: Hooks = hooks::HOOKS.syscall(on_syscall).end_thread(note_end);
    SLEEPS.store(0, Ordering::Relaxed);
    ENDED_ASLEEP.store(0, Ordering::Relaxed);
    install_hooks(&HOOKS);
    let ran = run_captured("/kstack/bin/futexes", &[b"futexes", b"deep"]);
    install_hooks(&hooks::HOOKS);
    let _last = overflow::take_last_report();
    let (status, output) = ran.map_err(|error| format!("{error}"))?;
    check!(status == 0, "status {status}: {}", String::from_utf8_lossy(&output));
    let ended = ENDED_ASLEEP.load(Ordering::Relaxed);
    log!("  {SLEEPS:?} sleeps, {ended} ended in the list");
    // How many is the compiler's to say: what comes before the list may go as deep as the sleep.
    let left = linux::sleepers_for_test();
    check!(left == 0, "{left} threads that have ended are in the list of sleepers");
    Ok(())
}

pub fn u1_p2_execve_ends_the_other_threads() -> Outcome {
    run("attacks", "start")
}

/// Red, by silence, when user mode is never preempted: the test itself then has no CPU.
pub fn u1_programs_that_never_call_the_kernel_are_preempted() -> Outcome {
    run("attacks", "spinners")
}

/// Over the limit of stacks: red when a clone that failed leaves a process.
pub fn u1_t7_t11_a_fork_that_fails_leaves_no_process() -> Outcome {
    make_what_is_kept()?;
    let before = State::now()?;
    let limit = pages::set_limit(pages::charged_bytes() + (2 << 20));
    let ran = run_captured("/kstack/bin/attacks", &[b"attacks", b"many"]);
    pages::set_limit(limit);
    let (status, output) = ran.map_err(|error| format!("{error}"))?;
    check!(status == 0, "status {status}: {}", String::from_utf8_lossy(&output));
    before.check_same(&State::now()?)?;
    check!(linux::all().is_empty(), "{} processes are left", linux::all().len());
    Ok(())
}

/// What heap there is goes to one list: everything a program asks for fails, and says so.
pub fn u1_with_no_heap_at_all_system_calls_are_errors() -> Outcome {
    use alloc::vec::Vec;
    use core::hint::black_box;
    use machine::memory::fallible;
    let mut taken: Vec<Vec<u8>> = Vec::with_capacity(512);
    let mut size = 32 << 20;
    while size >= 64 && taken.len() < taken.capacity() {
        let mut block = Vec::new();
        match block.try_reserve_exact(size) {
            Ok(()) => taken.push(block),
            Err(_) => size /= 2,
        }
    }
    // Looked at, or the compiler would leave the allocations out, as ones that succeed.
    let boxed = black_box(fallible::boxed([0_u8; 512])).is_ok();
    let shared = black_box(fallible::shared([0_u8; 512])).is_ok();
    let text = black_box(fallible::bytes(&[0; 4096])).is_ok();
    let thread = sched::spawn_kernel("no room", |_| (), 0).map(|thread| thread.join());
    let program = run_captured("/bin/busybox", &[b"true"]).map(|(status, _)| status);
    drop(taken);
    check!(!boxed && !shared && !text, "room was found: {boxed} {shared} {text}");
    let _may_fit = thread;
    check!(program.is_err(), "a program has started: {program:?}");
    let (status, _) = run_captured("/bin/busybox", &[b"true"]).map_err(|e| format!("{e}"))?;
    check!(status == 0, "status {status} with room again");
    Ok(())
}

/// An unknown call is logged by number and name, once.
pub fn u1_p8_an_unknown_call_is_logged_once() -> Outcome {
    linux::dispatch::forget_logged();
    recorder::record_lines(true);
    let ran = run_captured("/kstack/bin/bad-pointers", &[b"bad-pointers"]);
    let lines = recorder::record_lines(false);
    let (status, _) = ran.map_err(|error| format!("{error}"))?;
    check!(status == 0, "status {status}");
    let told = |what: &str| lines.lines().filter(|line| line.contains(what)).count();
    check!(told("(nfsservctl) is not there: ENOSYS") == 1, "nfsservctl: {lines}");
    check!(told("9999 (no such call) is not there: ENOSYS") == 1, "9999: {lines}");
    Ok(())
}

/// Processes that a signal ends are told, and a program cannot fill the log with them.
pub fn u1_deaths_are_logged_and_not_without_end() -> Outcome {
    recorder::record_lines(true);
    let command = b"i=0; while [ $i -lt 60 ]; do sh -c 'kill -SEGV $$'; i=$((i+1)); done";
    let begun = threads::time::nanoseconds();
    let killed = run_captured("/kstack/bin/file-attacks", &[b"file-attacks", b"deaths"]);
    let ran = run_captured("/bin/busybox", &[b"sh", b"-c", command]);
    let lines = recorder::record_lines(false);
    killed.map_err(|error| format!("{error}"))?;
    ran.map_err(|error| format!("{error}"))?;
    let told = lines.lines().filter(|line| line.contains("is killed by signal 11")).count();
    // So many in each period, of which the first and the last may be cut short.
    let periods = (threads::time::nanoseconds() - begun) / 5_000_000_000 + 2;
    check!((1..=16 * periods as usize).contains(&told), "{told} deaths were told: {lines}");
    Ok(())
}

/// Makes so many calls; what is there before and after.
fn fuzz(seed: u64, calls: u64, run: impl FnOnce(&str, &str) -> Result<i32, String>) -> Outcome {
    make_what_is_kept()?;
    let before = State::now()?;
    let status = run(&format!("{seed}"), &format!("{calls}"))?;
    check!(status == 0, "the fuzzer's status is {status}");
    until("every process has ended", || linux::all().is_empty())?;
    let after = State::now()?;
    log!("fuzz: before {before:?}");
    log!("fuzz: after  {after:?}");
    before.check_same(&after)
}

pub fn u1_system_calls_with_any_arguments_break_nothing() -> Outcome {
    fuzz(SEED, CALLS, |seed, calls| {
        let argv = [b"fuzz", seed.as_bytes(), calls.as_bytes()];
        let (status, output) =
            run_captured("/kstack/bin/fuzz", &argv).map_err(|error| format!("{error}"))?;
        log!("{}", String::from_utf8_lossy(&output).trim_end());
        Ok(status)
    })
}

/// `mode=fuzz calls=N seed=S`: the same by command, with its progress on the console.
#[inline(never)]
pub fn fuzz_by_command() {
    // The kernel's own lines go to the control channel: a machine that says nothing there for long
    // hangs.
    log::leave_console_to_program();
    let number = |name: &str| options::get(name).and_then(|text| text.parse().ok());
    let (calls, seed) = (number("calls").unwrap_or(CALLS), number("seed").unwrap_or(SEED));
    let outcome = fuzz(seed, calls, |seed, calls| {
        let argv = [b"fuzz", seed.as_bytes(), calls.as_bytes()];
        linux::run("/kstack/bin/fuzz", &argv).map_err(|error| format!("{error}"))
    });
    match outcome {
        Ok(()) => control!("exit 0"),
        Err(message) => {
            log!("fuzz: {message}");
            control!("exit 1");
        }
    }
    control!("end");
}
