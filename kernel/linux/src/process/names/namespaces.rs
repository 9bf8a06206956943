//! Namespaces as files (namespaces(7)): what /proc/PID/ns leads to, and what setns takes; and the
//! root that a process sees.

use super::host;
use super::host_names::Own;
use super::ipc_spaces;
use crate::abi::Stat;
use crate::error::{Errno, SysResult};
use crate::files::mounts::{self, Namespace};
use crate::files::object::{Caller, Object};
use crate::files::open::{Descriptor, OpenFile};
use crate::files::spot::Spot;
use crate::files::tree;
use crate::process::identity::users;
use crate::process::life::clone_request::flag;
use crate::process::place::Place;
use crate::process::time::times;
use crate::process::{Process, current, current_task, table, task};
use crate::spaces::pid;
use crate::spaces::time::{self, Times};
use crate::spaces::user::{self, Kind, Users};
use alloc::sync::Arc;
use machine::memory::fallible;
use threads::sched;

/// The kinds that there is more than one of, by their names.
pub(crate) const NAMES: [&str; 8] =
    ["ipc", "mnt", "pid", "pid_for_children", "time", "time_for_children", "user", "uts"];

/// A namespace that a file holds.
#[derive(Debug)]
pub(crate) enum Held {
    Mounts(Option<Arc<Namespace>>),
    Host(Own),
    Ipc(ipc_spaces::Own),
    Pid(pid::Own),
    User(Users),
    Time(Times),
}

impl Held {
    /// The flag of clone that asks for one like it.
    pub(crate) const fn kind(&self) -> u64 {
        match self {
            Self::Mounts(_) => flag::NEW_MOUNTS,
            Self::Host(_) => flag::NEW_HOST,
            Self::Ipc(_) => flag::NEW_IPC,
            Self::Pid(_) => flag::NEW_PID,
            Self::User(_) => flag::NEW_USER,
            Self::Time(_) => flag::NEW_TIME,
        }
    }

    /// The user namespace that it belongs to; of one of those, the one that it lies in.
    pub(crate) fn owner(&self) -> Users {
        match self {
            Self::Mounts(own) => own.as_ref().and_then(|own| own.owner().clone()),
            Self::Host(own) => own.as_ref().and_then(|own| own.owner.clone()),
            Self::Ipc(own) => own.as_ref().and_then(|own| own.owner.clone()),
            Self::Pid(own) => own.as_ref().and_then(|own| own.owner.clone()),
            Self::User(own) => own.as_ref().and_then(|own| own.parent().clone()),
            Self::Time(own) => own.as_ref().and_then(|own| own.owner.clone()),
        }
    }

    fn number(&self) -> u64 {
        match self {
            Self::Mounts(own) => mounts::number(own.as_deref()),
            Self::Host(own) => host::number(own),
            Self::Ipc(own) => ipc_spaces::number(own),
            Self::Pid(own) => pid::number(own),
            Self::User(own) => user::number(own),
            Self::Time(own) => time::number(own),
        }
    }
}

impl Object for Held {
    fn stat(&self) -> Stat {
        /// The number of the file system, which no other file is of.
        const DEVICE: u64 = 4;
        let (inode, mode) = (self.number(), 0o100444);
        Stat { inode, mode, links: 1, file_system: DEVICE, ..Stat::default() }
    }

    fn ioctl(&self, request: u32, argument: u64, caller: &dyn Caller) -> SysResult {
        ioctl(self, request, argument, caller)
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Mounts(_) => "mnt",
            Self::Host(_) => "uts",
            Self::Ipc(_) => "ipc",
            Self::Pid(_) => "pid",
            Self::User(_) => "user",
            Self::Time(_) => "time",
        }
    }
}

/// A namespace of a process by the name of its kind, as a file.
pub(crate) fn file(of: &Process, name: &str) -> Result<Arc<OpenFile>, Errno> {
    let held = match name {
        "mnt" => Held::Mounts(of.place().mounts()),
        "uts" => Held::Host(of.host.lock().clone()),
        "ipc" => Held::Ipc(of.ipc.lock().clone()),
        "pid" => Held::Pid(of.space.clone()),
        "time" => Held::Time(of.times.lock().clone()),
        "time_for_children" => Held::Time(times::space_of_children(of)),
        "user" => Held::User(of.credentials().space.clone()),
        "pid_for_children" => {
            let first = of.crew.find(of.id).ok_or(Errno::ENOENT)?;
            let space = task::of(&first).ok_or(Errno::ENOENT)?.space_of_children();
            // Before it has a first process, it is not to be seen.
            if space.as_ref().is_some_and(|space| space.last() == 0) {
                return Err(Errno::ENOENT);
            }
            Held::Pid(space)
        }
        _ => return Err(Errno::ENOENT),
    };
    OpenFile::of_object(fallible::shared(held)?, 0)
}

/// Gives the caller a namespace of a process by the name of its kind.
pub(crate) fn give_of(of: &Process, name: &str) -> SysResult {
    current_task().give(Descriptor { file: file(of, name)?, close_on_exec: true }, 0)
}

/// Gives the caller a namespace as a descriptor.
fn give(held: Held) -> SysResult {
    let file = OpenFile::of_object(fallible::shared(held)?, 0)?;
    current_task().give(Descriptor { file, close_on_exec: true }, 0)
}

/// What a namespace is asked (ioctl_ns(2)).
fn ioctl(held: &Held, request: u32, argument: u64, caller: &dyn Caller) -> SysResult {
    const OWNER: u32 = 0xb701;
    const PARENT: u32 = 0xb702;
    const KIND: u32 = 0xb703;
    const OWNER_USER: u32 = 0xb704;
    /// `_IOR(0xb7, 6, int)` and those behind it: a number of a thread or process there as the
    /// caller knows it, and one that the caller knows as it is there.
    const THREAD_FROM: u32 = 0x8004_b706;
    const PROCESS_FROM: u32 = 0x8004_b707;
    const THREAD_IN: u32 = 0x8004_b708;
    const PROCESS_IN: u32 = 0x8004_b709;
    match (request, held) {
        (KIND, _) => Ok(held.kind()),
        (PARENT, Held::Pid(own)) => {
            // Only of what lies in the caller's own.
            let parent = own.as_ref().map(|own| own.parent()).ok_or(Errno::EPERM)?;
            if !pid::is_within(parent, &current().space) {
                return Err(Errno::EPERM);
            }
            give(Held::Pid(parent.clone()))
        }
        // The user namespace around it: only what lies in the caller's own.
        (OWNER, _) | (PARENT, Held::User(_)) => {
            let owner = match held {
                Held::User(None) => return Err(Errno::EPERM),
                held => held.owner(),
            };
            if !user::is_within(&owner, &users::here()) {
                return Err(Errno::EPERM);
            }
            give(Held::User(owner))
        }
        (PARENT, _) => Err(Errno::EINVAL),
        (OWNER_USER, Held::User(own)) => {
            let owner = own.as_ref().map_or(0, |own| own.owner.0);
            caller.put(argument, &users::told(Kind::Users, owner).to_le_bytes())?;
            Ok(0)
        }
        (OWNER_USER, _) => Err(Errno::EINVAL),
        (THREAD_FROM | PROCESS_FROM | THREAD_IN | PROCESS_IN, Held::Pid(own)) => {
            let here = &current().space;
            let (from, to) = if request <= PROCESS_FROM { (own, here) } else { (here, own) };
            let number = pid::global(from, argument & 0xffff_ffff).ok_or(Errno::ESRCH)?;
            let (process, _) = table::find_thread(None, number).ok_or(Errno::ESRCH)?;
            let is_of_process = matches!(request, PROCESS_FROM | PROCESS_IN);
            let number = if is_of_process { process.id } else { number };
            match pid::local(to, number) {
                0 => Err(Errno::ESRCH),
                number => Ok(number),
            }
        }
        (THREAD_FROM | PROCESS_FROM | THREAD_IN | PROCESS_IN, _) => Err(Errno::EINVAL),
        _ => Err(Errno::ENOTTY),
    }
}

/// That of the calling thread.
fn mounts_here() -> Option<Arc<Namespace>> {
    task::of(sched::current()).and_then(|task| task.place().mounts())
}

/// The calling thread's root, where it is not the tree's.
fn root_here() -> Option<Spot> {
    task::of(sched::current()).and_then(|task| task.place().root_directory())
}

/// Makes a directory the root of the caller's paths (chroot(2)). Its current directory stays.
pub(crate) fn set_root(to: Spot) -> Result<(), Errno> {
    let root = if to.is_same(&Spot::top()?) { None } else { Some(to) };
    tree::set_root_of(root_here);
    let before = current_task().place().set_root_directory(root);
    drop(before);
    Ok(())
}

/// The caller's mounts, to be changed for themselves from now on.
pub(in crate::process) fn copy_of_mounts(owner: &Users) -> Result<Arc<Namespace>, Errno> {
    mounts::copy(mounts_here().as_deref(), owner, mounts_here)
}

/// Puts the caller into the mount namespace; it is at the root of it then.
pub(crate) fn enter_mounts(namespace: Option<Arc<Namespace>>) -> Result<(), Errno> {
    let place = current_task().place();
    let root = Place::top()?;
    let before =
        (place.set_mounts(namespace), place.set_directory(root), place.set_root_directory(None));
    drop(before);
    Ok(())
}

/// Gives the caller the names of a host-name namespace.
pub(crate) fn enter_host(names: Own) {
    let before = core::mem::replace(&mut *current().host.lock(), names);
    drop(before);
}

/// Has what the caller makes from now on be in a PID namespace: its own, or one that lies in it.
pub(crate) fn enter_pid(space: pid::Own) -> Result<(), Errno> {
    if !pid::is_within(&space, &current().space) {
        return Err(Errno::EINVAL);
    }
    current_task().set_space_of_children(space);
    Ok(())
}
