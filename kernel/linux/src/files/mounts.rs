//! Directories that others lie over (mount(2)): file systems in memory, and parts of the tree that
//! are seen in a second place.
//!
//! They lie there for the processes of one mount namespace: of the first one, or of one that began
//! as a copy of another (`CLONE_NEWNS`) and changes for itself from then on, which is what Linux
//! calls private. Files know no process: what the caller's namespace is, is asked of [`Current`],
//! which is there as soon as there is a second one.

use super::made::Seen;
use super::mount_flags::{Rules, flag};
use super::node::Node;
use crate::error::Errno;
use crate::spaces::user::{self, Users};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;

/// Mounts of a namespace at one time: each step of a path looks through them.
const MOST: usize = 256;

/// The number of the first namespace; those of others follow (include/linux/proc_ns.h leaves them
/// to the allocator of numbers).
const FIRST_NUMBER: u64 = 0xf000_0000;

/// A directory over another.
#[derive(Debug)]
pub(crate) struct Mount {
    over: Arc<Node>,
    root: Arc<Node>,
    /// Where it is.
    pub(crate) path: String,
    source: String,
    kind: &'static str,
    /// What is made there when it is read: of /proc, as which mount of it.
    made: Option<(Made, Seen)>,
    rules: Rules,
    /// It is there as what it is seen in was bound, and goes with that.
    is_along: bool,
    /// It came from a namespace of another user namespace: it cannot be taken away alone.
    is_locked: bool,
}

/// What is made when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    Proc,
    Sys,
    /// Control groups.
    Groups,
}

impl Made {
    /// The kind of its file system.
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::Proc => "proc",
            Self::Sys => "sysfs",
            Self::Groups => "cgroup2",
        }
    }

    /// Where it always is; groups are nowhere before they are mounted.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Proc => "proc",
            Self::Sys => "sys",
            Self::Groups => "cgroup",
        }
    }
}

impl Mount {
    fn copy(&self) -> Result<Self, Errno> {
        Ok(Self {
            over: self.over.clone(),
            root: self.root.clone(),
            path: fallible::text(&self.path)?,
            source: fallible::text(&self.source)?,
            kind: self.kind,
            made: self.made.clone(),
            rules: self.rules,
            is_along: self.is_along,
            is_locked: self.is_locked,
        })
    }
}

type List = SpinLock<Vec<Mount>>;

/// A mount namespace that is not the first one.
#[derive(Debug)]
pub(crate) struct Namespace {
    number: u64,
    /// The user namespace that it belongs to.
    owner: Users,
    list: List,
}

impl Namespace {
    pub(crate) const fn owner(&self) -> &Users {
        &self.owner
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        COUNT.fetch_sub(self.list.lock().len(), Ordering::SeqCst);
    }
}

/// Which namespace the caller is in; `None`: the first one.
pub(crate) type Current = fn() -> Option<Arc<Namespace>>;

static FIRST: List = SpinLock::new(Vec::new());
/// Of all namespaces.
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// Whether /proc or /sys was ever mounted at another place, or once more.
static HAS_MADE: AtomicBool = AtomicBool::new(false);
/// Whether a mount ever had flags that matter.
static HAS_RULES: AtomicBool = AtomicBool::new(false);
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(FIRST_NUMBER + 1);
static CURRENT: SpinLock<Option<Current>> = SpinLock::new(None);

/// Calls `body` with the mounts of a namespace.
fn with_list<R>(of: Option<&Namespace>, body: impl FnOnce(&mut Vec<Mount>) -> R) -> R {
    body(&mut of.map_or(&FIRST, |own| &own.list).lock())
}

/// The same with those of the caller's. The namespace outlives the lock.
fn with<R>(body: impl FnOnce(&mut Vec<Mount>) -> R) -> R {
    let current = *CURRENT.lock();
    let own = current.and_then(|current| current());
    with_list(own.as_deref(), body)
}

/// A namespace that begins as another one; `current` tells from now on which one a caller is in.
pub(crate) fn copy(
    of: Option<&Namespace>,
    owner: &Users,
    current: Current,
) -> Result<Arc<Namespace>, Errno> {
    // What was hidden from who has less to say stays so.
    let is_locked = !user::is_same(owner, &of.and_then(|of| of.owner.clone()));
    let mut list = Vec::new();
    loop {
        let wanted = with_list(of, |mounts| mounts.len());
        list.try_reserve(wanted).map_err(|_| Errno::ENOMEM)?;
        let copied = with_list(of, |mounts| {
            if mounts.len() > list.capacity() {
                return Ok(false);
            }
            for mount in mounts.iter() {
                let rules = if is_locked { mount.rules.locked() } else { mount.rules };
                let is_locked = mount.is_locked || is_locked;
                // CANNOT FAIL: there is room for all of them.
                list.push(Mount { is_locked, rules, ..mount.copy()? });
            }
            Ok::<_, Errno>(true)
        })?;
        if copied {
            break;
        }
    }
    COUNT.fetch_add(list.len(), Ordering::SeqCst);
    let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
    let owner = owner.clone();
    let made = fallible::shared(Namespace { number, owner, list: SpinLock::new(list) })?;
    *CURRENT.lock() = Some(current);
    Ok(made)
}

/// The number that a namespace is known by.
pub(crate) fn number(of: Option<&Namespace>) -> u64 {
    of.map_or(FIRST_NUMBER, |own| own.number)
}

/// What lies over a node, or the node itself.
pub(super) fn top(mut node: Arc<Node>) -> Arc<Node> {
    if COUNT.load(Ordering::Relaxed) == 0 {
        return node;
    }
    // What it was is dropped behind the lock.
    let mut under = None;
    with(|mounts| {
        // No more steps than there are mounts: each lies over what was there before it.
        for _ in 0..mounts.len() {
            match mounts.iter().find(|mount| Arc::ptr_eq(&mount.over, &node)) {
                Some(mount) if !Arc::ptr_eq(&mount.root, &node) => {
                    let before = core::mem::replace(&mut node, mount.root.clone());
                    // The first one is the caller's; the others are the mounts' as well.
                    under.get_or_insert(before);
                }
                _ => break,
            }
        }
    });
    node
}

/// Whether something lies over a node: its name stays then.
pub(super) fn is_covered(node: &Arc<Node>) -> bool {
    COUNT.load(Ordering::Relaxed) != 0
        && with(|mounts| mounts.iter().any(|mount| Arc::ptr_eq(&mount.over, node)))
}

/// What is to lie over a directory.
#[derive(Debug)]
pub(crate) struct New<'n> {
    pub(crate) root: Arc<Node>,
    pub(crate) source: &'n str,
    pub(crate) kind: &'static str,
    pub(crate) made: Option<(Made, Seen)>,
    pub(crate) rules: Rules,
    pub(crate) is_along: bool,
}

/// Puts a directory over another.
pub(crate) fn add(over: Arc<Node>, path: &str, new: New<'_>) -> Result<(), Errno> {
    let New { root, source, kind, made, rules, is_along } = new;
    let (path, source) = (fallible::text(path)?, fallible::text(source)?);
    let is_made = made.is_some();
    let mount = Mount { over, root, path, source, kind, made, rules, is_along, is_locked: false };
    with(|mounts| {
        if mounts.len() >= MOST {
            return Err(Errno::ENOSPC);
        }
        mounts.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        // CANNOT FAIL: reserved above.
        mounts.push(mount);
        COUNT.fetch_add(1, Ordering::SeqCst);
        if is_made {
            HAS_MADE.store(true, Ordering::SeqCst);
        }
        if rules != Rules::new(0) {
            HAS_RULES.store(true, Ordering::SeqCst);
        }
        Ok(())
    })
}

/// Whether a node is what was put over another.
pub(crate) fn is_root(node: &Arc<Node>) -> bool {
    with(|mounts| mounts.iter().any(|mount| Arc::ptr_eq(&mount.root, node)))
}

/// What of /proc or /sys is at an absolute path: which of the two, in which mount, and how many
/// bytes of the path lead to it.
pub(crate) fn made_at(path: &str) -> Option<(Made, Seen, usize)> {
    if !HAS_MADE.load(Ordering::Relaxed) {
        return None;
    }
    with(|mounts| {
        let mount = mounts.iter().rev().find(|mount| is_below(path, &mount.path))?;
        let (made, view) = mount.made.as_ref()?;
        Some((*made, view.clone(), mount.path.len()))
    })
}

/// Whether a path is another one, or leads below it.
fn is_below(path: &str, place: &str) -> bool {
    let rest = path.strip_prefix(place);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || place == "/")
}

/// The rules of the mount that an absolute path is in.
pub(crate) fn rules_at(path: &str) -> Rules {
    let first = Rules::new(0);
    if !HAS_RULES.load(Ordering::Relaxed) {
        return first;
    }
    with(|mounts| {
        let mount = mounts.iter().rev().find(|mount| is_below(path, &mount.path));
        mount.map_or(first, |mount| mount.rules)
    })
}

/// Which mount an absolute path is in, among those that there are now; `None`: the first.
pub(crate) fn which_at(path: &str) -> Option<usize> {
    if COUNT.load(Ordering::Relaxed) == 0 {
        return None;
    }
    with(|mounts| mounts.iter().rposition(|mount| is_below(path, &mount.path)))
}

/// The rules of the mount that something is in. Its path is put together only where there are any.
pub(crate) fn rules_of(path: impl FnOnce() -> Result<String, Errno>) -> Result<Rules, Errno> {
    if !HAS_RULES.load(Ordering::Relaxed) {
        return Ok(Rules::new(0));
    }
    path().map(|path| rules_at(&path))
}

/// Whether a mount forbids something of what is at a path.
pub(crate) fn forbids(
    path: impl FnOnce() -> Result<String, Errno>,
    what: u32,
) -> Result<bool, Errno> {
    Ok(rules_of(path)?.flags() & what != 0)
}

/// `EROFS`: what is at a path cannot be changed.
pub(crate) fn check_change(path: impl FnOnce() -> Result<String, Errno>) -> Result<(), Errno> {
    if forbids(path, flag::READ_ONLY)? { Err(Errno::EROFS) } else { Ok(()) }
}

/// Changes the flags of the mount at exactly this path.
pub(crate) fn change(path: &str, flags: u32) -> Result<(), Errno> {
    with(|mounts| {
        let mount = mounts.iter_mut().rev().find(|mount| mount.path == path);
        let mount = mount.ok_or(Errno::EINVAL)?;
        mount.rules = mount.rules.change(flags)?;
        HAS_RULES.store(true, Ordering::SeqCst);
        Ok(())
    })
}

/// What is made when it is read below a path, in the order of their mounts, by the rest of the
/// path: those that were mounted.
pub(crate) fn made_below(path: &str) -> Result<Vec<(String, Made, Seen)>, Errno> {
    let mut all = Vec::new();
    with(|mounts| {
        for mount in mounts.iter().filter(|mount| is_below(&mount.path, path)) {
            let Some((made, view)) = &mount.made else { continue };
            let rest = mount.path.strip_prefix(path.trim_end_matches('/')).unwrap_or("");
            fallible::push(&mut all, (fallible::text(rest)?, *made, view.clone()))?;
        }
        Ok::<_, Errno>(())
    })?;
    Ok(all)
}

/// Whether something is mounted below a path, not counting what is at it and what is along.
pub(crate) fn has_below(path: &str) -> bool {
    with(|mounts| {
        let is_own = |mount: &&Mount| !mount.is_along && mount.path != path;
        mounts.iter().filter(is_own).any(|mount| is_below(&mount.path, path))
    })
}

/// Takes what is mounted at a path and below it away, and gives it out.
pub(crate) fn remove_all(path: &str) -> Result<Vec<Mount>, Errno> {
    let mut taken = Vec::new();
    with(|mounts| {
        let is_meant = |mount: &Mount| is_below(&mount.path, path);
        let at = mounts.iter().rposition(|mount| mount.path == path).ok_or(Errno::EINVAL)?;
        if mounts[at].is_locked {
            return Err(Errno::EINVAL);
        }
        // The others at the same path lie below this one, and stay.
        let count = mounts.iter().filter(|mount| is_meant(mount)).count();
        taken.try_reserve(count).map_err(|_| Errno::ENOMEM)?;
        let mut index = mounts.len();
        while index > 0 {
            index -= 1;
            let is_it = index == at;
            if is_it || mounts[index].path != path && is_meant(&mounts[index]) {
                COUNT.fetch_sub(1, Ordering::SeqCst);
                // CANNOT FAIL: reserved above.
                taken.push(mounts.remove(index));
            }
        }
        Ok(())
    })?;
    Ok(taken)
}

/// Whether a path of /proc or /sys is in one that is mounted.
pub(crate) fn is_elsewhere(path: &str) -> bool {
    made_at(path).is_some()
}

/// Whether /proc or /sys was mounted at exactly this path.
pub(crate) fn is_root_of_made(path: &str) -> bool {
    made_at(path).is_some_and(|(_, _, length)| length == path.len())
}

/// Lines of /proc/PID/mounts.
pub(crate) fn write_all(of: Option<&Namespace>, to: &mut dyn Write) -> fmt::Result {
    with_list(of, |mounts| {
        mounts.iter().try_for_each(|mount| {
            write!(to, "{} {} {} ", mount.source, mount.path, mount.kind)?;
            mount.rules.write(to)?;
            writeln!(to, " 0 0")
        })
    })
}

/// Lines of /proc/PID/mountinfo.
pub(crate) fn write_info(of: Option<&Namespace>, to: &mut dyn Write) -> fmt::Result {
    with_list(of, |mounts| {
        mounts.iter().zip(4..).try_for_each(|(mount, number)| {
            let Mount { path, kind, source, .. } = mount;
            write!(to, "{number} 1 0:{number} / {path} ")?;
            mount.rules.write(to)?;
            writeln!(to, " - {kind} {source} rw")
        })
    })
}
