//! CPU time, and what else was used: of a thread, of a process, and of children that were waited
//! for.
//!
//! What a thread has used in all is exact; how much of it in user mode is told from the ticks that
//! found it there, as Linux tells it (`cputime_adjust`). No figure ever falls: what was shown last
//! is kept.

use super::moved;
use super::spent::{CpuTimes, Moved, Usage};
use crate::process::{Process, task};
use core::sync::atomic::Ordering;
use threads::sched::Thread;

fn sum(one: [u64; 2], other: [u64; 2]) -> [u64; 2] {
    [one[0] + other[0], one[1] + other[1]]
}

/// Of a process, all its threads together, those that have ended too.
pub(crate) fn of_process(process: &Process) -> CpuTimes {
    process.crew.with(|threads| {
        let mut spent = process.spent.lock();
        let (mut total, mut ticks) = (spent.total, spent.ticks);
        let is_counted = |thread: &Thread| task::of(thread).is_some_and(|task| task.is_counted());
        for thread in threads.iter().filter(|thread| !is_counted(thread)) {
            total += thread.cpu_time().nanoseconds();
            ticks = sum(ticks, thread.cpu_time().ticks());
        }
        spent.shown.split(total, ticks)
    })
}

/// Of a thread of a program.
pub(crate) fn of_thread(thread: &Thread) -> CpuTimes {
    let (total, ticks) = (thread.cpu_time().nanoseconds(), thread.cpu_time().ticks());
    match task::of(thread) {
        Some(task) => task.shown.lock().split(total, ticks),
        None => CpuTimes::default(),
    }
}

/// What a process has used. Its memory is not locked here: the most it had is that of the program
/// before, or what `peak` says.
pub(crate) fn usage_of_process(process: &Process, peak: u64) -> Usage {
    let times = of_process(process);
    let faults = process.faults.load(Ordering::Relaxed);
    let switches = switches_of(process);
    Usage { times, peak: peak.max(process.spent.lock().peak), faults, switches }
}

/// How often the threads of a process have left their CPUs.
fn switches_of(process: &Process) -> [u64; 2] {
    process.crew.with(|threads| {
        let before = process.spent.lock().switches;
        let is_counted = |thread: &Thread| task::of(thread).is_some_and(|task| task.is_counted());
        let counted = threads.iter().filter(|thread| !is_counted(thread));
        counted.fold(before, |all, thread| sum(all, thread.cpu_time().switches()))
    })
}

/// Of a child that has ended, or has news, and of the children it has waited for, together.
pub(in crate::process) fn of_process_and_children(process: &Process) -> Usage {
    usage_of_process(process, 0).with(of_children(process))
}

/// Of the children of a process that it has waited for, and of theirs.
pub(crate) fn of_children(process: &Process) -> Usage {
    process.spent.lock().children
}

/// A thread of the process is about to leave its crew: from here on its time is the process's.
pub(in crate::process) fn keep(process: &Process, thread: &Thread) {
    let Some(task) = task::of(thread) else { return };
    let mut spent = process.spent.lock();
    if task.set_counted() {
        spent.total += thread.cpu_time().nanoseconds();
        spent.ticks = sum(spent.ticks, thread.cpu_time().ticks());
        spent.switches = sum(spent.switches, thread.cpu_time().switches());
        spent.moved = Moved::sum(spent.moved, moved::of_thread(thread));
    }
}

/// A child has been waited for.
pub(in crate::process) fn add_child(parent: &Process, child: &Process) {
    let used = of_process_and_children(child);
    let moved = moved::of_process(child);
    let mut spent = parent.spent.lock();
    spent.moved = Moved::sum(spent.moved, moved);
    spent.children = spent.children.with(used);
}
