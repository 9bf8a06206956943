//! Where a process is in the file tree, which mounts it sees there, and what it may keep from files
//! it makes: shared with `CLONE_FS`.

use crate::error::Errno;
use crate::files::mounts::Namespace;
use crate::files::spot::Spot;
use crate::files::standing::Standing;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;

/// See the module's head.
#[derive(Debug)]
pub struct Place {
    directory: SpinLock<Standing>,
    /// Where its paths begin; `None`: at the tree's root.
    root: SpinLock<Option<Spot>>,
    /// Its mount namespace; `None`: the first one.
    mounts: SpinLock<Option<Arc<Namespace>>>,
    /// The bits that new files do not get.
    pub umask: AtomicU32,
}

impl Place {
    /// The root, as the first process begins.
    pub(crate) fn root() -> Result<Arc<Self>, Errno> {
        Ok(fallible::shared(Self {
            directory: SpinLock::new(Self::top()?),
            root: SpinLock::new(None),
            mounts: SpinLock::new(None),
            umask: AtomicU32::new(0o022),
        })?)
    }

    /// The root of the tree, to stand in.
    pub(crate) fn top() -> Result<Standing, Errno> {
        Spot::top().map(Standing::Tree)
    }

    /// One of its own for a child.
    pub(crate) fn copy(&self) -> Result<Arc<Self>, Errno> {
        Ok(fallible::shared(Self {
            directory: SpinLock::new(self.directory()),
            root: SpinLock::new(self.root.lock().clone()),
            mounts: SpinLock::new(self.mounts()),
            umask: AtomicU32::new(self.umask.load(Ordering::Relaxed)),
        })?)
    }

    /// The current directory.
    pub(crate) fn directory(&self) -> Standing {
        self.directory.lock().clone()
    }

    /// The directory that its paths begin at; `None`: the tree's root.
    pub(crate) fn root_directory(&self) -> Option<Spot> {
        self.root.lock().clone()
    }

    /// Makes it another one; gives out the one before.
    pub(crate) fn set_root_directory(&self, to: Option<Spot>) -> Option<Spot> {
        core::mem::replace(&mut *self.root.lock(), to)
    }

    /// The mount namespace; `None`: the first one.
    pub(crate) fn mounts(&self) -> Option<Arc<Namespace>> {
        self.mounts.lock().clone()
    }

    /// Goes to another mount namespace; gives out the one before.
    pub(crate) fn set_mounts(&self, to: Option<Arc<Namespace>>) -> Option<Arc<Namespace>> {
        core::mem::replace(&mut *self.mounts.lock(), to)
    }

    /// Goes to another directory; gives out the one before.
    pub(crate) fn set_directory(&self, to: Standing) -> Standing {
        core::mem::replace(&mut *self.directory.lock(), to)
    }
}
