//! A file, directory or link: what it is, and what is read of it and written to it. How paths lead
//! to it: `tree`.

use super::attributes::Attributes;
use super::extended::Extended;
use super::file_bytes::{Cut, FileBytes};
use super::mapped::{Mapped, seal};
use super::names::Names;
use super::object::Named;
use super::pipe::Pipe;
use super::room::{Room, Seat};
use super::text;
use crate::abi::Stat;
use crate::error::Errno;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::memory::{fallible, heap};
use machine::spin::SpinLock;

/// Bytes of a name in a directory.
pub(crate) const MAX_NAME: usize = 255;
/// The same of the text that it is kept as.
pub(crate) const MAX_NAME_TEXT: usize = MAX_NAME * text::MOST;

/// What a node is.
#[derive(Debug)]
#[cfg_attr(
    target_pointer_width = "64",
    expect(
        clippy::large_enum_variant,
        reason = "most nodes are files: a box would be one more allocation for each"
    )
)]
pub enum Content {
    /// Names and what they lead to.
    Directory(SpinLock<Option<Box<Directory>>>),
    /// Bytes, of the archive or written by programs.
    File(SpinLock<FileBytes>),
    /// Another path.
    Link(String),
    /// The name of a socket.
    Socket(Weak<dyn Any + Send + Sync>),
    /// A named pipe.
    Pipe(Arc<Pipe>),
    /// Something that answers itself: /dev and /proc.
    Special(Special),
}

/// What is in a directory. In a box of its own, so that a tree that goes away can be a list of
/// directories.
#[derive(Debug)]
pub struct Directory {
    names: Names<Node>,
    /// The directory that it lies in, or lay in when it was removed; none: the root of a tree.
    parent: Weak<Node>,
    /// Its name there.
    name: String,
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
    /// A device that there is none of, by its number: of blocks, or of characters.
    Absent {
        device: u32,
        is_block: bool,
    },
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
            Self::Absent { device, .. } => device as u64,
        }
    }
}

/// What is told what becomes of a node.
pub(super) trait Follower: Any + Send + Sync + fmt::Debug {
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;

    /// Something happened to the node, or to a name in it: bits, a number that two events have in
    /// common, the name, and whether that leads nowhere any more.
    fn happened(&self, _bits: u32, _cookie: u32, _name: &str, _is_unlinked: bool) {}

    /// There is no such node any more: removed, or gone with its file system.
    fn node_is_gone(&self, _was_removed: bool) {}
}

/// A file, directory or link.
#[derive(Debug)]
pub struct Node {
    pub inode: u64,
    pub content: Content,
    pub(crate) attributes: Attributes,
    pub(crate) mapped: Mapped,
    pub(crate) extended: Extended,
    /// Where it counts, in a file system with limits.
    seat: SpinLock<Option<Seat>>,
    /// Those who are told what becomes of it, without keeping it.
    followers: SpinLock<Vec<Weak<dyn Follower>>>,
}

static NEXT_INODE: AtomicU64 = AtomicU64::new(1);

impl Node {
    pub fn new(content: Content, permissions: u32) -> Result<Arc<Self>, Errno> {
        if !heap::has_room_for_nodes(size_of::<Self>() + MAX_NAME) {
            return Err(Errno::ENOSPC);
        }
        let inode = NEXT_INODE.fetch_add(1, Ordering::Relaxed);
        let attributes = Attributes::new(permissions);
        Ok(fallible::shared(Self {
            inode,
            content,
            attributes,
            mapped: Mapped::new(),
            extended: Extended::new(),
            seat: SpinLock::new(None),
            followers: SpinLock::new(Vec::new()),
        })?)
    }

    /// The room of the file system that it counts in, if that has limits.
    pub(crate) fn room(&self) -> Option<Arc<Room>> {
        self.seat.lock().as_ref().map(Seat::room)
    }

    /// It is in a file system from now on: that of a directory which it gets its first place in.
    /// `ENOSPC`: that may have no more of them.
    pub(crate) fn settle(&self, room: Option<Arc<Room>>) -> Result<(), Errno> {
        let Some(room) = room else { return Ok(()) };
        if self.seat.lock().is_some() {
            return Ok(());
        }
        let seat = Seat::take(room)?;
        if let Content::File(bytes) = &self.content {
            bytes.lock().set_room(seat.room());
        }
        let before = self.seat.lock().replace(seat);
        drop(before);
        Ok(())
    }

    pub fn directory() -> Result<Arc<Self>, Errno> {
        let (names, parent, name) = (Names::new(), Weak::new(), String::new());
        let directory = fallible::boxed(Directory { names, parent, name, next: None })?;
        Self::new(Content::Directory(SpinLock::new(Some(directory))), 0o755)
    }

    pub fn is_directory(&self) -> bool {
        matches!(self.content, Content::Directory(_))
    }

    /// `st_mode`.
    pub fn mode(&self) -> u32 {
        let kind = match &self.content {
            Content::Directory(_) | Content::Special(Special::Proc) => 0o040000,
            Content::File(_) => 0o100000,
            Content::Link(_) => 0o120000,
            Content::Special(Special::Absent { is_block: true, .. }) => 0o060000,
            Content::Special(_) => 0o020000,
            Content::Pipe(_) => 0o010000,
            Content::Socket(_) => 0o140000,
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
            // A directory's own `.`, and `..` of each in it; one that was removed has none.
            links: match self.attributes.links() {
                0 => 0,
                links => links + u64::from(self.is_directory()) + directories,
            },
            bytes: self.bytes(),
            blocks: self.blocks(),
            device,
            file_system: 1,
            ..self.attributes.stat()
        }
    }

    /// As much of that as tells who may use it.
    pub(crate) fn stat_of_access(&self) -> Stat {
        Stat { mode: self.mode(), ..self.attributes.stat() }
    }

    /// What of the archive a file is, as long as it was not opened for writing.
    pub(crate) fn in_archive(&self) -> Option<&'static [u8]> {
        match &self.content {
            Content::File(bytes) => bytes.lock().in_archive(),
            _ => None,
        }
    }

    /// A file may be written from now on.
    pub(crate) fn begin_changing(&self) {
        if let Content::File(bytes) = &self.content {
            bytes.lock().begin_changing();
        }
    }

    /// Units of 512 bytes that it takes, as `st_blocks` tells.
    fn blocks(&self) -> u64 {
        match &self.content {
            Content::File(bytes) => bytes.lock().blocks(),
            _ => 0,
        }
    }

    pub fn bytes(&self) -> u64 {
        /// What a name counts in the size of a directory, as in a `tmpfs` of Linux.
        const NAME_BYTES: u64 = 20;
        match &self.content {
            Content::Directory(_) => {
                self.with_names(|names| names.count(|_| true)).unwrap_or(0) * NAME_BYTES
            }
            Content::File(bytes) => bytes.lock().len(),
            Content::Link(target) => text::length(target) as u64,
            _ => 0,
        }
    }

    /// Reads at an offset; 0: the end.
    pub fn read_at(&self, offset: u64, to: &mut [u8]) -> Result<usize, Errno> {
        match &self.content {
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
                self.attributes.lose_set_ids();
                let mut bytes = bytes.lock();
                if seals & seal::GROW != 0 && offset.saturating_add(from.len() as u64) > bytes.len()
                {
                    return Err(Errno::EPERM);
                }
                bytes.write_at(offset, from)
            }
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

    /// Sets a file's length. What was cut off is dropped once it is mapped nowhere:
    /// `memory::cut::set_length`.
    pub(crate) fn set_length(&self, length: u64) -> Result<Cut, Errno> {
        match &self.content {
            Content::File(bytes) => {
                let seals = self.mapped.seals();
                self.attributes.lose_set_ids();
                let mut bytes = bytes.lock();
                if length < bytes.len() && seals & seal::SHRINK != 0
                    || length > bytes.len() && seals & seal::GROW != 0
                {
                    return Err(Errno::EPERM);
                }
                bytes.set_length(length)
            }
            Content::Directory(_) => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Looks at the names in a directory, or changes them. Nothing that is dropped in `body` may be
    /// the last user of a node.
    pub(super) fn with_names<R>(
        &self,
        body: impl FnOnce(&mut Names<Node>) -> R,
    ) -> Result<R, Errno> {
        let Content::Directory(directory) = &self.content else { return Err(Errno::ENOTDIR) };
        let mut directory = directory.lock();
        Ok(body(&mut directory.as_mut().ok_or(Errno::ENOENT)?.names))
    }

    pub(crate) fn child(&self, name: &str) -> Result<Arc<Self>, Errno> {
        self.with_names(|names| names.get(name).cloned())?.ok_or(Errno::ENOENT)
    }

    /// Notes where a directory lies now. Of anything else, nothing is kept.
    pub(super) fn set_place(&self, parent: &Arc<Self>, name: String) {
        let Content::Directory(directory) = &self.content else { return };
        let to = (Arc::downgrade(parent), name);
        let before = match directory.lock().as_mut() {
            Some(directory) => (
                core::mem::replace(&mut directory.parent, to.0),
                core::mem::replace(&mut directory.name, to.1),
            ),
            None => to,
        };
        // Without the lock: it may be the last that kept the memory of a node.
        drop(before);
    }

    /// The directory that a directory lies in.
    pub(super) fn parent(&self) -> Option<Arc<Self>> {
        let Content::Directory(directory) = &self.content else { return None };
        let parent = directory.lock().as_ref().map(|directory| directory.parent.clone());
        parent?.upgrade()
    }

    /// Calls `body` with the name that a directory has where it lies.
    pub(super) fn with_name<R>(
        &self,
        body: impl FnOnce(&str) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        let Content::Directory(directory) = &self.content else { return Err(Errno::ENOTDIR) };
        body(&directory.lock().as_ref().ok_or(Errno::ENOENT)?.name)
    }

    /// The followers of a kind, until `is_found`.
    pub(super) fn followers<F: Follower>(
        &self,
        mut is_found: impl FnMut(&Arc<F>) -> bool,
    ) -> Option<Arc<F>> {
        let mut at = 0;
        loop {
            // One at a time: what is let go of here may be the last of its kind.
            let follower = self.followers.lock().get(at)?.upgrade();
            let follower = follower.and_then(|one| one.as_any().downcast().ok());
            if let Some(follower) = follower.filter(&mut is_found) {
                return Some(follower);
            }
            at += 1;
        }
    }

    /// Tells all who follow it what has happened.
    pub(super) fn tell_followers(&self, bits: u32, cookie: u32, name: &str, is_unlinked: bool) {
        for at in 0.. {
            let Some(follower) = self.followers.lock().get(at).map(Weak::upgrade) else { break };
            if let Some(follower) = follower {
                follower.happened(bits, cookie, name, is_unlinked);
            }
        }
    }

    /// One more follows it.
    pub(super) fn add_follower(&self, follower: Weak<dyn Follower>) -> Result<(), Errno> {
        let mut all = self.followers.lock();
        if all.len() == all.capacity() {
            // Those that are gone make room. What is let go of is their memory alone.
            all.retain(|follower| follower.strong_count() > 0);
        }
        Ok(fallible::push(&mut all, follower)?)
    }

    pub(super) fn is_empty(&self) -> Result<bool, Errno> {
        self.with_names(|names| names.is_empty())
    }

    /// An entry of a directory: its name goes to `to`, its length, number and mode come back.
    pub fn entry(
        &self,
        which: Entry<'_>,
        to: &mut [u8; MAX_NAME_TEXT],
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
        // They are told without the lock.
        let followers = core::mem::take(&mut *self.followers.lock());
        for follower in followers {
            if let Some(follower) = follower.upgrade() {
                follower.node_is_gone(self.attributes.links() == 0);
            }
        }
        let mut pending = self.take_directory();
        while let Some(mut directory) = pending {
            pending = directory.next.take();
            while let Some((_, child)) = directory.names.pop() {
                if let Some(mut inner) = drop_emptied(child) {
                    inner.next = pending;
                    pending = Some(inner);
                }
            }
        }
    }
}

/// Lets go of a node. Its last user gets what is in it, if it is a directory; then it is dropped as
/// an empty one. In a frame of its own: it has a node in it, and files are dropped without.
#[inline(never)]
fn drop_emptied(node: Arc<Node>) -> Option<Box<Directory>> {
    Arc::into_inner(node)?.take_directory()
}
