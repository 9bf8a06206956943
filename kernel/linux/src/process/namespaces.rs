//! Namespaces as files (namespaces(7)): what /proc/PID/ns leads to, and what setns takes; and the
//! root that a process sees.

use super::host_names::Own;
use super::{Process, current, current_task, host, task};
use crate::abi::Stat;
use crate::error::Errno;
use crate::files::mounts::{self, Namespace};
use crate::files::object::Object;
use crate::files::open::OpenFile;
use crate::files::tree;
use alloc::string::String;
use alloc::sync::Arc;
use machine::memory::fallible;
use threads::sched;

/// The kinds that there is more than one of, by their names.
pub(crate) const NAMES: [&str; 2] = ["mnt", "uts"];

/// A namespace that a file holds.
#[derive(Debug)]
pub(crate) enum Held {
    Mounts(Option<Arc<Namespace>>),
    Host(Own),
}

impl Held {
    fn number(&self) -> u64 {
        match self {
            Self::Mounts(own) => mounts::number(own.as_deref()),
            Self::Host(own) => host::number(own),
        }
    }
}

impl Object for Held {
    fn stat(&self) -> Stat {
        Stat { inode: self.number(), mode: 0o100444, links: 1, ..Stat::default() }
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Mounts(_) => NAMES[0],
            Self::Host(_) => NAMES[1],
        }
    }
}

/// A namespace of a process by the name of its kind, as a file.
pub(crate) fn file(of: &Process, name: &str) -> Result<Arc<OpenFile>, Errno> {
    let held = match name {
        "mnt" => Held::Mounts(of.place().mounts()),
        "uts" => Held::Host(of.host.lock().clone()),
        _ => return Err(Errno::ENOENT),
    };
    OpenFile::of_object(fallible::shared(held)?, 0)
}

/// That of the calling thread.
fn mounts_here() -> Option<Arc<Namespace>> {
    task::of(sched::current()).and_then(|task| task.place().mounts())
}

/// The calling thread's root, where it is not the tree's.
fn root_here() -> Option<Arc<String>> {
    task::of(sched::current()).and_then(|task| task.place().root_directory())
}

/// Makes a directory the root of the caller's paths (chroot(2)). Its current directory stays.
pub(crate) fn set_root(path: String) -> Result<(), Errno> {
    let root = if path == "/" { None } else { Some(fallible::shared(path)?) };
    tree::set_root_of(root_here);
    let before = current_task().place().set_root_directory(root);
    drop(before);
    Ok(())
}

/// The caller's mounts, to be changed for themselves from now on.
pub(super) fn copy_of_mounts() -> Result<Arc<Namespace>, Errno> {
    mounts::copy(mounts_here().as_deref(), mounts_here)
}

/// Puts the caller into the mount namespace; it is at the root of it then.
pub(crate) fn enter_mounts(namespace: Option<Arc<Namespace>>) -> Result<(), Errno> {
    let place = current_task().place();
    let root = fallible::shared(fallible::text("/")?)?;
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
