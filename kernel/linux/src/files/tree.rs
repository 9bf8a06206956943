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
pub(crate) use super::spot::root;

use super::inotify::{self, bit};
use super::mount_flags::flag;
use super::spot::{Known, Lies, Spot, moving};
use super::{mounts, text};
use crate::error::Errno;
use alloc::string::String;
use alloc::sync::Arc;
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched::Mutex;

/// Symbolic links followed in one path.
pub(crate) const MAX_LINKS: usize = 40;

/// Held while names change.
static CHANGING: Mutex<()> = Mutex::new(());

/// What tells where a caller's root is (chroot(2)); `None`: at the tree's.
pub(crate) type RootOf = fn() -> Option<Spot>;

static ROOT_OF: SpinLock<Option<RootOf>> = SpinLock::new(None);

/// From now on callers have roots of their own: files know no process, so it is set from outside.
pub(crate) fn set_root_of(root_of: RootOf) {
    *ROOT_OF.lock() = Some(root_of);
}

/// The caller's root, where it is not the tree's.
pub(crate) fn root_of_caller() -> Option<Spot> {
    let root_of = *ROOT_OF.lock();
    root_of.and_then(|root_of| root_of())
}

/// Where the caller's paths begin.
pub(crate) fn start_of_caller() -> Result<Spot, Errno> {
    root_of_caller().map_or_else(Spot::top, Ok)
}

/// A path as seen from a directory: absolute, without `.`. What `..` leads to depends on links: it
/// stays until the path is walked. The root is `/`; no other path ends in one.
pub fn absolute(directory: &str, path: &str) -> Result<String, Errno> {
    let start = if path.starts_with('/') { "" } else { directory };
    let mut whole = String::new();
    whole.try_reserve(start.len() + path.len() + 2).map_err(|_| Errno::ENOMEM)?;
    for part in parts(start).chain(parts(path)).filter(|&part| part != ".") {
        // CANNOT FAIL: all parts with a slash each were reserved above.
        whole.push('/');
        whole.push_str(part);
    }
    if whole.is_empty() {
        // CANNOT FAIL: reserved above.
        whole.push('/');
    }
    Ok(whole)
}

/// The parts of a path, and of another behind it, with one slash between two, and none at either
/// end; without `.`.
pub(crate) fn plain(path: &str, rest: &str) -> Result<String, Errno> {
    let mut plain = String::new();
    plain.try_reserve(path.len() + rest.len() + 1).map_err(|_| Errno::ENOMEM)?;
    for part in parts(path).chain(parts(rest)).filter(|&part| part != ".") {
        // CANNOT FAIL: all parts with a slash each were reserved above.
        if !plain.is_empty() {
            plain.push('/');
        }
        plain.push_str(part);
    }
    Ok(plain)
}

/// The parts of such a path.
pub fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

/// Whether a walk may pass through a directory.
pub(crate) type May<'m> = &'m dyn Fn(&Node) -> Result<(), Errno>;

/// Where a walk has ended.
#[derive(Debug)]
pub(crate) enum Walked {
    /// At a node.
    Node(Arc<Node>, Lies),
    /// Where files are made when they are read: at the node of the whole of them, and the absolute
    /// path that the walk led to, which may go further.
    Made(Arc<Node>, String),
}

/// The node a path leads to. `follow`: also through a link at its end.
pub fn find(directory: &str, path: &str, follow: bool) -> Result<Arc<Node>, Errno> {
    let path = plain(if path.starts_with('/') { "" } else { directory }, path)?;
    match walk(Spot::top()?, path, follow, &|_| Ok(()))? {
        Walked::Node(node, _) | Walked::Made(node, _) => Ok(node),
    }
}

/// From a directory to where a plain path leads, links followed.
pub(crate) fn walk(
    from: Spot,
    mut path: String,
    follow: bool,
    may: May<'_>,
) -> Result<Walked, Errno> {
    let mut links = MAX_LINKS;
    let (mut here, mut at) = (from, 0);
    while at < path.len() {
        let end = path[at..].find('/').map_or(path.len(), |length| at + length);
        let (name, is_last) = (&path[at..end], end == path.len());
        may(here.node())?;
        if name == ".." {
            here = above(here)?;
            at = end + 1;
            continue;
        }
        if text::length(name) > MAX_NAME {
            return Err(Errno::ENAMETOOLONG);
        }
        let under = here.node().child(name)?;
        let child = mounts::top(under.clone());
        match &child.content {
            Content::Link(target) if follow || !is_last => {
                links = links.checked_sub(1).ok_or(Errno::ELOOP)?;
                if mounts::forbids(|| here.path_of(name), flag::NO_LINKS)? {
                    return Err(Errno::ELOOP);
                }
                let next = plain(target, &path[end..])?;
                if target.starts_with('/') {
                    here = start_of_caller()?;
                }
                (path, at) = (next, 0);
                continue;
            }
            Content::Special(Special::Proc) => {
                let mut whole = here.path_of(name)?;
                whole.try_reserve(path.len() - end).map_err(|_| Errno::ENOMEM)?;
                // CANNOT FAIL: reserved above.
                whole.push_str(&path[end..]);
                return Ok(Walked::Made(child, whole));
            }
            Content::Directory(_) => {
                let is_over = !Arc::ptr_eq(&under, &child);
                here = here.below(child, name, is_over)?;
            }
            _ if is_last => return Ok(Walked::Node(child, Lies::In(here, fallible::text(name)?))),
            _ => return Err(Errno::ENOTDIR),
        }
        at = end + 1;
    }
    Ok(Walked::Node(here.node().clone(), Lies::Here(here)))
}

/// Where `..` leads to: no further up than the caller's root.
fn above(here: Spot) -> Result<Spot, Errno> {
    if root_of_caller().is_some_and(|root| root.is_same(&here)) {
        return Ok(here);
    }
    match here.above() {
        Some(above) => Ok(above),
        None if Arc::ptr_eq(here.node(), &root()?) => Ok(here),
        // It was removed, and the one that it was in has gone with it.
        None => Err(Errno::ENOENT),
    }
}

/// The directory that a path's last part stands in, and that part.
#[derive(Debug)]
pub(crate) enum Parent {
    In(Spot, String),
    /// Where files are made when they are read: the whole path.
    Made(String),
}

/// Where the last part of a plain path stands. `EEXIST`: it is no name.
pub(crate) fn parent(from: Spot, mut path: String, may: May<'_>) -> Result<Parent, Errno> {
    let at = path.rfind('/');
    let name = fallible::text(&path[at.map_or(0, |at| at + 1)..])?;
    path.truncate(at.unwrap_or(0));
    let directory = walk(from, path, true, may)?;
    if matches!(&*name, "" | "..") {
        return Err(Errno::EEXIST);
    }
    match directory {
        Walked::Node(_, Lies::Here(spot)) => {
            may(spot.node())?;
            if text::length(&name) > MAX_NAME {
                return Err(Errno::ENAMETOOLONG);
            }
            Ok(Parent::In(spot, name))
        }
        Walked::Node(..) => Err(Errno::ENOTDIR),
        Walked::Made(_, whole) => Ok(Parent::Made(absolute(&whole, &name)?)),
    }
}

/// Adds a node at an absolute path where nothing is yet.
pub fn add(directory: &str, path: &str, node: Arc<Node>) -> Result<(), Errno> {
    match parent(Spot::top()?, plain(directory, path)?, &|_| Ok(()))? {
        Parent::In(spot, name) => add_in(&spot, &name, node),
        Parent::Made(_) => Err(Errno::ENOENT),
    }
}

/// Takes a name at an absolute path out: of a file, or of an empty directory.
pub fn remove(directory: &str, path: &str, is_directory: bool) -> Result<(), Errno> {
    match parent(Spot::top()?, plain(directory, path)?, &|_| Ok(()))? {
        Parent::In(spot, name) => remove_in(&spot, &name, is_directory),
        Parent::Made(_) => Err(Errno::ENOENT),
    }
}

/// Adds a node to a directory where nothing is yet.
pub(crate) fn add_in(spot: &Spot, name: &str, node: Arc<Node>) -> Result<(), Errno> {
    put_in(spot, name, node.clone())?;
    inotify::tell_name(spot.node(), name, &node, bit::CREATE, 0);
    Ok(())
}

fn put_in(spot: &Spot, name: &str, node: Arc<Node>) -> Result<(), Errno> {
    let _one_at_a_time = CHANGING.lock();
    if spot.is_gone() {
        return Err(Errno::ENOENT);
    }
    let parent = spot.node();
    if parent.child(name).is_ok() {
        return Err(Errno::EEXIST);
    }
    node.settle(parent.room())?;
    let (key, own) = (fallible::text(name)?, name_of_directory(&node, name)?);
    node.set_place(parent, own);
    parent.with_names(|names| match names.get(name) {
        Some(_) => Err(Errno::EEXIST),
        // Nothing is replaced, and the node has no users below it.
        None => Ok(names.set(key, node).map(|_nothing| ())?),
    })??;
    parent.attributes.was_written();
    Ok(())
}

/// What a node keeps of its name: nothing, if it is no directory.
fn name_of_directory(node: &Node, name: &str) -> Result<String, Errno> {
    Ok(fallible::text(if node.is_directory() { name } else { "" })?)
}

/// Gives a node another name.
pub(crate) fn link_in(node: &Arc<Node>, spot: &Spot, name: &str) -> Result<(), Errno> {
    if node.is_directory() {
        return Err(Errno::EPERM);
    }
    put_in(spot, name, node.clone())?;
    node.attributes.add_links(1);
    inotify::tell(node, bit::ATTRIB);
    inotify::tell_name(spot.node(), name, node, bit::CREATE, 0);
    Ok(())
}

/// Whether the name of a node must stay.
fn check_stays(node: &Arc<Node>) -> Result<(), Errno> {
    let is_whole = matches!(node.content, Content::Special(Special::Proc));
    if is_whole || mounts::is_covered(node) { Err(Errno::EBUSY) } else { Ok(()) }
}

/// A name leads to a node no more.
fn lose(node: &Node, parent: &Arc<Node>, name: &str) {
    node.attributes.add_links(-1);
    node.followers::<Known>(|known| {
        known.lose(parent, name);
        false
    });
}

/// Takes a name out of a directory: of a file, or of an empty directory.
pub(crate) fn remove_in(spot: &Spot, name: &str, is_directory: bool) -> Result<(), Errno> {
    let taken = {
        let _one_at_a_time = CHANGING.lock();
        let parent = spot.node();
        let node = parent.child(name)?;
        check_stays(&node)?;
        match node.is_empty() {
            Ok(_) if !is_directory => return Err(Errno::EISDIR),
            Ok(false) => return Err(Errno::ENOTEMPTY),
            Err(_) if is_directory => return Err(Errno::ENOTDIR),
            _ => {}
        }
        let taken = parent.with_names(|names| names.remove(name))?;
        parent.attributes.was_written();
        lose(&node, parent, name);
        taken
    };
    let (_, node) = taken.ok_or(Errno::ENOENT)?;
    let bits = if node.is_directory() { bit::DELETE | bit::IS_DIRECTORY } else { bit::DELETE };
    if !node.is_directory() {
        inotify::tell(&node, bit::ATTRIB);
    }
    // Dropped without a lock: if it is not used, those who watch it hear of its end first.
    drop(node);
    inotify::tell_bits(spot.node(), name, bits);
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

/// Whether a directory is another one or lies in it, at any depth. Under [`CHANGING`].
fn is_within(directory: &Arc<Node>, other: &Arc<Node>) -> bool {
    let mut next = Some(directory.clone());
    while let Some(node) = next {
        if Arc::ptr_eq(&node, other) {
            return true;
        }
        next = node.parent();
    }
    false
}

/// What a node that gets another name needs for that: made before anything changes.
struct Moved {
    key: String,
    own: String,
    known: (Spot, Arc<String>),
}

impl Moved {
    fn new(node: &Node, (spot, name): (&Spot, &str)) -> Result<Self, Errno> {
        let known = (spot.clone(), fallible::shared(fallible::text(name)?)?);
        Ok(Self { key: fallible::text(name)?, own: name_of_directory(node, name)?, known })
    }

    /// Those who know the node follow it.
    fn note(own: String, known: &(Spot, Arc<String>), node: &Node, before: (&Arc<Node>, &str)) {
        if node.is_directory() {
            moving(|| node.set_place(known.0.node(), own));
        }
        node.followers::<Known>(|one| {
            one.change(before, known);
            false
        });
    }
}

/// Moves a name, as Linux does.
pub(crate) fn rename_in(from: (&Spot, &str), to: (&Spot, &str), how: Rename) -> Result<(), Errno> {
    let (from_parent, to_parent) = (from.0.node(), to.0.node());
    let (replaced, node, exchanged) = 'changed: {
        let _one_at_a_time = CHANGING.lock();
        let node = from_parent.child(from.1)?;
        check_stays(&node)?;
        if to.0.is_gone() {
            return Err(Errno::ENOENT);
        }
        let changed = |moved: &[&Node]| {
            [from_parent, to_parent].iter().for_each(|parent| parent.attributes.was_written());
            moved.iter().for_each(|node| node.attributes.changed());
        };
        // Not into itself, at any depth.
        if is_within(to_parent, &node) {
            return Err(Errno::EINVAL);
        }
        let there = match to_parent.child(to.1) {
            Ok(_) if how == Rename::NoReplace => return Err(Errno::EEXIST),
            Ok(there) if Arc::ptr_eq(&there, &node) => return Ok(()),
            Err(Errno::ENOENT) if how != Rename::Exchange => None,
            there => Some(there?),
        };
        if let Some(there) = &there {
            check_stays(there)?;
        }
        let Moved { key, own, known } = Moved::new(&node, to)?;
        match &there {
            Some(there) if how == Rename::Exchange => {
                // Nor the other one into itself.
                if is_within(from_parent, there) {
                    return Err(Errno::EINVAL);
                }
                let other = Moved::new(there, from)?;
                changed(&[&node, there]);
                // Both names are there: nothing is added, and nothing can fail.
                let first =
                    from_parent.with_names(|names| names.set(other.key, there.clone()))??;
                let second = to_parent.with_names(|names| names.set(key, node.clone()))??;
                Moved::note(own, &known, &node, (from_parent, from.1));
                Moved::note(other.own, &other.known, there, (to_parent, to.1));
                drop((first, second));
                break 'changed (None, node, Some(there.clone()));
            }
            Some(there) => match (node.is_directory(), there.is_empty()) {
                (true, Err(_)) => return Err(Errno::ENOTDIR),
                (false, Ok(_)) => return Err(Errno::EISDIR),
                (true, Ok(false)) => return Err(Errno::ENOTEMPTY),
                _ => {}
            },
            None => {}
        }
        let replaced = to_parent.with_names(|names| names.set(key, node.clone()))??;
        changed(&[&node]);
        let before = from_parent.with_names(|names| names.remove(from.1));
        Moved::note(own, &known, &node, (from_parent, from.1));
        if let Some(replaced) = &replaced {
            lose(replaced, to_parent, to.1);
        }
        drop((before, there));
        (replaced, node, None)
    };
    tell_of_move(from, to, &node);
    if let Some(replaced) = &replaced {
        inotify::tell(replaced, bit::ATTRIB);
    }
    inotify::tell(&node, bit::MOVE_SELF);
    if let Some(other) = exchanged {
        tell_of_move(to, from, &other);
        inotify::tell(&other, bit::MOVE_SELF);
    }
    // Dropped without a lock.
    drop(replaced);
    Ok(())
}

fn tell_of_move(from: (&Spot, &str), to: (&Spot, &str), node: &Node) {
    let cookie = inotify::cookie();
    if Arc::ptr_eq(from.0.node(), to.0.node()) {
        inotify::tell_name(from.0.node(), from.1, node, bit::RENAME, 0);
    }
    inotify::tell_name(from.0.node(), from.1, node, bit::MOVED_FROM, cookie);
    inotify::tell_name(to.0.node(), to.1, node, bit::MOVED_TO, cookie);
}

/// A symbolic link.
pub fn link_to(target: &str) -> Result<Arc<Node>, Errno> {
    Node::new(Content::Link(fallible::text(target)?), 0o777)
}
