//! The file that a process runs: it stays what it is, whatever becomes of its names.

use crate::error::Errno;
use crate::files::spot::Known;
use crate::files::tree::Node;
use alloc::sync::Arc;
use machine::memory::fallible;

/// A program that runs. While there is one, its file is not written (ETXTBSY).
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) node: Arc<Node>,
    pub(crate) known: Arc<Known>,
}

impl Running {
    /// A program begins to run from a file: refused while that is written.
    pub(crate) fn begin(node: Arc<Node>, known: Arc<Known>) -> Result<Arc<Self>, Errno> {
        node.attributes.begin_running()?;
        // Without memory for it, it ends right away.
        Ok(fallible::shared(Self { node, known })?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.node.attributes.end_running();
    }
}
