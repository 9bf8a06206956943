//! The file tree in memory: what the initramfs brought, and what programs add.
//!
//! # Invariants
//!
//! 1. Names change under [`CHANGING`], a sleeping lock: what was checked still holds when it is
//!    changed.
//! 2. A node is dropped outside every spinning lock, and a tree of nodes without recursion, however
//!    deep it is.
//! 3. Nothing changes before the last thing that can fail.

pub use super::node::{Content, Entry, Node, Special};
pub(crate) use super::node::{MAX_NAME, MAX_NAME_TEXT};

use super::mount_flags::flag;
use super::{mounts, text};
use crate::error::Errno;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched::Mutex;

/// Symbolic links followed in one path.
pub(crate) const MAX_LINKS: usize = 40;

static ROOT: SpinLock<Option<Arc<Node>>> = SpinLock::new(None);
/// Held while names change.
static CHANGING: Mutex<()> = Mutex::new(());
/// How often a name of a directory has changed or gone, and one.
static MOVES: AtomicU64 = AtomicU64::new(1);

pub fn root() -> Result<Arc<Node>, Errno> {
    if let Some(root) = &*ROOT.lock() {
        return Ok(root.clone());
    }
    let root = Node::directory()?;
    Ok(ROOT.lock().get_or_insert(root).clone())
}

/// What tells where a caller's root is (chroot(2)); `None`: at the tree's.
pub(crate) type RootOf = fn() -> Option<Arc<String>>;

static ROOT_OF: SpinLock<Option<RootOf>> = SpinLock::new(None);

/// From now on callers have roots of their own: files know no process, so it is set from outside.
pub(crate) fn set_root_of(root_of: RootOf) {
    *ROOT_OF.lock() = Some(root_of);
}

/// The caller's root, where it is not the tree's.
pub(crate) fn root_of_caller() -> Option<Arc<String>> {
    let root_of = *ROOT_OF.lock();
    root_of.and_then(|root_of| root_of())
}

/// A path as the caller means it, seen from a directory: it begins at the caller's root.
pub(crate) fn absolute_of_caller(directory: &str, path: &str) -> Result<String, Errno> {
    match root_of_caller() {
        Some(root) => absolute_below(&root, directory, path),
        None => absolute(directory, path),
    }
}

/// A path as seen from a directory: absolute, without `.`. What `..` leads to depends on links: it
/// stays until the path is walked. The root is `/`; no other path ends in one.
pub fn absolute(directory: &str, path: &str) -> Result<String, Errno> {
    absolute_below("", directory, path)
}

/// The same below a root, a path with no slash at its end.
fn absolute_below(root: &str, directory: &str, path: &str) -> Result<String, Errno> {
    let mut whole = String::new();
    let start = if path.starts_with('/') { root } else { directory };
    whole.try_reserve(start.len() + path.len() + 2).map_err(|_| Errno::ENOMEM)?;
    for part in start.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            part => {
                // CANNOT FAIL: all parts with a slash each were reserved above.
                whole.push('/');
                whole.push_str(part);
            }
        }
    }
    if whole.is_empty() {
        // CANNOT FAIL: reserved above.
        whole.push('/');
    }
    Ok(whole)
}

/// The path that `..` leads to from a directory's, a path with no link in it, with the rest of a
/// path behind it. No further up than the caller's root.
pub(crate) fn above(directory: &str, rest: &str) -> Result<String, Errno> {
    let root = root_of_caller();
    let is_root = root.as_deref().is_some_and(|root| root == directory);
    let end = if is_root { directory.len() } else { directory.rfind('/').unwrap_or(0) };
    absolute(&directory[..end], rest.trim_start_matches('/'))
}

/// As long as this is the same, each path without links leads to the directory that it led to.
pub(crate) fn moves() -> u64 {
    MOVES.load(Ordering::SeqCst)
}

/// A directory lies in another one from now on, or nowhere. Under [`CHANGING`], when it is done.
fn note_move(node: &Node, parent: Weak<Node>) {
    if node.is_directory() {
        node.set_parent(parent);
        MOVES.fetch_add(1, Ordering::SeqCst);
    }
}

/// The path that a directory has now. `ENOENT`: it was removed.
pub(crate) fn path_of(node: &Arc<Node>) -> Result<String, Errno> {
    let _no_changes = CHANGING.lock();
    let top = root()?;
    let mut names: Vec<String> = Vec::new();
    let mut node = node.clone();
    while !Arc::ptr_eq(&node, &top) {
        let Some(parent) = node.parent() else {
            node = mounts::under(&node).ok_or(Errno::ENOENT)?;
            continue;
        };
        let mut name = fallible::text("/")?;
        parent.push_name_of(&node, &mut name)?;
        names.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        // CANNOT FAIL: reserved above.
        names.push(name);
        node = parent;
    }
    let mut path = String::new();
    let bytes = names.iter().map(String::len).sum::<usize>().max(1);
    path.try_reserve(bytes).map_err(|_| Errno::ENOMEM)?;
    // CANNOT FAIL: reserved above.
    names.iter().rev().for_each(|name| path.push_str(name));
    if path.is_empty() {
        // CANNOT FAIL: reserved above.
        path.push('/');
    }
    Ok(path)
}

/// The parts of such a path.
pub fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

/// The node a path leads to. `follow`: also through a link at its end.
pub fn find(directory: &str, path: &str, follow: bool) -> Result<Arc<Node>, Errno> {
    Ok(find_with_path(absolute(directory, path)?, follow)?.0)
}

/// The node an absolute path leads to, and its path with no link in it. The walk ends where files
/// are made: the node is that of /proc then, and the path may go further.
pub fn find_with_path(path: String, follow: bool) -> Result<(Arc<Node>, String), Errno> {
    walk(path, follow, None)
}

/// The path that a path names in the end: if a link stands there, the one that it leads to, whether
/// anything is there or not. There is no link in it.
pub fn resolved(directory: &str, path: &str, follow: bool) -> Result<String, Errno> {
    let mut path = absolute(directory, path)?;
    for _ in 0..MAX_LINKS {
        let (lies_in, name) = path.rsplit_once('/').ok_or(Errno::ENOENT)?;
        let (_, real) = find_with_path(absolute("/", lies_in)?, true)?;
        path = absolute(&real, name)?;
        let node = match find("/", &path, false) {
            Ok(node) if follow => node,
            Ok(_) | Err(Errno::ENOENT) => return Ok(path),
            Err(error) => return Err(error),
        };
        let Content::Link(target) = &node.content else { return Ok(path) };
        let parent = path.rfind('/').unwrap_or(0);
        path = absolute_of_caller(&path[..parent], target)?;
    }
    Err(Errno::ELOOP)
}

/// From the root to where an absolute path leads, links followed. `EINVAL` if it leads through
/// `not_through`.
fn walk(
    mut path: String,
    follow: bool,
    not_through: Option<&Node>,
) -> Result<(Arc<Node>, String), Errno> {
    let is_forbidden =
        |node: &Arc<Node>| not_through.is_some_and(|other| core::ptr::eq(&**node, other));
    let mut links = MAX_LINKS;
    'from_the_root: loop {
        let mut node = root()?;
        let mut at = 1;
        while at < path.len() {
            let end = path[at..].find('/').map_or(path.len(), |length| at + length);
            let name = &path[at..end];
            if name == ".." && !matches!(node.content, Content::Special(Special::Proc)) {
                if !node.is_directory() {
                    return Err(Errno::ENOTDIR);
                }
                // Shorter each time: this comes to an end.
                path = above(&path[..at - 1], &path[end..])?;
                continue 'from_the_root;
            }
            if text::length(name) > MAX_NAME {
                return Err(Errno::ENAMETOOLONG);
            }
            if is_forbidden(&node) {
                return Err(Errno::EINVAL);
            }
            if matches!(node.content, Content::Special(Special::Proc)) {
                return Ok((node, path));
            }
            let child = mounts::top(node.child(name)?);
            if let Content::Link(target) = &child.content
                && (follow || end < path.len())
            {
                links = links.checked_sub(1).ok_or(Errno::ELOOP)?;
                if mounts::forbids(&path[..end], flag::NO_LINKS) {
                    return Err(Errno::ELOOP);
                }
                let rest = &path[end..];
                let mut next = absolute_of_caller(&path[..at], target)?;
                if !rest.is_empty() {
                    next.truncate(if next == "/" { 0 } else { next.len() });
                    next.try_reserve(rest.len()).map_err(|_| Errno::ENOMEM)?;
                    next.push_str(rest);
                }
                path = next;
                continue 'from_the_root;
            }
            node = child;
            at = end + 1;
        }
        return if is_forbidden(&node) { Err(Errno::EINVAL) } else { Ok((node, path)) };
    }
}

/// The directory a path's last part stands in, and that part.
fn parent_of(
    directory: &str,
    path: &str,
    not_through: Option<&Node>,
) -> Result<(Arc<Node>, String), Errno> {
    let mut path = absolute(directory, path)?;
    let at = path.rfind('/').unwrap_or(0);
    let name = fallible::text(&path[at + 1..])?;
    if name.is_empty() {
        return Err(Errno::EEXIST);
    }
    if text::length(&name) > MAX_NAME {
        return Err(Errno::ENAMETOOLONG);
    }
    path.truncate(at.max(1));
    let parent = walk(path, true, not_through)?.0;
    match parent.content {
        _ if name == ".." => Err(Errno::EEXIST),
        // Nothing can be made there, nor taken away.
        Content::Special(Special::Proc) => Err(Errno::ENOENT),
        _ => Ok((parent, name)),
    }
}

/// Adds a node where nothing is yet.
pub fn add(directory: &str, path: &str, node: Arc<Node>) -> Result<(), Errno> {
    let _one_at_a_time = CHANGING.lock();
    let (parent, name) = parent_of(directory, path, None)?;
    if parent.child(&name).is_ok() {
        return Err(Errno::EEXIST);
    }
    node.settle(parent.room())?;
    node.set_parent(Arc::downgrade(&parent));
    parent.with_names(|names| match names.get(&name) {
        Some(_) => Err(Errno::EEXIST),
        // Nothing is replaced, and the node has no users below it.
        None => Ok(names.set(name, node).map(|_nothing| ())?),
    })??;
    parent.attributes.was_written();
    Ok(())
}

/// Gives a node another name.
pub fn link(node: &Arc<Node>, path: &str) -> Result<(), Errno> {
    if node.is_directory() {
        return Err(Errno::EPERM);
    }
    add("/", path, node.clone())?;
    node.attributes.add_links(1);
    Ok(())
}

/// Takes a name out: of a file, or of an empty directory.
pub fn remove(directory: &str, path: &str, is_directory: bool) -> Result<(), Errno> {
    let taken = {
        let _one_at_a_time = CHANGING.lock();
        let (parent, name) = parent_of(directory, path, None)?;
        let node = parent.child(&name)?;
        if mounts::is_covered(&node) {
            return Err(Errno::EBUSY);
        }
        match node.is_empty() {
            Ok(_) if !is_directory => return Err(Errno::EISDIR),
            Ok(false) => return Err(Errno::ENOTEMPTY),
            Err(_) if is_directory => return Err(Errno::ENOTDIR),
            _ => {}
        }
        let taken = parent.with_names(|names| names.remove(&name))?;
        parent.attributes.was_written();
        note_move(&node, Weak::new());
        taken
    };
    let (_, node) = taken.ok_or(Errno::ENOENT)?;
    node.attributes.add_links(-1);
    // Dropped without a lock.
    drop(node);
    Ok(())
}

/// What `renameat2` may be asked for besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rename {
    /// What is there already is replaced if it is of the same kind and, a directory, empty.
    Replace,
    /// Nothing may be there.
    NoReplace,
    /// What is there takes the other's place.
    Exchange,
}

/// Moves a name, as Linux does.
pub fn rename(directory: &str, from: &str, to: &str, how: Rename) -> Result<(), Errno> {
    let replaced = {
        let _one_at_a_time = CHANGING.lock();
        let node = find(directory, from, false)?;
        let (from_parent, from_name) = parent_of(directory, from, None)?;
        let changed = |parents: [&Node; 2], moved: &[&Node]| {
            parents.iter().for_each(|parent| parent.attributes.was_written());
            moved.iter().for_each(|node| node.attributes.changed());
        };
        if from_parent.child(&from_name).is_ok_and(|node| mounts::is_covered(&node)) {
            return Err(Errno::EBUSY);
        }
        // Not into itself, at any depth.
        let (to_parent, to_name) = parent_of(directory, to, Some(&*node))?;
        match to_parent.child(&to_name) {
            Ok(_) if how == Rename::NoReplace => return Err(Errno::EEXIST),
            Ok(there) if Arc::ptr_eq(&there, &node) => return Ok(()),
            Ok(there) if how == Rename::Exchange => {
                // Nor the other one into itself.
                parent_of(directory, from, Some(&*there))?;
                changed([&from_parent, &to_parent], &[&node, &there]);
                // Both names are there: nothing is added, and nothing can fail.
                let first = from_parent.with_names(|names| names.set(from_name, there))??;
                let second = to_parent.with_names(|names| names.set(to_name, node.clone()))??;
                note_move(&node, Arc::downgrade(&to_parent));
                if let Some(there) = &second {
                    note_move(there, Arc::downgrade(&from_parent));
                }
                drop((first, second));
                return Ok(());
            }
            Ok(there) => match (node.is_directory(), there.is_empty()) {
                (true, Err(_)) => return Err(Errno::ENOTDIR),
                (false, Ok(_)) => return Err(Errno::EISDIR),
                (true, Ok(false)) => return Err(Errno::ENOTEMPTY),
                _ => {}
            },
            Err(Errno::ENOENT) if how != Rename::Exchange => {}
            Err(error) => return Err(error),
        }
        let replaced = to_parent.with_names(|names| names.set(to_name, node.clone()))??;
        changed([&from_parent, &to_parent], &[&node]);
        let before = from_parent.with_names(|names| names.remove(&from_name));
        note_move(&node, Arc::downgrade(&to_parent));
        if let Some(replaced) = &replaced {
            replaced.attributes.add_links(-1);
            note_move(replaced, Weak::new());
        }
        (replaced, before)
    };
    // Dropped without a lock.
    drop(replaced);
    Ok(())
}

/// A symbolic link.
pub fn link_to(target: &str) -> Result<Arc<Node>, Errno> {
    Node::new(Content::Link(fallible::text(target)?), 0o777)
}
