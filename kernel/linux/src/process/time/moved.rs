//! How many bytes threads have read and written, and by how many calls (`task_io_accounting`).

use super::spent::Moved;
use crate::error::SysResult;
use crate::process::{Process, current_task, task};
use threads::sched::Thread;

/// Counts a call that reads; gives its result on.
pub(crate) fn count_read(result: SysResult) -> SysResult {
    current_task().moved.count([0, 2], result);
    result
}

/// The same for one that writes.
pub(crate) fn count_write(result: SysResult) -> SysResult {
    current_task().moved.count([1, 3], result);
    result
}

/// Of a thread of a program: bytes read, bytes written, calls that read, calls that write.
pub(crate) fn of_thread(thread: &Thread) -> [u64; 4] {
    task::of(thread).map_or([0; 4], |task| task.moved.all())
}

/// Of a process: its threads, those that have ended, and children that were waited for.
pub(crate) fn of_process(process: &Process) -> [u64; 4] {
    process.crew.with(|threads| {
        let spent = process.spent.lock();
        let mut sum = spent.moved;
        let is_counted = |thread: &Thread| task::of(thread).is_some_and(|task| task.is_counted());
        for thread in threads.iter().filter(|thread| !is_counted(thread)) {
            sum = Moved::sum(sum, of_thread(thread));
        }
        sum
    })
}
