//! Names: directories and what is in them, links, the current directory.

use super::at::{HERE, Last, directory, file, named_at, new_at, place_at, route_at};
use crate::abi;
use crate::error::{Errno, SysResult};
use crate::files::inotify::bit;
use crate::files::mounts;
use crate::files::standing::Standing;
use crate::files::text;
use crate::files::tree::{self, Content, MAX_NAME, MAX_NAME_TEXT, Node, Parent};
use crate::proc;
use crate::process::current_task;
use crate::process::identity::credentials::capability;
use crate::process::identity::permissions;
use crate::process::names::namespaces;
use crate::process::user_memory::{MAX_PATH, path, put};
use crate::process::walk::{self, Place, Route};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use machine::memory::fallible;

/// How a name is given out: with numbers of 64 bits and its kind in front of it, or with words, and
/// its kind behind all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    Wide,
    Old,
}

pub(crate) fn getdents(number: u64, to: u64, length: u64, how: Names) -> SysResult {
    let number_bytes = if how == Names::Wide { 8 } else { abi::WORD.bytes() };
    let file = file(number)?;
    if let Ok(Standing::Tree(spot)) = file.directory()
        && spot.is_gone()
    {
        return Err(Errno::ENOENT);
    }
    let mut done = 0;
    let mut name = [0; MAX_NAME_TEXT];
    while let Some((name_bytes, inode, mode)) = file.next_name(&mut name)? {
        // inode, offset, length 2, type 1 (or at the end), name, NUL; a multiple of a number.
        let name = &name[..name_bytes];
        let mut entry = [0; 19 + MAX_NAME + 9];
        let begin = 2 * number_bytes + if how == Names::Wide { 3 } else { 2 };
        let told = text::put_bytes(name, &mut entry[begin..begin + MAX_NAME]);
        let after = if how == Names::Wide { 1 } else { 2 };
        let bytes = (begin + told + after).next_multiple_of(number_bytes);
        if done + bytes as u64 > length {
            if done == 0 {
                return Err(Errno::EINVAL);
            }
            break;
        }
        let at = to.checked_add(done).ok_or(Errno::EFAULT)?;
        entry[..number_bytes].copy_from_slice(&inode.to_le_bytes()[..number_bytes]);
        entry[2 * number_bytes..][..2].copy_from_slice(&(bytes as u16).to_le_bytes());
        entry[if how == Names::Wide { 18 } else { bytes - 1 }] = (mode >> 12) as u8;
        match put(at, &entry[..bytes]) {
            Ok(()) => {}
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
        // Only now: a program that could not take the name gets it again.
        let position = file.passed(name)?;
        put(at + number_bytes as u64, &position.to_le_bytes()[..number_bytes])?;
        done += bytes as u64;
    }
    file.tell(bit::ACCESS);
    Ok(done)
}

pub(crate) fn getcwd(to: u64, length: u64) -> SysResult {
    // One that was removed is nowhere.
    let path = directory().path()?;
    let root = tree::root_of_caller().map(|root| root.path()).transpose()?;
    let (begin, path) = as_seen(&path, root.as_deref());
    let path = text::to_bytes(path)?;
    let bytes = (begin.len() + path.len()) as u64 + 1;
    if bytes > MAX_PATH as u64 {
        return Err(Errno::ENAMETOOLONG);
    }
    if bytes > length {
        return Err(Errno::ERANGE);
    }
    put(to, begin.as_bytes())?;
    put(to.checked_add(begin.len() as u64).ok_or(Errno::EFAULT)?, &path)?;
    put(to.checked_add(bytes - 1).ok_or(Errno::EFAULT)?, &[0])?;
    Ok(bytes)
}

/// A path as one sees it whose root that is, in two parts: what is not below it says so (d_path in
/// Linux's fs/d_path.c).
fn as_seen<'p>(path: &'p str, root: Option<&str>) -> (&'static str, &'p str) {
    match root.map(|root| path.strip_prefix(root)) {
        None => ("", path),
        Some(Some("")) => ("/", ""),
        Some(Some(rest)) if rest.starts_with('/') => ("", rest),
        Some(_) => ("(unreachable)", path),
    }
}

/// chroot: the caller's paths begin at another directory from now on.
pub(crate) fn change_root(at: u64) -> SysResult {
    let root = match place_at(HERE, at, true)? {
        Place::Node(node, lies) if node.is_directory() => {
            permissions::search(&node)?;
            lies.spot()?
        }
        // A root where all is made when it is read would have no place for anything else.
        Place::Made(path) if proc::stat(&path)?.mode & 0o170000 == 0o040000 => {
            return Err(Errno::EPERM);
        }
        _ => return Err(Errno::ENOTDIR),
    };
    if !current_task().credentials().can_here(capability::SYS_CHROOT) {
        return Err(Errno::EPERM);
    }
    namespaces::set_root(root)?;
    Ok(0)
}

pub(crate) fn chdir(at: u64) -> SysResult {
    let to = match place_at(HERE, at, true)? {
        Place::Node(node, lies) if node.is_directory() => {
            permissions::search(&node)?;
            Standing::Tree(lies.spot()?)
        }
        Place::Made(path) if proc::stat(&path)?.mode & 0o170000 == 0o040000 => {
            Standing::made(path)?
        }
        _ => return Err(Errno::ENOTDIR),
    };
    let before = current_task().place().set_directory(to);
    drop(before);
    Ok(0)
}

pub(crate) fn mkdir(from: u64, at: u64, mode: u32) -> SysResult {
    let parent = walk::parent(route_at(from, at)?)?;
    if let Parent::Made(path) = &parent
        && may_change_groups(path)?
        && let Some(made) = proc::make_group(path)
    {
        return made.map(|()| 0);
    }
    let node = Node::directory()?;
    node.attributes.set_permissions(masked(mode) & 0o1777);
    add_to(parent, node)
}

/// Whether a path, which is made when it is read, is that of a control group to be made or removed,
/// and the caller may: no other names that are made so can be changed.
fn may_change_groups(path: &str) -> Result<bool, Errno> {
    if !proc::is_among_groups(path) {
        return Ok(false);
    }
    let end = path.rfind('/').unwrap_or(0).max(1);
    if let Ok(above) = proc::stat(&path[..end]) {
        permissions::check(&above, permissions::WRITE | permissions::EXECUTE)?;
    }
    mounts::check_change(|| Ok(fallible::text(path)?))?;
    Ok(true)
}

/// A mode for something new.
pub(super) fn masked(mode: u32) -> u32 {
    mode & 0o7777 & !current_task().place().umask.load(Ordering::Relaxed)
}

/// Adds a node of the caller's where nothing is yet.
pub(super) fn add(node: Arc<Node>, route: Route) -> SysResult {
    add_to(walk::parent(route)?, node)
}

fn add_to(parent: Parent, node: Arc<Node>) -> SysResult {
    let (spot, name) = match parent {
        Parent::In(spot, name) => (spot, name),
        Parent::Made(path) if proc::stat(&path).is_ok() => return Err(Errno::EEXIST),
        Parent::Made(_) => return Err(Errno::ENOENT),
    };
    // What is there already says so first.
    if spot.node().child(&name).is_ok() {
        return Err(Errno::EEXIST);
    }
    permissions::change_names(&spot)?;
    permissions::own(&node, spot.node());
    tree::add_in(&spot, &name, node).map(|()| 0)
}

/// unlink, unlinkat and rmdir.
pub(crate) fn unlink(from: u64, at: u64, flags: u64) -> SysResult {
    let flags = flags & 0xffff_ffff;
    if flags & !DIRECTORY != 0 {
        return Err(Errno::EINVAL);
    }
    let is_directory = flags == DIRECTORY;
    let (route, last) = named_at(from, at)?;
    match (last, is_directory) {
        (Last::Here, true) if route.is_root() => return Err(Errno::EBUSY),
        (Last::Here, true) => return Err(Errno::EINVAL),
        (Last::Above, true) => return Err(Errno::ENOTEMPTY),
        (Last::Here | Last::Above, false) => return Err(Errno::EISDIR),
        _ => {}
    }
    let (spot, name) = match walk::parent(route)? {
        Parent::In(spot, name) => (spot, name),
        Parent::Made(path) => {
            if may_change_groups(&path)?
                && let Some(removed) = proc::remove_group(&path, is_directory)
            {
                return removed.map(|()| 0);
            }
            return Err(Errno::ENOENT);
        }
    };
    let node = spot.node().child(&name)?;
    if last == Last::Directory && !is_directory && !node.is_directory() {
        return Err(Errno::ENOTDIR);
    }
    permissions::remove_name(&spot, &node)?;
    drop(node);
    tree::remove_in(&spot, &name, is_directory).map(|()| 0)
}

/// unlinkat's flag: a directory.
pub(super) const DIRECTORY: u64 = 0x200;

pub(crate) fn symlink(target: u64, from: u64, at: u64) -> SysResult {
    let target = tree::link_to(&path(target)?)?;
    add(target, new_at(from, at)?)
}

pub(crate) fn readlink(from: u64, at: u64, to: u64, length: u64) -> SysResult {
    let answer = |target: &str| {
        let target = text::to_bytes(target)?;
        let bytes = &target[..(target.len() as u64).min(length) as usize];
        put(to, bytes)?;
        Ok(bytes.len() as u64)
    };
    if length as i32 <= 0 {
        return Err(Errno::EINVAL);
    }
    match place_at(from, at, false)? {
        Place::Node(node, _) => match &node.content {
            Content::Link(target) => answer(target),
            _ => Err(Errno::EINVAL),
        },
        Place::Made(path) => match proc::link(&path) {
            Some(target) => answer(&target?),
            None => proc::stat(&path).and(Err(Errno::EINVAL)),
        },
        Place::Open(_) => Err(Errno::EINVAL),
    }
}
