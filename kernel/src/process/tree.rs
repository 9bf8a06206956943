//! The file tree in memory: what the initramfs brought, and what programs add.

use super::error::Errno;
use super::file_bytes::FileBytes;
use crate::initramfs;
use crate::sync::SpinLock;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

/// Symbolic links followed in one path.
const MOST_LINKS: usize = 8;

/// What a node is.
#[derive(Debug)]
pub(crate) enum Content {
    /// Names and what they lead to.
    Directory(SpinLock<BTreeMap<String, Arc<Node>>>),
    /// Bytes that never change: of the archive.
    Fixed(&'static [u8]),
    /// Bytes that programs write.
    File(SpinLock<FileBytes>),
    /// Another path.
    Link(String),
    /// Something that answers itself: /dev and /proc.
    Special(Special),
}

/// The files that are no files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    /// Reads as end of file, swallows writes.
    Null,
    /// Reads as zeros.
    Zero,
    /// The console.
    Console,
    /// The directory of processes; what is in it is made on opening.
    Proc,
}

/// A file, directory or link.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) inode: u64,
    pub(crate) permissions: u32,
    pub(crate) content: Content,
}

static NEXT_INODE: AtomicU64 = AtomicU64::new(1);
static ROOT: SpinLock<Option<Arc<Node>>> = SpinLock::new(None);

impl Node {
    pub(crate) fn new(content: Content, permissions: u32) -> Arc<Self> {
        let inode = NEXT_INODE.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { inode, permissions, content })
    }

    pub(crate) fn directory() -> Arc<Self> {
        Self::new(Content::Directory(SpinLock::new(BTreeMap::new())), 0o755)
    }

    /// `st_mode`.
    pub(crate) fn mode(&self) -> u32 {
        let kind = match &self.content {
            Content::Directory(_) | Content::Special(Special::Proc) => 0o040000,
            Content::Fixed(_) | Content::File(_) => 0o100000,
            Content::Link(_) => 0o120000,
            Content::Special(_) => 0o020000,
        };
        kind | self.permissions
    }

    pub(crate) fn bytes(&self) -> u64 {
        match &self.content {
            Content::Fixed(bytes) => bytes.len() as u64,
            Content::File(bytes) => bytes.lock().len(),
            Content::Link(target) => target.len() as u64,
            _ => 0,
        }
    }

    /// Reads at an offset; 0: the end.
    pub(crate) fn read_at(&self, offset: u64, to: &mut [u8]) -> Result<usize, Errno> {
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
            Content::Special(Special::Zero) => {
                to.fill(0);
                Ok(to.len())
            }
            _ => Ok(0),
        }
    }

    /// Writes at an offset.
    pub(crate) fn write_at(&self, offset: u64, from: &[u8]) -> Result<usize, Errno> {
        match &self.content {
            Content::File(bytes) => bytes.lock().write_at(offset, from),
            Content::Fixed(_) => Err(Errno::EROFS),
            Content::Directory(_) => Err(Errno::EISDIR),
            _ => Ok(from.len()),
        }
    }

    pub(crate) fn entries(&self) -> Option<Vec<(String, Arc<Self>)>> {
        let Content::Directory(names) = &self.content else { return None };
        Some(names.lock().iter().map(|(name, node)| (name.clone(), node.clone())).collect())
    }

    fn child(&self, name: &str) -> Option<Arc<Self>> {
        let Content::Directory(names) = &self.content else { return None };
        names.lock().get(name).cloned()
    }

    fn put(&self, name: &str, node: Arc<Self>) -> Result<(), Errno> {
        let Content::Directory(names) = &self.content else { return Err(Errno::ENOTDIR) };
        names.lock().insert(name.to_string(), node);
        Ok(())
    }

    fn take(&self, name: &str) -> Option<Arc<Self>> {
        let Content::Directory(names) = &self.content else { return None };
        names.lock().remove(name)
    }
}

pub(crate) fn root() -> Arc<Node> {
    ROOT.lock().get_or_insert_with(Node::directory).clone()
}

/// The parts of a path as seen from a directory, without `.` and with `..` taken back; absolute.
pub(crate) fn absolute(directory: &str, path: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let start = if path.starts_with('/') { "" } else { directory };
    for part in start.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part.to_string()),
        }
    }
    parts
}

/// The node a path leads to. `follow`: also through a link at its end.
pub(crate) fn find(directory: &str, path: &str, follow: bool) -> Result<Arc<Node>, Errno> {
    find_within(&absolute(directory, path), follow, MOST_LINKS)
}

fn find_within(parts: &[String], follow: bool, links: usize) -> Result<Arc<Node>, Errno> {
    let mut node = root();
    for (i, part) in parts.iter().enumerate() {
        if !matches!(node.content, Content::Directory(_)) {
            return Err(Errno::ENOTDIR);
        }
        node = node.child(part).ok_or(Errno::ENOENT)?;
        let last = i + 1 == parts.len();
        if let Content::Link(target) = &node.content
            && (follow || !last)
        {
            let links = links.checked_sub(1).ok_or(Errno::ELOOP)?;
            let mut rest = absolute(&parts[..i].join("/"), target);
            rest.extend_from_slice(&parts[i + 1..]);
            return find_within(&rest, follow, links);
        }
    }
    Ok(node)
}

/// The directory a path's last part stands in, and that part.
fn parent_of(directory: &str, path: &str) -> Result<(Arc<Node>, String), Errno> {
    let mut parts = absolute(directory, path);
    let name = parts.pop().ok_or(Errno::EEXIST)?;
    if name.len() > 255 {
        return Err(Errno::ENAMETOOLONG);
    }
    Ok((find_within(&parts, true, MOST_LINKS)?, name))
}

/// Adds a node where nothing is yet.
pub(crate) fn add(directory: &str, path: &str, node: Arc<Node>) -> Result<(), Errno> {
    let (parent, name) = parent_of(directory, path)?;
    if parent.child(&name).is_some() {
        return Err(Errno::EEXIST);
    }
    parent.put(&name, node)
}

/// Takes a name out: of a file, or of an empty directory.
pub(crate) fn remove(directory: &str, path: &str, is_directory: bool) -> Result<(), Errno> {
    let (parent, name) = parent_of(directory, path)?;
    let node = parent.child(&name).ok_or(Errno::ENOENT)?;
    match node.entries() {
        Some(_) if !is_directory => return Err(Errno::EISDIR),
        Some(entries) if !entries.is_empty() => return Err(Errno::ENOTEMPTY),
        None if is_directory => return Err(Errno::ENOTDIR),
        _ => {}
    }
    parent.take(&name).map(|_| ()).ok_or(Errno::ENOENT)
}

/// Moves a name.
pub(crate) fn rename(directory: &str, from: &str, to: &str) -> Result<(), Errno> {
    let node = find(directory, from, false)?;
    let (from_parent, from_name) = parent_of(directory, from)?;
    let (to_parent, to_name) = parent_of(directory, to)?;
    to_parent.put(&to_name, node)?;
    from_parent.take(&from_name);
    Ok(())
}

/// Unpacks the archive, which stays where it is, and adds /dev, /proc and /tmp.
pub(crate) fn unpack(archive: &'static [u8]) {
    for entry in initramfs::entries(archive) {
        let path = entry.name.trim_start_matches("./");
        if path.is_empty() || path == "." {
            continue;
        }
        make_directories(path);
        let node = match entry.mode & 0o170000 {
            0o040000 => Node::directory(),
            0o120000 => match core::str::from_utf8(entry.contents) {
                Ok(target) => Node::new(Content::Link(target.to_string()), 0o777),
                Err(_) => continue,
            },
            _ => Node::new(Content::Fixed(entry.contents), entry.mode & 0o777),
        };
        // A directory may be there already, made for a file in it.
        let _there_already = add("/", path, node);
    }
    let specials = [
        ("dev/null", Special::Null),
        ("dev/zero", Special::Zero),
        ("dev/console", Special::Console),
        ("dev/tty", Special::Console),
        ("proc", Special::Proc),
        ("sys", Special::Proc),
    ];
    make_directories("tmp/x");
    let _there_already = remove("/", "proc", true);
    for (path, special) in specials {
        make_directories(path);
        let _there_already = add("/", path, Node::new(Content::Special(special), 0o666));
    }
}

fn make_directories(path: &str) {
    for (at, _) in path.match_indices('/') {
        let _there_already = add("/", &path[..at], Node::directory());
    }
}
