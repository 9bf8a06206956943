//! Namespaces of what programs share by number, key and name (`CLONE_NEWIPC`, ipc_namespaces(7)):
//! segments, semaphores, messages by key, and message queues by name.
//!
//! The tables of these are common to all; what is in them says whose it is. With the last process
//! of a namespace, and the last file that holds it, what is in it goes.

use crate::error::Errno;
use crate::files::message_queue;
use crate::ipc::{messages, semaphores};
use crate::memory::segments;
use crate::spaces::user::Users;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::memory::fallible;

/// The number of the first namespace: `PROC_IPC_INIT_INO` (include/linux/proc_ns.h).
const FIRST_NUMBER: u64 = 0xefff_ffff;
/// Those of others: none is one of another kind.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0xfa00_0000);

/// A namespace that a process made.
#[derive(Debug)]
pub(crate) struct IpcSpace {
    number: u64,
    pub(super) owner: Users,
}

/// What a process is in; `None`: the first one.
pub(crate) type Own = Option<Arc<IpcSpace>>;

impl Drop for IpcSpace {
    fn drop(&mut self) {
        segments::space_ends(self.number);
        semaphores::space_ends(self.number);
        messages::space_ends(self.number);
        message_queue::space_ends(self.number);
    }
}

/// The number that a namespace is known by.
pub(in crate::process) fn number(of: &Own) -> u64 {
    of.as_ref().map_or(FIRST_NUMBER, |own| own.number)
}

/// An empty one.
pub(in crate::process) fn fresh(owner: &Users) -> Result<Own, Errno> {
    let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
    Ok(Some(fallible::shared(IpcSpace { number, owner: owner.clone() })?))
}
