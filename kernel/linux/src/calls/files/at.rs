//! What a descriptor or a path of the caller leads to.

use crate::error::Errno;
use crate::files::open::{OpenFile, Target};
use crate::files::tree;
use crate::process::current;
use crate::process::user_memory::path;
use alloc::string::String;
use alloc::sync::Arc;
use threads::sched;

/// "The current directory", where a call takes a directory.
pub(crate) const HERE: u64 = -100_i64 as u64;

/// The open file behind a descriptor, pinned in the thread until the call ends.
pub(super) fn file(number: u64) -> Result<&'static OpenFile, Errno> {
    let descriptor = current().files().lock().get(number)?;
    sched::current().pin(descriptor.file).ok_or(Errno::ENFILE)
}

/// The same, to keep: for what must count its users.
pub(super) fn file_arc(number: u64) -> Result<Arc<OpenFile>, Errno> {
    Ok(current().files().lock().get(number)?.file)
}

pub(super) fn directory() -> Arc<String> {
    current().place().directory()
}

/// A path of the program, made absolute: seen from an open directory, or from the current one.
pub(super) fn path_at(from: u64, at: u64) -> Result<String, Errno> {
    let path = path(at)?;
    if path.starts_with('/') || from as i32 == HERE as i32 {
        return tree::absolute(&directory(), &path);
    }
    match &file(from)?.target {
        Target::Node(node, directory) if node.is_directory() => tree::absolute(directory, &path),
        _ => Err(Errno::ENOTDIR),
    }
}
