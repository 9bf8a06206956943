//! Kernel stacks under real programs: what a system call, a switch and an overflow mean for a
//! process.

use super::signals::program;
use super::support::{free_frames, runs_beside_itself, stack_at, until};
use super::{Outcome, check};
use crate::provoke::{self, How};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use kstack::kind::StackKind;
use kstack::unwind::{End, Step};
use kstack::verdict::{Consequence, Side};
use linux::run_captured;
use machine::spin::SpinLock;
use threads::report::overflow;
use threads::sched::TASKS;
use threads::{sched, stacks};

/// What busybox's shell says to a command, and its status.
fn shell(command: &str) -> Result<(i32, String), String> {
    let (status, output) = run_captured("/bin/busybox", &[b"sh", b"-c", command.as_bytes()])
        .map_err(|e| format!("{e}"))?;
    Ok((status, String::from_utf8_lossy(&output).into_owned()))
}

/// Busybox says what it is told.
fn check_busybox() -> Outcome {
    let (status, output) = shell("echo one | busybox cat; echo two")?;
    check!(status == 0 && output == "one\ntwo\n", "status {status}, {output:?}");
    Ok(())
}

/// More of them than CPUs, each with its own values in every register; red if a switch forgets to
/// save or to load.
pub fn s1_floating_point_registers_of_programs_are_kept_apart() -> Outcome {
    runs_beside_itself("/kstack/bin/float-keeper")
}

/// Six that are started at the same moment, five times, each there until it has seen all. Red when
/// two of them are process 1: a signal for the group of one then reaches the other.
pub fn p2_programs_that_start_at_once_have_numbers_of_their_own() -> Outcome {
    const PROGRAMS: usize = 6;
    const SEE_ALL: &str = "mkdir -p /tmp/started; >/tmp/started/$$; i=0; \
         while [ $(ls /tmp/started | wc -l) -lt 6 ]; do \
         i=$((i + 1)); [ $i -lt 500 ] || exit 3; sleep 0.02; done";
    static STATUSES: SpinLock<Vec<i32>> = SpinLock::new(Vec::new());
    fn run(_: usize) {
        let status = shell(SEE_ALL).map_or(-1, |(status, _)| status);
        STATUSES.lock().push(status);
    }
    for round in 0..5 {
        STATUSES.lock().clear();
        let threads: Result<Vec<_>, _> =
            (0..PROGRAMS).map(|_| sched::spawn_kernel("starting", run, 0)).collect();
        for thread in threads.map_err(|error| format!("{error:?}"))? {
            thread.join();
        }
        shell("rm -r /tmp/started")?;
        let statuses = STATUSES.lock().clone();
        check!(statuses == [0; PROGRAMS], "round {round}: statuses {statuses:?}");
    }
    Ok(())
}

/// By the only counter there is, which stands in the only function that makes threads: a kernel
/// thread, the first thread of a program, fork, vfork.
pub fn s3_p2_kernel_threads_and_processes_come_from_one_place() -> Outcome {
    let made_by = |body: &dyn Fn() -> Outcome| -> Result<u32, String> {
        let before = sched::created_count();
        body()?;
        Ok(sched::created_count() - before)
    };
    let kernel = made_by(&|| {
        sched::spawn_kernel("one", |_| (), 0).map_err(|e| format!("{e:?}"))?.join();
        Ok(())
    })?;
    check!(kernel == 1, "a kernel thread counts {kernel} times");
    let program = made_by(&|| {
        let ran = run_captured("/bin/busybox", &[b"true"]).map_err(|e| format!("{e}"))?;
        check!(ran.0 == 0, "status {}", ran.0);
        Ok(())
    })?;
    check!(program == 1, "a program counts {program} times");
    // A pipe of two processes: the shell and two children, by fork.
    let piped = made_by(&check_busybox)?;
    check!(piped == 3, "a shell with a pipe of two counts {piped} times, not 3");
    Ok(())
}

/// The process dies as by a fatal signal, its shell continues and says so; the report names the
/// stack and goes back to user mode; the machine makes a thousand threads, runs busybox, and it is
/// all done again, both ways.
pub fn o1_o5_an_overflow_in_a_programs_system_call_kills_it_and_the_machine_goes_on() -> Outcome {
    static ALIVE: AtomicU32 = AtomicU32::new(0);
    check_busybox()?;
    let live = stacks::census().live;
    for how in [How::Recursion, How::GiantFrame, How::Recursion, How::GiantFrame] {
        let _old = overflow::take_last_report();
        let status = provoke::in_syscall(how)?;
        check!(status == 128 + 11, "{how:?}: status {status}, not that of SIGSEGV");
        let report = overflow::take_last_report().ok_or("there is no report")?;
        let verdict = &report.verdict;
        check!(verdict.stack.kind == StackKind::Thread, "{verdict:?}");
        check!(verdict.side == Side::Below, "{verdict:?}");
        check!(verdict.consequence == Consequence::EndThread, "{verdict:?}");
        check!(verdict.stack.owner == report.context.thread, "{verdict:?}");
        let steps = report.backtrace.steps();
        let boundary = steps.iter().any(|(step, _)| matches!(step, Step::UserBoundary(_)));
        check!(boundary, "{how:?}: no boundary to user mode in {steps:x?}");
        check!(report.backtrace.end() == Some(End::Reliable), "{:?}", report.backtrace.end());
        // A child of the shell before may still have been on its way out when they were counted:
        // fewer is fine.
        until("no more stacks are live than before", || stacks::census().live <= live)?;
        ALIVE.store(0, Ordering::Relaxed);
        for _ in 0..1000 {
            let body = |_| _ = ALIVE.fetch_add(1, Ordering::Relaxed);
            sched::spawn_kernel("after", body, 0).map_err(|e| format!("{e:?}"))?.join();
        }
        check!(ALIVE.load(Ordering::Relaxed) == 1000, "{ALIVE:?} threads of 1000 lived");
        check_busybox()?;
    }
    // The shell that waits for such a process lives on.
    let word = "busybox sh -c 'echo recurse > /proc/kstack/provoke'; echo status $?";
    let (status, output) = shell(word)?;
    check!(status == 0 && output.ends_with("status 139\n"), "status {status}, {output:?}");
    Ok(())
}

/// Of another process, asleep in a system call: its functions by name, to the boundary of user
/// mode.
pub fn b4_proc_pid_stack_shows_where_another_process_sleeps() -> Outcome {
    let (status, output) =
        shell("busybox sleep 1000 & busybox sleep 1; busybox cat /proc/$!/stack; kill $!")?;
    let flat = output.replace('\n', ";");
    check!(status == 0 && output.contains("sleep"), "status {status}, {flat}");
    check!(output.contains("wait"), "no waiting function in {flat}");
    check!(output.contains("user mode"), "no boundary in {flat}");
    Ok(())
}

/// What busybox reads in a file of the slab cache that threads lie in.
fn task_struct(file: &str) -> Result<usize, String> {
    let (status, output) = shell(&format!("busybox cat /sys/kernel/slab/task_struct/{file}"))?;
    check!(status == 0, "{file}: status {status}, {output:?}");
    output.trim().parse().map_err(|_| format!("{file}: {output:?}"))
}

/// Forty sleeping threads are forty more objects of the cache, on no stack; ended, they are gone
/// and counted. Red if threads came from the general heap (the counts stand still), or lay on their
/// stacks.
pub fn t14_threads_lie_in_a_slab_cache_of_their_own_whose_counts_a_program_reads() -> Outcome {
    const THREADS: usize = 40;
    static DOORS: sched::WaitQueue = sched::WaitQueue::new();
    static OPEN: AtomicU32 = AtomicU32::new(0);
    fn wait(_: usize) {
        DOORS.wait_uninterruptibly(|| OPEN.load(Ordering::Acquire) != 0);
    }
    OPEN.store(0, Ordering::Release);
    let size = task_struct("object_size")?;
    check!(size >= size_of::<sched::Thread>() && size % 64 == 0, "objects of {size} bytes");
    check!(task_struct("objs_per_slab")? == (4096 - 64) / size, "of {size} bytes");
    let _settled = free_frames()?;
    let before = TASKS.counts();
    let threads: Result<Vec<_>, _> =
        (0..THREADS).map(|_| sched::spawn_kernel("lying", wait, 0)).collect();
    let threads = threads.map_err(|error| format!("{error:?}"))?;
    let during = TASKS.counts();
    let allocated = task_struct("alloc_calls");
    let lie: Outcome = sched::all().iter().try_for_each(|thread| {
        let at = alloc::sync::Arc::as_ptr(thread) as usize;
        check!(stack_at(at).is_none(), "{} lies on a stack, at {at:#x}", thread.name());
        check!((at & 4095) + size_of::<sched::Thread>() <= 4096, "{at:#x} is in two slabs");
        Ok(())
    });
    OPEN.store(1, Ordering::Release);
    DOORS.wake_all();
    threads.iter().for_each(|thread| thread.join());
    drop(threads);
    until("the threads' objects are back", || TASKS.counts().objects == before.objects)?;
    lie?;
    check!(during.objects == before.objects + THREADS, "{before:?}, then {during:?}");
    check!(during.slabs >= during.objects.div_ceil(during.objects_per_slab), "{during:?}");
    let after = TASKS.counts();
    check!(after.freed >= before.freed + THREADS as u64, "{before:?}, then {after:?}");
    check!(after.slabs < during.slabs, "no slab was given back: {during:?}, then {after:?}");
    check!(allocated? as u64 >= before.allocated + THREADS as u64, "{before:?}");
    Ok(())
}

/// Options of sockets: room, times, switches; what they do. Red when setsockopt knows switches
/// alone.
pub fn u1_what_is_set_of_a_socket_is_kept_and_has_its_effect() -> Outcome {
    program("socket-options", "all")
}

/// Red when another writer comes between the pieces of a vector, or they are several messages.
pub fn u1_the_pieces_of_a_vector_go_through_a_pipe_or_a_socket_at_once() -> Outcome {
    program("pipes", "vectors")
}

/// Red when packets are joined, a rest of one is kept, or a pipe holds more of them than on Linux.
pub fn u1_a_pipe_that_is_opened_for_packets_keeps_them_apart() -> Outcome {
    program("later-rules", "packets")
}

/// Red when a program has capabilities that are not ambient, or root's where root gave them up.
pub fn p2_ambient_capabilities_go_along_and_no_others() -> Outcome {
    program("later-rules", "ambient")
}

/// Red when getrusage or /proc does not count how a thread leaves its CPU, to sleep or for others.
pub fn p2_p4_threads_that_leave_their_cpus_are_counted() -> Outcome {
    program("later-rules", "switches")
}

/// Red when /proc/PID/stat says that a program lies elsewhere, or says it to a stranger.
pub fn p4_stat_says_where_a_program_and_its_strings_lie() -> Outcome {
    program("later-rules", "extents")
}

/// Red when a process whose first thread has left looks alive, or is reaped before its end.
pub fn p2_p4_a_first_thread_that_has_left_is_a_zombie_until_the_end() -> Outcome {
    program("later-rules", "leader")
}

/// Red when a program on another CPU still reads, or writes, a page that was cut off its file: the
/// frame is another program's by then.
pub fn u1_a_file_that_is_cut_is_cut_on_every_cpu() -> Outcome {
    program("other-cpus", "cut")
}

/// Red when a program on another CPU does not see what is written to it.
pub fn u1_what_is_written_to_a_process_is_there_on_every_cpu() -> Outcome {
    program("other-cpus", "written")
}

/// Red when sched_setaffinity returns while another thread is still where it may not be.
pub fn p2_a_thread_is_where_it_may_be_as_soon_as_that_is_said() -> Outcome {
    program("other-cpus", "kept")
}

/// Red when advice about another process's memory does something else than on Linux.
pub fn p2_u1_advice_may_be_given_for_other_processes() -> Outcome {
    program("other-cpus", "advised")
}

/// Red when the memory of a dying process is not given back, or that of a living one is.
pub fn p2_u1_memory_of_a_dying_process_can_be_taken_at_once() -> Outcome {
    program("other-cpus", "released")
}

/// Red when a local socket holds more, or less, than was said, or than Linux lets one.
pub fn u1_a_local_socket_holds_as_much_as_it_is_told_to() -> Outcome {
    program("socket-bounds", "bounds")
}

/// Red when a call of a socket waits longer than SO_RCVTIMEO or SO_SNDTIMEO say.
pub fn u1_calls_of_a_local_socket_wait_as_long_as_they_are_told_to() -> Outcome {
    program("socket-bounds", "times")
}

/// Red when a send that may wait ends before all is sent.
pub fn u1_a_send_that_may_wait_sends_all() -> Outcome {
    program("socket-bounds", "whole")
}

/// Red when a key, a number or a name leads into another namespace, or what was in one outlives it.
pub fn p2_u1_what_has_a_key_is_of_its_namespace_and_goes_with_it() -> Outcome {
    program("namespaces", "ipc")
}

/// Red when sendmmsg or recvmmsg count or keep apart otherwise than Linux.
pub fn u1_many_messages_go_with_one_call() -> Outcome {
    program("socket-bounds", "many")
}

/// Red when closing a descriptor of O_PATH ends the process's locks of the file.
pub fn u1_a_descriptor_that_is_only_a_place_ends_no_locks() -> Outcome {
    program("socket-bounds", "places")
}
