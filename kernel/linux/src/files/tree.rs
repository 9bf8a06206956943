//! The file tree in memory: what the initramfs brought, and what programs add.
//!
//! # Invariants
//!
//! 1. Names change under [`CHANGING`], a sleeping lock: what was checked still holds when it is changed.
//! 2. A node is dropped outside every spinning lock, and a tree of nodes without recursion, however deep it is.
//! 3. Nothing changes before the last thing that can fail.

use crate::abi::Stat;
use crate::error::Errno;
use crate::files::attributes::Attributes;
use crate::files::file_bytes::{Cut, FileBytes};
use crate::files::mapped::{Mapped, seal};
use crate::files::mounts;
use crate::files::names::Names;
use crate::files::object::Named;
use crate::files::pipe::Pipe;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::memory::{fallible, heap};
use machine::spin::SpinLock;
use threads::sched::Mutex;

/// Symbolic links followed in one path.
pub(crate) const MOST_LINKS: usize = 40;
/// Bytes of a name in a directory.
pub(crate) const MOST_NAME: usize = 255;

/// What a node is.
#[derive(Debug)]
pub enum Content {
    /// Names and what they lead to.
    Directory(SpinLock<Option<Box<Directory>>>),
    /// Bytes that never change: of the archive.
    Fixed(&'static [u8]),
    /// Bytes that programs write.
    File(SpinLock<FileBytes>),
    /// Another path.
    Link(String),
    /// A named pipe.
    Pipe(Arc<Pipe>),
    /// Something that answers itself: /dev and /proc.
    Special(Special),
}

/// What is in a directory. In a box of its own, so that a tree that goes away can be a list of directories.
#[derive(Debug)]
pub struct Directory {
    names: Names<Node>,
    /// The next one that goes away.
    next: Option<Box<Directory>>,
}

/// Which entry of a directory.
#[derive(Debug, Clone, Copy)]
pub enum Entry<'n> {
    /// The one that sorts behind this name.
    After(&'n str),
    /// The one with so many before it.
    At(usize),
}

/// The files that are no files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// Reads as end of file, swallows writes.
    Null,
    /// Reads as zeros.
    Zero,
    /// Reads as zeros, has no room for writes.
    Full,
    /// Random bytes.
    Random,
    Urandom,
    /// The console.
    Console,
    /// The terminal of the process's session.
    Terminal,
    /// New terminals of programs.
    Ptmx,
    /// One of those, by its number.
    Slave(u32),
    /// The directory of processes; what is in it is made on opening.
    Proc,
}

impl Special {
    /// The device with a number, where there is one.
    pub(crate) const fn of_device(device: u64) -> Option<Self> {
        Some(match device {
            0x103 => Self::Null,
            0x105 => Self::Zero,
            0x107 => Self::Full,
            0x108 => Self::Random,
            0x109 => Self::Urandom,
            0x501 => Self::Console,
            0x500 => Self::Terminal,
            0x502 => Self::Ptmx,
            _ => return None,
        })
    }

    /// Its number, as Linux has it.
    const fn device(self) -> u64 {
        match self {
            Self::Null => 1 << 8 | 3,
            Self::Zero => 1 << 8 | 5,
            Self::Full => 1 << 8 | 7,
            Self::Random => 1 << 8 | 8,
            Self::Urandom => 1 << 8 | 9,
            Self::Console => 5 << 8 | 1,
            Self::Terminal => 5 << 8,
            Self::Ptmx => 5 << 8 | 2,
            Self::Slave(number) => 136 << 8 | number as u64,
            Self::Proc => 0,
        }
    }
}

/// A file, directory or link.
#[derive(Debug)]
pub struct Node {
    pub inode: u64,
    pub content: Content,
    pub(crate) attributes: Attributes,
    pub(crate) mapped: Mapped,
}

static NEXT_INODE: AtomicU64 = AtomicU64::new(1);
static ROOT: SpinLock<Option<Arc<Node>>> = SpinLock::new(None);
/// Held while names change.
static CHANGING: Mutex<()> = Mutex::new(());

impl Node {
    pub fn new(content: Content, permissions: u32) -> Result<Arc<Self>, Errno> {
        if !heap::has_room_for_nodes(size_of::<Self>() + MOST_NAME) {
            return Err(Errno::ENOSPC);
        }
        let inode = NEXT_INODE.fetch_add(1, Ordering::Relaxed);
        let attributes = Attributes::new(permissions);
        Ok(fallible::shared(Self { inode, content, attributes, mapped: Mapped::new() })?)
    }

    pub fn directory() -> Result<Arc<Self>, Errno> {
        let directory = fallible::boxed(Directory { names: Names::new(), next: None })?;
        Self::new(Content::Directory(SpinLock::new(Some(directory))), 0o755)
    }

    pub fn is_directory(&self) -> bool {
        matches!(self.content, Content::Directory(_))
    }

    /// `st_mode`.
    pub fn mode(&self) -> u32 {
        let kind = match &self.content {
            Content::Directory(_) | Content::Special(Special::Proc) => 0o040000,
            Content::Fixed(_) | Content::File(_) => 0o100000,
            Content::Link(_) => 0o120000,
            Content::Special(_) => 0o020000,
            Content::Pipe(_) => 0o010000,
        };
        kind | self.attributes.permissions()
    }

    /// What `stat` tells of it.
    pub(crate) fn stat(&self) -> Stat {
        let device = match &self.content {
            Content::Special(special) => special.device(),
            _ => 0,
        };
        let directories = self.with_names(|names| names.count(Self::is_directory)).unwrap_or(0);
        Stat {
            inode: self.inode,
            mode: self.mode(),
            // A directory's own `.`, and `..` of each in it.
            links: self.attributes.links() + u64::from(self.is_directory()) + directories,
            bytes: self.bytes(),
            device,
            file_system: 1,
            ..self.attributes.stat()
        }
    }

    pub fn bytes(&self) -> u64 {
        match &self.content {
            Content::Fixed(bytes) => bytes.len() as u64,
            Content::File(bytes) => bytes.lock().len(),
            Content::Link(target) => target.len() as u64,
            _ => 0,
        }
    }

    /// Reads at an offset; 0: the end.
    pub fn read_at(&self, offset: u64, to: &mut [u8]) -> Result<usize, Errno> {
        let copy = |bytes: &[u8], to: &mut [u8]| {
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            let length = to.len().min(bytes.len() - from);
            to[..length].copy_from_slice(&bytes[from..from + length]);
            length
        };
        match &self.content {
            Content::Fixed(bytes) => Ok(copy(bytes, to)),
            Content::File(bytes) => Ok(bytes.lock().read_at(offset, to)),
            Content::Directory(_) => Err(Errno::EISDIR),
            Content::Special(Special::Zero | Special::Full) => {
                to.fill(0);
                Ok(to.len())
            }
            _ => Ok(0),
        }
    }

    /// Writes at an offset.
    pub fn write_at(&self, offset: u64, from: &[u8]) -> Result<usize, Errno> {
        match &self.content {
            Content::File(bytes) => {
                let seals = self.mapped.seals();
                if seals & (seal::WRITE | seal::FUTURE_WRITE) != 0 {
                    return Err(Errno::EPERM);
                }
                let mut bytes = bytes.lock();
                if seals & seal::GROW != 0 && offset.saturating_add(from.len() as u64) > bytes.len()
                {
                    return Err(Errno::EPERM);
                }
                bytes.write_at(offset, from)
            }
            Content::Fixed(_) => Err(Errno::EROFS),
            Content::Directory(_) => Err(Errno::EISDIR),
            Content::Special(Special::Full) if !from.is_empty() => Err(Errno::ENOSPC),
            _ => Ok(from.len()),
        }
    }

    /// Makes a file as long as this, if it is shorter.
    pub(crate) fn grow(&self, length: u64) -> Result<(), Errno> {
        let Content::File(bytes) = &self.content else { return Err(Errno::EINVAL) };
        let mut bytes = bytes.lock();
        if length <= bytes.len() {
            return Ok(());
        }
        if self.mapped.seals() & seal::GROW != 0 {
            return Err(Errno::EPERM);
        }
        let nothing = bytes.set_length(length);
        drop(bytes);
        nothing.map(drop)
    }

    /// Sets a file's length. What was cut off is dropped once it is mapped nowhere: `memory::cut::set_length`.
    pub(crate) fn set_length(&self, length: u64) -> Result<Cut, Errno> {
        match &self.content {
            Content::File(bytes) => {
                let seals = self.mapped.seals();
                let mut bytes = bytes.lock();
                if length < bytes.len() && seals & seal::SHRINK != 0
                    || length > bytes.len() && seals & seal::GROW != 0
                {
                    return Err(Errno::EPERM);
                }
                bytes.set_length(length)
            }
            Content::Fixed(_) => Err(Errno::EROFS),
            Content::Directory(_) => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Looks at the names in a directory, or changes them. Nothing that is dropped in `body` may be the last user of a node.
    fn with_names<R>(&self, body: impl FnOnce(&mut Names<Node>) -> R) -> Result<R, Errno> {
        let Content::Directory(directory) = &self.content else { return Err(Errno::ENOTDIR) };
        let mut directory = directory.lock();
        Ok(body(&mut directory.as_mut().ok_or(Errno::ENOENT)?.names))
    }

    fn child(&self, name: &str) -> Result<Arc<Self>, Errno> {
        self.with_names(|names| names.get(name).cloned())?.ok_or(Errno::ENOENT)
    }

    fn is_empty(&self) -> Result<bool, Errno> {
        self.with_names(|names| names.is_empty())
    }

    /// An entry of a directory: its name goes to `to`, its length, number and mode come back.
    pub fn entry(
        &self,
        which: Entry<'_>,
        to: &mut [u8; MOST_NAME],
    ) -> Result<Option<(usize, u64, u32)>, Errno> {
        self.with_names(|names| {
            let (name, node) = match which {
                Entry::After(name) => names.after(name)?,
                Entry::At(index) => names.at(index)?,
            };
            let length = name.len().min(to.len());
            to[..length].copy_from_slice(&name.as_bytes()[..length]);
            Some((length, node.inode, node.mode()))
        })
    }

    /// What is in it, for good.
    fn take_directory(&mut self) -> Option<Box<Directory>> {
        match &self.content {
            Content::Directory(directory) => directory.lock().take(),
            _ => None,
        }
    }
}

impl Named for Node {
    fn named_stat(&self) -> Stat {
        self.stat()
    }
}

impl Drop for Node {
    /// A list instead of recursion: a program can make a tree deeper than any stack.
    fn drop(&mut self) {
        let mut pending = self.take_directory();
        while let Some(mut directory) = pending {
            pending = directory.next.take();
            while let Some((_, child)) = directory.names.pop() {
                // Its last user takes what is in it over; then it is dropped as an empty one.
                if let Some(mut child) = Arc::into_inner(child)
                    && let Some(mut inner) = child.take_directory()
                {
                    inner.next = pending;
                    pending = Some(inner);
                }
            }
        }
    }
}

pub fn root() -> Result<Arc<Node>, Errno> {
    if let Some(root) = &*ROOT.lock() {
        return Ok(root.clone());
    }
    let root = Node::directory()?;
    Ok(ROOT.lock().get_or_insert(root).clone())
}

/// A path as seen from a directory: absolute, without `.` and with `..` taken back. The root is `/`; no other path ends in one.
pub fn absolute(directory: &str, path: &str) -> Result<String, Errno> {
    let mut whole = String::new();
    let start = if path.starts_with('/') { "" } else { directory };
    whole.try_reserve(start.len() + path.len() + 2).map_err(|_| Errno::ENOMEM)?;
    for part in start.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => whole.truncate(whole.rfind('/').unwrap_or(0)),
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

/// The parts of such a path.
pub fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

/// The node a path leads to. `follow`: also through a link at its end.
pub fn find(directory: &str, path: &str, follow: bool) -> Result<Arc<Node>, Errno> {
    Ok(find_with_path(absolute(directory, path)?, follow)?.0)
}

/// The node an absolute path leads to, and its path with no link in it. The walk ends where files are made: the node is that of
/// /proc then, and the path may go further.
pub fn find_with_path(path: String, follow: bool) -> Result<(Arc<Node>, String), Errno> {
    walk(path, follow, None)
}

/// The path that a path names in the end: if a link stands there, the one that it leads to, whether anything is there or not.
pub fn resolved(directory: &str, path: &str, follow: bool) -> Result<String, Errno> {
    let mut path = absolute(directory, path)?;
    for _ in 0..MOST_LINKS {
        let node = match find("/", &path, false) {
            Ok(node) if follow => node,
            Ok(_) | Err(Errno::ENOENT) => return Ok(path),
            Err(error) => return Err(error),
        };
        let Content::Link(target) = &node.content else { return Ok(path) };
        let parent = path.rfind('/').unwrap_or(0);
        path = absolute(&path[..parent], target)?;
    }
    Err(Errno::ELOOP)
}

/// From the root to where an absolute path leads, links followed. `EINVAL` if it leads through `not_through`.
fn walk(
    mut path: String,
    follow: bool,
    not_through: Option<&Node>,
) -> Result<(Arc<Node>, String), Errno> {
    let is_forbidden =
        |node: &Arc<Node>| not_through.is_some_and(|other| core::ptr::eq(&**node, other));
    let mut links = MOST_LINKS;
    'from_the_root: loop {
        let mut node = root()?;
        let mut at = 1;
        while at < path.len() {
            let end = path[at..].find('/').map_or(path.len(), |length| at + length);
            let name = &path[at..end];
            if name.len() > MOST_NAME {
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
                let rest = &path[end..];
                let mut next = absolute(&path[..at], target)?;
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
    if name.len() > MOST_NAME {
        return Err(Errno::ENAMETOOLONG);
    }
    path.truncate(at.max(1));
    let parent = walk(path, true, not_through)?.0;
    match parent.content {
        // Nothing can be made there, nor taken away.
        Content::Special(Special::Proc) => Err(Errno::ENOENT),
        _ => Ok((parent, name)),
    }
}

/// Adds a node where nothing is yet.
pub fn add(directory: &str, path: &str, node: Arc<Node>) -> Result<(), Errno> {
    let _one_at_a_time = CHANGING.lock();
    let (parent, name) = parent_of(directory, path, None)?;
    parent.with_names(|names| match names.get(&name) {
        Some(_) => Err(Errno::EEXIST),
        // Nothing is replaced, and the node has no users below it.
        None => Ok(names.set(name, node).map(|_nothing| ())?),
    })?
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
        parent.with_names(|names| names.remove(&name))?
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
                // Both names are there: nothing is added, and nothing can fail.
                let first = from_parent.with_names(|names| names.set(from_name, there))??;
                let second = to_parent.with_names(|names| names.set(to_name, node))??;
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
        let replaced = to_parent.with_names(|names| names.set(to_name, node))??;
        if let Some(replaced) = &replaced {
            replaced.attributes.add_links(-1);
        }
        (replaced, from_parent.with_names(|names| names.remove(&from_name)))
    };
    // Dropped without a lock.
    drop(replaced);
    Ok(())
}

/// A symbolic link.
pub fn link_to(target: &str) -> Result<Arc<Node>, Errno> {
    Node::new(Content::Link(fallible::text(target)?), 0o777)
}
