//! What the pages of a mapping come from: a file, or memory that has no name and is shared all the
//! same.
//!
//! A file's pages are those of its page cache ([`Node::page`]); a mapping has them in its tables,
//! with one more user each. So what a program writes through a shared mapping is what another one
//! reads, with `read` or through a mapping of its own. A private mapping has them read-only, and
//! copies a page when it writes.

use crate::error::Errno;
use crate::files::file_bytes::FileBytes;
use crate::files::mapped::NoPage;
use crate::files::spot::Known;
use crate::files::tree::{Content, Node};
use alloc::sync::Arc;
use machine::memory::fallible;
use machine::memory::frames::Frame;
use machine::spin::SpinLock;

/// What a program did to its memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessError {
    /// Nothing is there, or not for this use.
    Address,
    /// It is beyond the end of the file that is mapped there.
    Beyond,
    /// It would be allowed, but there is no frame.
    NoMemory,
}

impl From<AccessError> for Errno {
    fn from(bad: AccessError) -> Self {
        match bad {
            AccessError::Address | AccessError::Beyond => Self::EFAULT,
            AccessError::NoMemory => Self::ENOMEM,
        }
    }
}

/// A mapping's part in a file.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) node: Arc<Node>,
    /// As `maps` shows it.
    pub(crate) known: Arc<Known>,
    writable: bool,
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other)
    }
}

impl Eq for Object {}

impl Object {
    /// For a mapping of a file; `writable`: the file can be written through it.
    pub(crate) fn of(
        node: Arc<Node>,
        known: Arc<Known>,
        writable: bool,
    ) -> Result<Arc<Self>, Errno> {
        node.begin_mapping(writable)?;
        // What fails from here on ends it again.
        Ok(fallible::shared(Self { node, known, writable })?)
    }

    /// Memory without a name that is shared with children: a file that nothing else leads to.
    pub(crate) fn nameless(length: u64) -> Result<Arc<Self>, Errno> {
        let mut bytes = FileBytes::new();
        drop(bytes.set_length(length)?);
        let node = Node::new(Content::File(SpinLock::new(bytes)), 0o777)?;
        Self::of(node, Known::called(fallible::text("/dev/zero (deleted)")?)?, true)
    }

    /// Whether both are mappings of one file.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.node, &other.node) && self.writable == other.writable
    }

    /// A page of it, with one more user.
    pub(crate) fn page(&self, number: u64) -> Result<Frame, AccessError> {
        self.node.page(number).map_err(|none| match none {
            NoPage::Beyond => AccessError::Beyond,
            NoPage::NoMemory => AccessError::NoMemory,
        })
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        self.node.end_mapping(self.writable);
    }
}
