//! Files whose content is made when they are read: of /proc and /sys.
//!
//! The content is made anew whenever a file is read from its beginning, and kept until then: so what is read in pieces fits
//! together, as with Linux's `seq_file`.

use crate::abi::Stat;
use crate::error::Errno;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use machine::memory::fallible;
use threads::sched::Mutex;

/// What makes the content of one path.
pub(crate) trait Maker: Send + Sync + fmt::Debug {
    /// The content: of a folder, the names in it, a line each.
    fn make(&self, path: &str) -> Result<Vec<u8>, Errno>;
    /// A piece of what has a place for everything, and no beginning that the rest would have to fit: `None`, of other content.
    fn piece(&self, path: &str, position: u64, to: &mut [u8]) -> Option<Result<usize, Errno>>;
    /// Takes what a program writes.
    fn write(&self, path: &str, from: &[u8]) -> Result<usize, Errno>;
    fn stat(&self, path: &str) -> Result<Stat, Errno>;
}

/// See the module's head.
#[derive(Debug)]
pub struct Made {
    /// Absolute, with no link in it.
    path: String,
    maker: &'static dyn Maker,
    is_directory: bool,
    content: Mutex<Option<Vec<u8>>>,
}

impl Made {
    pub(crate) fn new(path: String, maker: &'static dyn Maker, is_directory: bool) -> Self {
        Self { path, maker, is_directory, content: Mutex::new(None) }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.is_directory
    }

    /// What `stat` tells of it; of what is there no more, nothing.
    pub(crate) fn stat(&self) -> Stat {
        self.maker.stat(&self.path).unwrap_or_default()
    }

    /// Calls `body` with the content: what it is now, if it is read from the beginning.
    fn with<R>(
        &self,
        is_beginning: bool,
        body: impl FnOnce(&[u8]) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        let mut content = self.content.lock();
        if is_beginning || content.is_none() {
            *content = None;
            *content = Some(self.maker.make(&self.path)?);
        }
        body(content.as_deref().unwrap_or_default())
    }

    pub(crate) fn read_at(&self, position: u64, to: &mut [u8]) -> Result<usize, Errno> {
        if self.is_directory {
            return Err(Errno::EISDIR);
        }
        if let Some(read) = self.maker.piece(&self.path, position, to) {
            return read;
        }
        self.with(position == 0, |content| {
            let from = usize::try_from(position).unwrap_or(usize::MAX).min(content.len());
            let length = to.len().min(content.len() - from);
            to[..length].copy_from_slice(&content[from..from + length]);
            Ok(length)
        })
    }

    pub(crate) fn write(&self, from: &[u8]) -> Result<usize, Errno> {
        self.maker.write(&self.path, from)
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
        let length = self.with(index == 0, |names| {
            let mut lines = names.split(|&byte| byte == b'\n').filter(|name| !name.is_empty());
            let Some(name) = lines.nth(index) else { return Ok(None) };
            let length = name.len().min(to.len());
            to[..length].copy_from_slice(&name[..length]);
            Ok(Some(length))
        })?;
        let Some(length) = length else { return Ok(None) };
        let name = core::str::from_utf8(&to[..length]).map_err(|_| Errno::EINVAL)?;
        let mut path = fallible::text(&self.path)?;
        path.try_reserve(length + 1).map_err(|_| Errno::ENOMEM)?;
        // CANNOT FAIL: reserved above.
        path.push('/');
        path.push_str(name);
        // What has gone meanwhile was there when the names were made.
        let stat = self.maker.stat(&path).unwrap_or_default();
        Ok(Some((length, stat.inode, stat.mode)))
    }
}
