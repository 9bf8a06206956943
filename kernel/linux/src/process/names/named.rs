//! Processes and threads by the numbers that the caller knows them by.

use super::numbers::meant;
use crate::process::{Process, table};
use alloc::sync::Arc;
use threads::sched::Thread;

/// The process with a number, as the caller knows it.
pub(crate) fn find(number: u64) -> Option<Arc<Process>> {
    table::find(meant(number))
}

/// The same by any of its threads.
pub(crate) fn find_by_any(number: u64) -> Option<Arc<Process>> {
    let number = meant(number);
    table::find(number).or_else(|| table::find_thread(None, number).map(|(process, _)| process))
}

/// A living thread with a number, of the process with that number if one is given, as the caller
/// knows them.
pub(crate) fn find_thread(
    process: Option<u64>,
    thread: u64,
) -> Option<(Arc<Process>, Arc<Thread>)> {
    table::find_thread(process.map(meant), meant(thread))
}
