//! Programs as files of the tree: which file a call names, whether it may be run, its bytes.

use crate::error::Errno;
use crate::files::mount_flags::flag;
use crate::files::mounts;
use crate::files::open::Target;
use crate::files::spot::Known;
use crate::files::tree::{Content, Node};
use crate::memory::object::Object;
use crate::process::identity::credentials::SetIds;
use crate::process::identity::permissions;
use crate::process::running::Running;
use crate::process::walk::{self, Place, Route};
use crate::process::{Process, current, current_task, table, task};
use crate::spaces::user::{self, Kind};
use alloc::borrow::Cow;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use machine::memory::fallible;
use threads::sched::Thread;

/// A file that may be run.
#[derive(Debug)]
pub(crate) struct Executable {
    node: Arc<Node>,
    /// By which name, with no link in its path.
    pub(super) known: Arc<Known>,
}

impl Executable {
    /// A node, if it may be run.
    pub(crate) fn of(node: Arc<Node>, known: Arc<Known>) -> Result<Self, Errno> {
        match node.content {
            Content::File(_) => {}
            // A link that was not to be followed.
            Content::Link(_) => return Err(Errno::ELOOP),
            _ => return Err(Errno::EACCES),
        }
        // Also the superuser runs nothing that has no such bit for anyone.
        if node.attributes.permissions() & 0o111 == 0 {
            return Err(Errno::EACCES);
        }
        permissions::check(&node.stat(), permissions::EXECUTE)?;
        // Before what is in it is looked at.
        if node.attributes.is_written() {
            return Err(Errno::ETXTBSY);
        }
        Ok(Self { node, known })
    }

    /// Whom it makes of who runs it.
    pub(super) fn set_ids(&self) -> Result<SetIds, Errno> {
        const USER: u32 = 0o4000;
        // Without the right to run it, the group's bit means something else (locks).
        const GROUP: u32 = 0o2010;
        let stat = self.node.stat_of_access();
        if stat.mode & (USER | GROUP) == 0 {
            return Ok(SetIds::default());
        }
        let process = current();
        let all = current_task().credentials();
        let is_there = user::inside(&all.space, Kind::Users, stat.user).is_some()
            && user::inside(&all.space, Kind::Groups, stat.group).is_some();
        if !is_there
            || shares_its_place(process)?
            || process.attributes.no_new_privileges.load(Ordering::Relaxed)
            || mounts::forbids(|| self.known.path(), flag::NO_SET_ID)?
        {
            return Ok(SetIds::default());
        }
        Ok(SetIds {
            user: (stat.mode & USER != 0).then_some(stat.user),
            group: (stat.mode & GROUP == GROUP).then_some(stat.group),
        })
    }

    /// A process begins to run it.
    pub(super) fn begin(self) -> Result<Arc<Running>, Errno> {
        Running::begin(self.node, self.known)
    }

    /// What its pages are mapped from.
    pub(super) fn object(&self) -> Result<Arc<Object>, Errno> {
        Object::of(self.node.clone(), self.known.clone(), false)
    }

    /// What is in it.
    pub(super) fn bytes(&self) -> Result<Cow<'static, [u8]>, Errno> {
        if let Some(bytes) = self.node.in_archive() {
            return Ok(Cow::Borrowed(bytes));
        }
        let bytes = usize::try_from(self.node.bytes()).map_err(|_| Errno::ENOMEM)?;
        let mut file = Vec::new();
        file.try_reserve_exact(bytes).map_err(|_| Errno::ENOMEM)?;
        file.resize(bytes, 0);
        let read = self.node.read_at(0, &mut file)?;
        file.truncate(read);
        Ok(Cow::Owned(file))
    }
}

/// Whether another process shares the caller's directory and root (CLONE_FS): it could lead astray
/// what may more than itself.
fn shares_its_place(process: &Process) -> Result<bool, Errno> {
    let place = current_task().place();
    let is_it = |thread: &Arc<Thread>| {
        task::of(thread).is_some_and(|task| Arc::ptr_eq(&task.place(), &place))
    };
    let others = table::all()?;
    let mut others = others.iter().filter(|other| other.id != process.id);
    Ok(others.any(|other| other.crew.with(|threads| threads.iter().any(is_it))))
}

/// The file that a path leads to, if it may be run. `follow`: also through a link at its end.
pub(crate) fn open(route: Route, follow: bool) -> Result<Executable, Errno> {
    match walk::find(route, follow)? {
        Place::Node(node, lies) => {
            if mounts::forbids(|| lies.path(), flag::NO_PROGRAMS)? {
                return Err(Errno::EACCES);
            }
            let known = lies.keep(&node)?;
            Executable::of(node, known)
        }
        Place::Made(_) | Place::Open(_) => Err(Errno::EACCES),
    }
}

/// The file that a descriptor leads to, if it may be run.
pub(crate) fn of_descriptor_number(number: u64) -> Result<Executable, Errno> {
    let descriptor = current_task().files().lock().get(number)?;
    match &descriptor.file.target {
        Target::Node(node, known) => Executable::of(node.clone(), known.clone()),
        _ => Err(Errno::EACCES),
    }
}

pub(super) fn joined<S: AsRef<[u8]>>(argv: &[S]) -> Result<Arc<Vec<u8>>, Errno> {
    let mut line = Vec::new();
    let bytes = argv.iter().map(|argument| argument.as_ref().len() + 1).sum();
    line.try_reserve_exact(bytes).map_err(|_| Errno::ENOMEM)?;
    for argument in argv {
        // CANNOT FAIL: reserved above.
        line.extend_from_slice(argument.as_ref());
        line.push(0);
    }
    Ok(fallible::shared(line)?)
}

pub(super) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
