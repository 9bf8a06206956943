//! The names of the machine, which sethostname and setdomainname change: those of all, or those of
//! the processes that asked for their own (`CLONE_NEWUTS`).

use super::host_names::{HostNames, Own};
use super::task;
use crate::error::Errno;
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched;

static NAMES: SpinLock<HostNames> = SpinLock::new(HostNames::first());

fn own() -> Own {
    task::of(sched::current()).and_then(|task| task.process.host.lock().clone())
}

/// Calls `body` with the caller's names, under their lock.
pub(crate) fn with<R>(body: impl FnOnce(&mut HostNames) -> R) -> R {
    match own() {
        Some(own) => body(&mut own.lock()),
        None => body(&mut NAMES.lock()),
    }
}

/// Names that begin as the caller's, and are changed for themselves.
pub(super) fn copy() -> Result<Own, Errno> {
    let names = with(|names| names.clone());
    Ok(Some(fallible::shared(SpinLock::new(names))?))
}
