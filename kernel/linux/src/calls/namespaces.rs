//! setns: into a namespace that a file holds, or into those of a process.

use super::table::calls;
use crate::error::{Errno, SysResult};
use crate::process::clone_request::flag;
use crate::process::credentials::capability;
use crate::process::namespaces::{self, Held};
use crate::process::permissions::{self, Looks};
use crate::process::pidfd::Pidfd;
use crate::process::{Process, current, current_task};
use alloc::sync::Arc;

calls! {
    "setns" (file, kinds) => setns(file, kinds);
}

/// What /proc/PID/ns has.
const KINDS: u64 = flag::NEW_MOUNTS | flag::NEW_HOST;

fn setns(number: u64, kinds: u64) -> SysResult {
    let kinds = u64::from(kinds as u32);
    let file = current_task().files().lock().get(number)?.file;
    let object = file.object().ok_or(Errno::EINVAL)?;
    if let Some(held) = object.of_kind::<Held>() {
        let kind = match held {
            Held::Mounts(_) => flag::NEW_MOUNTS,
            Held::Host(_) => flag::NEW_HOST,
        };
        if kinds != 0 && kinds != kind {
            return Err(Errno::EINVAL);
        }
        check_may(kind)?;
        return enter(held);
    }
    let pidfd = object.of_kind::<Pidfd>().ok_or(Errno::EINVAL)?;
    if kinds == 0 || kinds & !KINDS != 0 {
        return Err(Errno::EINVAL);
    }
    let of: &Arc<Process> = pidfd.process()?;
    if of.status().is_some() {
        return Err(Errno::ESRCH);
    }
    if !permissions::may_look_into(of, Looks::AsReal) {
        return Err(Errno::EPERM);
    }
    // All of it, or nothing.
    check_may(kinds)?;
    if kinds & flag::NEW_HOST != 0 {
        enter(&Held::Host(of.host.lock().clone()))?;
    }
    if kinds & flag::NEW_MOUNTS != 0 {
        enter(&Held::Mounts(of.place().mounts()))?;
    }
    Ok(0)
}

/// Whether the caller may go there: where it is in the tree must be its alone.
fn check_may(kinds: u64) -> Result<(), Errno> {
    let task = current_task();
    let mine = task.credentials();
    let may_administrate = mine.can(capability::SYS_ADMIN);
    let may_change_root = mine.can(capability::SYS_CHROOT);
    let of_mounts = kinds & flag::NEW_MOUNTS != 0;
    if !may_administrate || of_mounts && !may_change_root {
        return Err(Errno::EPERM);
    }
    // The thread's or the process's reference, and this one.
    let is_shared = !task.has_place_alone() && current().crew.count() != 1
        || Arc::strong_count(&task.place()) > 2;
    if of_mounts && is_shared { Err(Errno::EINVAL) } else { Ok(()) }
}

fn enter(held: &Held) -> SysResult {
    match held {
        Held::Mounts(namespace) => namespaces::enter_mounts(namespace.clone())?,
        Held::Host(names) => namespaces::enter_host(names.clone()),
    }
    Ok(0)
}
