//! The file that a process runs: it stays what it is, whatever becomes of its names.

use crate::error::Errno;
use crate::files::tree::Node;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::Write;
use machine::memory::fallible::{self, Text};

/// A program that runs. While there is one, its file is not written (ETXTBSY).
#[derive(Debug)]
pub(crate) struct Running {
    node: Arc<Node>,
    path: String,
}

impl Running {
    /// A program begins to run from a file: refused while that is written.
    pub(crate) fn begin(node: Arc<Node>, path: String) -> Result<Arc<Self>, Errno> {
        node.attributes.begin_running()?;
        // Without memory for it, it ends right away.
        Ok(fallible::shared(Self { node, path })?)
    }

    /// Its file and the path that it had.
    pub(crate) fn file(&self) -> (&Arc<Node>, &str) {
        (&self.node, &self.path)
    }

    /// What `/proc/PID/exe` shows.
    pub(crate) fn told(&self) -> Result<String, Errno> {
        let mut text = Text::new();
        let mark = if self.node.attributes.links() == 0 { " (deleted)" } else { "" };
        write!(text, "{}{mark}", self.path).map_err(|_| Errno::ENOMEM)?;
        Ok(text.into_string())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.node.attributes.end_running();
    }
}
