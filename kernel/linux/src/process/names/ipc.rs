//! Which namespace of what is shared by number, key and name a process is in.

use super::ipc_spaces::{Own, number};
use crate::ipc::semaphores;
use crate::process::{Process, current};

/// That of the caller's.
pub(crate) fn here() -> u64 {
    number(&current().ipc.lock())
}

/// Puts a process into one. What it has to be undone is of the one before.
pub(crate) fn enter(process: &Process, own: Own) {
    semaphores::process_ends(process.id);
    leave_for(process, own);
}

/// The process has ended: it is in none of its own any more.
pub(in crate::process) fn leave(process: &Process) {
    leave_for(process, None);
}

fn leave_for(process: &Process, own: Own) {
    let before = core::mem::replace(&mut *process.ipc.lock(), own);
    // What goes with it goes without the lock.
    drop(before);
}
