//! A directory that paths are seen from: a process's own, or an open one. One of the tree stays the
//! same whatever becomes of its name.

use super::spot::Spot;
use crate::error::Errno;
use alloc::string::String;
use alloc::sync::Arc;
use machine::memory::fallible;

/// See the module's head.
#[derive(Debug, Clone)]
pub(crate) enum Standing {
    Tree(Spot),
    /// One of /proc or /sys, which keep their names: absolute, with no link in it.
    Made(Arc<String>),
}

impl Standing {
    pub(crate) fn made(path: String) -> Result<Self, Errno> {
        Ok(Self::Made(fallible::shared(path)?))
    }

    /// Where it lies. `ENOENT`: it was removed.
    pub(crate) fn path(&self) -> Result<String, Errno> {
        match self {
            Self::Tree(spot) if spot.is_gone() => Err(Errno::ENOENT),
            _ => self.last_path(),
        }
    }

    /// The same; of one that was removed, where it was.
    pub(crate) fn last_path(&self) -> Result<String, Errno> {
        match self {
            Self::Tree(spot) => spot.path(),
            Self::Made(path) => Ok(fallible::text(path)?),
        }
    }
}
