//! The names of the machine, which sethostname and setdomainname change: those of all, or those of
//! the processes that asked for their own (`CLONE_NEWUTS`).

use super::host_names::{HostNames, Numbered, Own};
use crate::error::Errno;
use crate::process::task;
use crate::spaces::user::Users;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched;

/// The number of the first namespace: `PROC_UTS_INIT_INO` (include/linux/proc_ns.h).
const FIRST_NUMBER: u64 = 0xefff_fffe;
/// Those of others: none is one of a mount namespace.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0xf800_0000);

static NAMES: SpinLock<HostNames> = SpinLock::new(HostNames::first());

fn own() -> Own {
    task::of(sched::current()).and_then(|task| task.process.host.lock().clone())
}

/// Calls `body` with the caller's names, under their lock.
pub(crate) fn with<R>(body: impl FnOnce(&mut HostNames) -> R) -> R {
    match own() {
        Some(own) => body(&mut own.names.lock()),
        None => body(&mut NAMES.lock()),
    }
}

/// The user namespace that the caller's names belong to.
pub(crate) fn owner() -> Users {
    own().and_then(|own| own.owner.clone())
}

/// The number that a namespace is known by.
pub(in crate::process) fn number(of: &Own) -> u64 {
    of.as_ref().map_or(FIRST_NUMBER, |own| own.number)
}

/// Names that begin as the caller's, and are changed for themselves.
pub(in crate::process) fn copy(owner: &Users) -> Result<Own, Errno> {
    let names = with(|names| names.clone());
    let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
    Ok(Some(fallible::shared(Numbered {
        number,
        owner: owner.clone(),
        names: SpinLock::new(names),
    })?))
}
