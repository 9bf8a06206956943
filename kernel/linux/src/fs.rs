//! Files, for the rest of the kernel.

use crate::files::open::Target;
use crate::files::tree;
use crate::proc;
use alloc::vec::Vec;

pub use crate::files::tree::unpack;

/// All of a file, of the tree or of /proc.
pub fn read_file(path: &str) -> Option<Vec<u8>> {
    if let Some(opened) = proc::open_path(&tree::absolute("/", path).ok()?) {
        return match opened {
            Ok(Target::Text(text)) => Some(text),
            _ => None,
        };
    }
    let node = tree::find("/", path, true).ok()?;
    let mut bytes = Vec::new();
    let length = usize::try_from(node.bytes()).ok()?;
    bytes.try_reserve_exact(length).ok()?;
    bytes.resize(length, 0);
    let read = node.read_at(0, &mut bytes).ok()?;
    bytes.truncate(read);
    Some(bytes)
}
