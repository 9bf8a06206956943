//! Files whose content is made when they are read: of /proc and /sys.
//!
//! The content is made anew whenever a file is read from its beginning, and kept until then: so
//! what is read in pieces fits together, as with Linux's `seq_file`. What can be long is made in
//! pieces too, each when a program gets there; and what has its bytes at fixed places is not kept
//! at all.

use crate::abi::Stat;
use crate::error::Errno;
use crate::spaces::pid::Own;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use machine::memory::fallible;
use threads::sched::Mutex;

/// Which processes a mount of /proc shows, and to whom (Documentation/filesystems/proc.rst).
#[derive(Debug)]
pub(crate) struct View {
    /// The number of the file system.
    pub(crate) number: u64,
    /// Whose numbers it shows.
    pub(crate) space: Own,
    /// `hidepid=`.
    pub(crate) hides: Hides,
    /// `gid=`: from whose members nothing is hidden.
    pub(crate) group: u32,
    /// `subset=pid`: processes and nothing else.
    pub(crate) only_processes: bool,
}

/// What of the processes of others one does not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hides {
    Nothing,
    /// What is in their folders.
    Content,
    /// Their folders.
    Folders,
    /// Those of all that one may not trace, whatever one's group is.
    Untraceable,
}

/// A mount of /proc; `None`: the one that is always at /proc.
pub(crate) type Seen = Option<Arc<View>>;

/// A path of /proc or /sys: as it would be at its usual place, and in which mount.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inside<'p> {
    pub(crate) path: &'p str,
    pub(crate) view: &'p Seen,
}

/// What makes the content of one path.
pub(crate) trait Maker: Send + Sync + fmt::Debug {
    /// The content from a place on that an earlier piece gave out (0: the beginning), and the place
    /// of the next piece, if there is one: of a folder, the names in it, a line each.
    fn make(&self, path: Inside<'_>, from: u64) -> Result<(Vec<u8>, Option<u64>), Errno>;
    /// Reads bytes that have fixed places; `None`: the content is one that is kept.
    fn read_at(
        &self,
        path: Inside<'_>,
        position: u64,
        to: &mut [u8],
    ) -> Option<Result<usize, Errno>>;
    /// Takes what a program writes.
    fn write(&self, path: Inside<'_>, from: &[u8]) -> Result<usize, Errno>;
    fn stat(&self, path: Inside<'_>) -> Result<Stat, Errno>;
}

/// What one open file has of its own, with bytes at places that can be written, too.
pub(crate) trait Bytes: Send + Sync + fmt::Debug {
    /// Reads up to all of `to`; 0: nothing is left.
    fn read_at(&self, position: u64, to: &mut [u8]) -> Result<usize, Errno>;
    fn write_at(&self, position: u64, from: &[u8]) -> Result<usize, Errno>;
}

/// A piece of the content that is kept.
#[derive(Debug)]
struct Piece {
    /// Where in the file it begins.
    start: u64,
    bytes: Vec<u8>,
    /// Where the maker continues behind it.
    next: Option<u64>,
}

impl Piece {
    const fn top(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

/// See the module's head.
#[derive(Debug)]
pub struct Made {
    /// Absolute, with no link in it.
    path: String,
    /// The same at its usual place, where it is mounted elsewhere; and that mount.
    inside: Option<String>,
    view: Seen,
    maker: &'static dyn Maker,
    is_directory: bool,
    content: Mutex<Option<Piece>>,
    /// Its bytes, if it is such a file.
    bytes: Option<Arc<dyn Bytes>>,
}

impl Made {
    pub(crate) fn new(
        path: String,
        (inside, view): (Option<String>, Seen),
        maker: &'static dyn Maker,
        is_directory: bool,
    ) -> Self {
        let content = Mutex::new(None);
        Self { path, inside, view, maker, is_directory, content, bytes: None }
    }

    /// One whose bytes are these.
    pub(crate) fn with_bytes(self, bytes: Arc<dyn Bytes>) -> Self {
        Self { bytes: Some(bytes), ..self }
    }

    /// Whether bytes have places in it, whatever the place.
    pub(crate) fn has_bytes(&self) -> bool {
        self.bytes.is_some()
    }

    /// What it is of, wherever that is mounted.
    pub(crate) fn inside(&self) -> Inside<'_> {
        Inside { path: self.inside.as_deref().unwrap_or(&self.path), view: &self.view }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.is_directory
    }

    /// What `stat` tells of it; of what is there no more, nothing.
    pub(crate) fn stat(&self) -> Stat {
        self.maker.stat(self.inside()).unwrap_or_default()
    }

    fn piece(&self, start: u64, from: u64) -> Result<Piece, Errno> {
        let (bytes, next) = self.maker.make(self.inside(), from)?;
        Ok(Piece { start, bytes, next })
    }

    /// Calls `body` with the piece of the content that a position is in: made now, if it is the
    /// beginning's.
    fn with<R>(
        &self,
        position: u64,
        body: impl FnOnce(&Piece) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        let mut content = self.content.lock();
        let mut piece = match content.take() {
            Some(piece) if position != 0 && position >= piece.start => piece,
            _ => self.piece(0, 0)?,
        };
        while position >= piece.top()
            && let Some(next) = piece.next
        {
            if threads::sched::current().killed() {
                return Err(Errno::EINTR);
            }
            piece = self.piece(piece.top(), next)?;
        }
        body(content.insert(piece))
    }

    pub(crate) fn read_at(&self, position: u64, to: &mut [u8]) -> Result<usize, Errno> {
        if self.is_directory {
            return Err(Errno::EISDIR);
        }
        if let Some(bytes) = &self.bytes {
            return bytes.read_at(position, to);
        }
        if let Some(read) = self.maker.read_at(self.inside(), position, to) {
            return read;
        }
        self.with(position, |piece| {
            let from = usize::try_from(position - piece.start).unwrap_or(usize::MAX);
            let left = piece.bytes.get(from..).unwrap_or_default();
            let length = to.len().min(left.len());
            to[..length].copy_from_slice(&left[..length]);
            Ok(length)
        })
    }

    pub(crate) fn write_at(&self, position: u64, from: &[u8]) -> Result<usize, Errno> {
        if let Some(bytes) = &self.bytes {
            return bytes.write_at(position, from);
        }
        self.maker.write(self.inside(), from)
    }

    /// A name in a folder, by its place, with number and mode: its bytes go to `to`.
    pub(crate) fn name(
        &self,
        index: usize,
        to: &mut [u8],
    ) -> Result<Option<(usize, u64, u32)>, Errno> {
        if !self.is_directory {
            return Err(Errno::ENOTDIR);
        }
        // Names are one piece: the position only tells whether they are to be made anew.
        let length = self.with(index.min(1) as u64, |names| {
            let mut lines =
                names.bytes.split(|&byte| byte == b'\n').filter(|name| !name.is_empty());
            let Some(name) = lines.nth(index) else { return Ok(None) };
            let length = name.len().min(to.len());
            to[..length].copy_from_slice(&name[..length]);
            Ok(Some(length))
        })?;
        let Some(length) = length else { return Ok(None) };
        let name = core::str::from_utf8(&to[..length]).map_err(|_| Errno::EINVAL)?;
        let Inside { path, view } = self.inside();
        let mut path = fallible::text(path)?;
        path.try_reserve(length + 1).map_err(|_| Errno::ENOMEM)?;
        // CANNOT FAIL: reserved above.
        path.push('/');
        path.push_str(name);
        // What has gone meanwhile was there when the names were made.
        let stat = self.maker.stat(Inside { path: &path, view }).unwrap_or_default();
        Ok(Some((length, stat.inode, stat.mode)))
    }
}
