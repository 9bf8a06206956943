//! What a descriptor or a path of the caller leads to.

use crate::error::Errno;
use crate::files::open::OpenFile;
use crate::files::standing::Standing;
use crate::process::current_task;
use crate::process::user_memory::path;
use crate::process::walk::{self, Place, Route};
use alloc::sync::Arc;
use threads::sched;

/// "The current directory", where a call takes a directory.
pub(crate) const HERE: u64 = -100_i64 as u64;

/// The open file behind a descriptor, pinned in the thread until the call ends.
pub(super) fn file(number: u64) -> Result<&'static OpenFile, Errno> {
    let descriptor = current_task().files().lock().get(number)?;
    sched::current().pin(descriptor.file).ok_or(Errno::ENFILE)
}

/// The same, to keep: for what must count its users.
pub(super) fn file_arc(number: u64) -> Result<Arc<OpenFile>, Errno> {
    Ok(current_task().files().lock().get(number)?.file)
}

/// The current directory.
pub(super) fn directory() -> Standing {
    current_task().place().directory()
}

/// A path of the program, seen from an open directory, or from the current one.
pub(super) fn route_at(from: u64, at: u64) -> Result<Route, Errno> {
    route(from, &path(at)?)
}

fn route(from: u64, path: &str) -> Result<Route, Errno> {
    if path.starts_with('/') || from as i32 == HERE as i32 {
        return Route::new(&directory(), path);
    }
    Route::new(&file(from)?.directory()?, path)
}

/// What the last part of a path is, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    Name,
    /// With a slash behind it.
    Directory,
    /// `.`, and the root.
    Here,
    /// `..`.
    Above,
}

fn last_of(path: &str) -> Last {
    let name = path.trim_end_matches('/');
    match name.rsplit('/').next() {
        None | Some("" | ".") => Last::Here,
        Some("..") => Last::Above,
        Some(_) if name.len() < path.len() => Last::Directory,
        Some(_) => Last::Name,
    }
}

/// A path of the program, and how its last part was written.
pub(super) fn named_at(from: u64, at: u64) -> Result<(Route, Last), Errno> {
    let path = path(at)?;
    let last = last_of(&path);
    Ok((route(from, &path)?, last))
}

/// The same where something new is to be that is no directory.
pub(super) fn new_at(from: u64, at: u64) -> Result<Route, Errno> {
    match named_at(from, at)? {
        (route, Last::Directory) => {
            let is_there = walk::find(route, false).is_ok();
            Err(if is_there { Errno::EEXIST } else { Errno::ENOENT })
        }
        (route, _) => Ok(route),
    }
}

/// What a directory and a path of the program lead to.
pub(super) fn place_at(from: u64, at: u64, follow: bool) -> Result<Place, Errno> {
    let path = path(at)?;
    // With a slash or a point behind it, it is the path of a directory, to which a link may lead.
    let is_of_directory = path.ends_with('/') || path.ends_with("/.");
    match walk::find(route(from, &path)?, follow || is_of_directory)? {
        Place::Node(node, _) if is_of_directory && !node.is_directory() => Err(Errno::ENOTDIR),
        Place::Open(_) if is_of_directory => Err(Errno::ENOTDIR),
        place => Ok(place),
    }
}
