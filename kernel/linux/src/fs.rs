//! Files, for the rest of the kernel.

use crate::files::tree::{self, Content};
use crate::proc;
use crate::process::walk;
use alloc::string::String;
use alloc::vec::Vec;
use machine::memory::fallible;

pub use crate::files::unpack::unpack;

/// All of a file, of the tree or of /proc.
pub fn read_file(path: &str) -> Option<Vec<u8>> {
    let absolute = tree::absolute("/", path).ok()?;
    if walk::is_made(&absolute) {
        return match proc::content(&absolute) {
            Ok(proc::Content::Text(text)) => Some(text),
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

/// Where a symbolic link leads.
pub fn link_target(path: &str) -> Option<String> {
    match &tree::find("/", path, false).ok()?.content {
        Content::Link(target) => fallible::text(target).ok(),
        _ => None,
    }
}
