//! setns: into a namespace that a file holds, or into those of a process.

use super::table::calls;
use crate::error::{Errno, SysResult};
use crate::process::identity::credentials::capability;
use crate::process::identity::permissions::{self, Looks};
use crate::process::identity::users;
use crate::process::life::clone_request::flag;
use crate::process::names::ipc;
use crate::process::names::namespaces::{self, Held};
use crate::process::names::pidfd::Pidfd;
use crate::process::time::times;
use crate::process::{Process, current, current_task};
use alloc::sync::Arc;

calls! {
    "setns" (file, kinds) => setns(file, kinds);
}

/// What /proc/PID/ns has.
const KINDS: u64 = flag::NEW_MOUNTS
    | flag::NEW_HOST
    | flag::NEW_IPC
    | flag::NEW_PID
    | flag::NEW_USER
    | flag::NEW_TIME;

/// `CLONE_NEWCGROUP`.
const NEW_CGROUP: u64 = 0x200_0000;

/// What there is one of, in which all are: a file of it there is not.
const ONE_OF_EACH: u64 = flag::NEW_NET | NEW_CGROUP;

fn setns(number: u64, kinds: u64) -> SysResult {
    let kinds = u64::from(kinds as u32);
    let file = current_task().files().lock().get(number)?.file;
    let object = file.object().ok_or(Errno::EINVAL)?;
    if let Some(held) = object.of_kind::<Held>() {
        let kind = held.kind();
        if kinds != 0 && kinds != kind {
            return Err(Errno::EINVAL);
        }
        check_may(held)?;
        return enter(held);
    }
    let pidfd = object.of_kind::<Pidfd>().ok_or(Errno::EINVAL)?;
    if kinds == 0 || kinds & !(KINDS | ONE_OF_EACH) != 0 {
        return Err(Errno::EINVAL);
    }
    let of: &Arc<Process> = pidfd.process()?;
    if of.status().is_some() {
        return Err(Errno::ESRCH);
    }
    if kinds & ONE_OF_EACH != 0 {
        return Err(Errno::EINVAL);
    }
    if !permissions::may_look_into(of, Looks::AsReal) {
        return Err(Errno::EPERM);
    }
    let all = [
        Held::User(of.credentials().space.clone()),
        Held::Host(of.host.lock().clone()),
        Held::Ipc(of.ipc.lock().clone()),
        Held::Pid(of.space.clone()),
        Held::Time(of.times()),
        Held::Mounts(of.place().mounts()),
    ];
    let asked = || all.iter().filter(|held| kinds & held.kind() != 0);
    // All of it, or nothing: in another user namespace the caller has all capabilities.
    if kinds & flag::NEW_USER == 0 {
        asked().try_for_each(check_may)?;
    }
    for held in asked() {
        check_may(held)?;
        enter(held)?;
    }
    Ok(0)
}

/// Whether the caller may go there: where it is in the tree must be its alone.
fn check_may(held: &Held) -> Result<(), Errno> {
    let task = current_task();
    let mine = task.credentials();
    let of_mounts = matches!(held, Held::Mounts(_));
    let may_here = mine.can_here(capability::SYS_ADMIN)
        && (!of_mounts || mine.can_here(capability::SYS_CHROOT));
    if let Held::User(_) = held {
        return Ok(());
    }
    if !may_here || !mine.can_in(&held.owner(), capability::SYS_ADMIN) {
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
        Held::Ipc(own) => ipc::enter(current(), own.clone()),
        Held::Pid(space) => namespaces::enter_pid(space.clone())?,
        Held::Time(space) => times::enter(space.clone())?,
        Held::User(space) => users::enter(space.clone())?,
    }
    Ok(0)
}
