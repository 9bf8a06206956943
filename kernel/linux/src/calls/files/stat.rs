//! What a program can learn of a file.

use super::at::{HERE, file, path_at};
use crate::abi::{self, Stat};
use crate::error::Errno;
use crate::error::SysResult;
use crate::files::open::{OpenFile, Target};
use crate::files::tree::{self, Node};
use crate::proc;
use crate::process::user_memory::{get, put};
use machine::memory::frames;

const AT_EMPTY_PATH: u64 = 0x1000;
const AT_SYMLINK_NOFOLLOW: u64 = 0x100;

fn stat_of(file: &OpenFile) -> Stat {
    target_stat(&file.target)
}

fn target_stat(target: &Target) -> Stat {
    let special = |mode| Stat { inode: 1, mode, links: 1, ..Stat::default() };
    match target {
        Target::Node(node, _) => node_stat(node),
        Target::Text(text) => Stat { bytes: text.len() as u64, ..special(0o100444) },
        Target::Names(_) => special(0o040555),
        Target::PipeReader(_) | Target::PipeWriter(_) | Target::Capture(_) => special(0o010600),
        Target::Console => Stat { device: 5 << 8 | 1, ..special(0o020620) },
        Target::Provoke => special(0o100222),
    }
}

fn node_stat(node: &Node) -> Stat {
    let device = if node.mode() & 0o170000 == 0o020000 { 1 << 8 | 3 } else { 0 };
    Stat {
        inode: node.inode,
        mode: node.mode(),
        links: 1,
        bytes: node.bytes(),
        device,
        modified_seconds: 0,
    }
}

fn stat_by_path(from: u64, at: u64, follow: bool) -> Result<Stat, Errno> {
    let path = path_at(from, at)?;
    Ok(match proc::open_path(&path) {
        Some(target) => target_stat(&target?),
        None => node_stat(&*tree::find("/", &path, follow)?),
    })
}

pub(crate) fn stat(at: u64, to: u64, follow: bool) -> SysResult {
    put(to, &abi::encode_stat(&stat_by_path(HERE, at, follow)?))?;
    Ok(0)
}

pub(crate) fn fstat(number: u64, to: u64) -> SysResult {
    put(to, &abi::encode_stat(&stat_of(file(number)?)))?;
    Ok(0)
}

/// What a directory, a path and flags lead to: the directory itself, if the path is empty and may be.
fn stat_at(number: u64, at: u64, flags: u64) -> Result<Stat, Errno> {
    if flags & AT_EMPTY_PATH != 0 && get::<1>(at)? == [0] {
        return Ok(stat_of(file(number)?));
    }
    stat_by_path(number, at, flags & AT_SYMLINK_NOFOLLOW == 0)
}

pub(crate) fn fstatat(number: u64, at: u64, to: u64, flags: u64) -> SysResult {
    put(to, &abi::encode_stat(&stat_at(number, at, flags)?))?;
    Ok(0)
}

pub(crate) fn statx(number: u64, at: u64, flags: u64, to: u64) -> SysResult {
    put(to, &abi::encode_statx(&stat_at(number, at, flags)?))?;
    Ok(0)
}

pub(crate) fn access(from: u64, at: u64) -> SysResult {
    let path = path_at(from, at)?;
    if let Some(target) = proc::open_path(&path) {
        return target.map(|_| 0);
    }
    tree::find("/", &path, true).map(|_| 0)
}

pub(crate) fn statfs(to: u64) -> SysResult {
    const RAMFS: u64 = 0x8584_58f6;
    let frames = frames::total_count() as u64;
    put(to, &abi::encode_statfs(RAMFS, frames, frames::free_count() as u64))?;
    Ok(0)
}
