//! Where a process is in the file tree, and what it may keep from files it makes: shared with
//! `CLONE_FS`.

use crate::error::Errno;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;

/// See the module's head.
#[derive(Debug)]
pub struct Place {
    directory: SpinLock<Arc<String>>,
    /// The bits that new files do not get.
    pub umask: AtomicU32,
}

impl Place {
    /// The root, as the first process begins.
    pub(crate) fn root() -> Result<Arc<Self>, Errno> {
        let root = fallible::shared(fallible::text("/")?)?;
        Ok(fallible::shared(Self { directory: SpinLock::new(root), umask: AtomicU32::new(0o022) })?)
    }

    /// One of its own for a child.
    pub(crate) fn copy(&self) -> Result<Arc<Self>, Errno> {
        Ok(fallible::shared(Self {
            directory: SpinLock::new(self.directory()),
            umask: AtomicU32::new(self.umask.load(Ordering::Relaxed)),
        })?)
    }

    /// The current directory.
    pub fn directory(&self) -> Arc<String> {
        self.directory.lock().clone()
    }

    /// Goes to another one; gives out the one before.
    pub(crate) fn set_directory(&self, to: Arc<String>) -> Arc<String> {
        core::mem::replace(&mut *self.directory.lock(), to)
    }
}
