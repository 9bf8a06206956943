//! A directory that paths are seen from: a process's own, or an open one. It stays the same
//! whatever becomes of its name.

use super::node::Node;
use super::tree;
use crate::error::Errno;
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

/// The count of [`tree::moves`] at which a path was found to lead to its directory. That count
/// begins at 1.
#[derive(Debug, Default)]
pub(crate) struct Seen(AtomicU64);

impl Seen {
    /// Where a directory lies that this path led to: there, as long as no name of a directory has
    /// changed since it was looked at.
    ///
    /// `ENOENT`: it was removed.
    pub(crate) fn path_of<'p>(
        &self,
        node: &Arc<Node>,
        path: &'p str,
    ) -> Result<Cow<'p, str>, Errno> {
        let moves = tree::moves();
        if self.0.load(Ordering::Relaxed) == moves {
            return Ok(Cow::Borrowed(path));
        }
        let there = tree::find("/", path, false);
        if there.is_ok_and(|there| Arc::ptr_eq(&there, node)) {
            self.0.store(moves, Ordering::Relaxed);
            return Ok(Cow::Borrowed(path));
        }
        tree::path_of(node).map(Cow::Owned)
    }
}

/// A directory, and the path that led to it.
#[derive(Debug)]
pub(crate) struct Standing {
    /// `None`: one of /proc or /sys, which keep their names.
    node: Option<Arc<Node>>,
    path: String,
    seen: Seen,
}

impl Standing {
    pub(crate) fn new(node: Option<Arc<Node>>, path: String) -> Self {
        Self { node, path, seen: Seen::default() }
    }

    /// Where it lies. `ENOENT`: it was removed.
    pub(crate) fn path(&self) -> Result<Cow<'_, str>, Errno> {
        match &self.node {
            Some(node) => self.seen.path_of(node, &self.path),
            None => Ok(Cow::Borrowed(&self.path)),
        }
    }

    /// The same; of one that was removed, where it was.
    pub(crate) fn last_path(&self) -> Cow<'_, str> {
        self.path().unwrap_or(Cow::Borrowed(&self.path))
    }
}
