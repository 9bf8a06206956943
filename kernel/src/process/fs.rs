//! Files, for the rest of the kernel.

use super::files::Target;
use super::{proc_fs, tree};
use alloc::vec::Vec;

pub(crate) use super::tree::unpack;

/// All of a file, of the tree or of /proc.
pub fn read_file(path: &str) -> Option<Vec<u8>> {
    let parts = tree::absolute("/", path);
    if let Some(opened) = proc_fs::open_path(&parts) {
        return match opened {
            Ok(Target::Text(text)) => Some(text),
            _ => None,
        };
    }
    let node = tree::find("/", path, true).ok()?;
    let mut bytes = alloc::vec![0; usize::try_from(node.bytes()).ok()?];
    let read = node.read_at(0, &mut bytes).ok()?;
    bytes.truncate(read);
    Some(bytes)
}
