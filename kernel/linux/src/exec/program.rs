//! Programs as files of the tree: their bytes, their names.

use crate::error::Errno;
use crate::exec::load::File;
use crate::files::tree::{self, Node};
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::memory::fallible;

/// A program's file.
#[derive(Debug)]
pub(crate) struct Program {
    bytes: Cow<'static, [u8]>,
    node: Arc<Node>,
    path: String,
}

impl Program {
    /// As it is loaded.
    pub(crate) fn file(&self) -> Result<File<'_>, Errno> {
        let path = fallible::text(&self.path)?;
        Ok(File { bytes: &self.bytes, node: Some((self.node.clone(), path)) })
    }
}

/// Finds a program in the tree.
pub(crate) fn program(directory: &str, path: &str) -> Result<Program, Errno> {
    let node = tree::find(directory, path, true)?;
    let path = tree::absolute(directory, path)?;
    if !node.is_mappable() {
        return Err(Errno::EACCES);
    }
    let bytes = contents(&node)?;
    Ok(Program { bytes, node, path })
}

fn contents(node: &Node) -> Result<Cow<'static, [u8]>, Errno> {
    if let tree::Content::Fixed(bytes) = node.content {
        return Ok(Cow::Borrowed(bytes));
    }
    let bytes = usize::try_from(node.bytes()).map_err(|_| Errno::ENOMEM)?;
    let mut file = Vec::new();
    file.try_reserve_exact(bytes).map_err(|_| Errno::ENOMEM)?;
    file.resize(bytes, 0);
    let read = node.read_at(0, &mut file).map_err(|_| Errno::EACCES)?;
    file.truncate(read);
    Ok(Cow::Owned(file))
}

pub(crate) fn joined(argv: &[Vec<u8>]) -> Result<Arc<Vec<u8>>, Errno> {
    let mut line = Vec::new();
    let bytes = argv.iter().map(|argument| argument.len() + 1).sum();
    line.try_reserve_exact(bytes).map_err(|_| Errno::ENOMEM)?;
    for argument in argv {
        // CANNOT FAIL: reserved above.
        line.extend_from_slice(argument);
        line.push(0);
    }
    Ok(fallible::shared(line)?)
}

pub(crate) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
