//! What a program can learn of a file.

use super::at::{HERE, file, path_at};
use crate::abi::{self, Stat};
use crate::error::Errno;
use crate::error::SysResult;
use crate::files::open::OpenFile;
use crate::files::tree;
use crate::proc;
use crate::process::user_memory::{get, put};
use machine::memory::frames;

const AT_EMPTY_PATH: u64 = 0x1000;
const AT_SYMLINK_NOFOLLOW: u64 = 0x100;

fn stat_by_path(from: u64, at: u64, follow: bool) -> Result<Stat, Errno> {
    let path = path_at(from, at)?;
    Ok(match proc::open_path(&path) {
        Some(target) => OpenFile::new(target?)?.stat(),
        None => tree::find("/", &path, follow)?.stat(),
    })
}

pub(crate) fn stat(at: u64, to: u64, follow: bool) -> SysResult {
    put(to, &abi::encode_stat(&stat_by_path(HERE, at, follow)?))?;
    Ok(0)
}

pub(crate) fn fstat(number: u64, to: u64) -> SysResult {
    put(to, &abi::encode_stat(&file(number)?.stat()))?;
    Ok(0)
}

/// What a directory, a path and flags lead to: the directory itself, if the path is empty and may be.
fn stat_at(number: u64, at: u64, flags: u64) -> Result<Stat, Errno> {
    if flags & AT_EMPTY_PATH != 0 && get::<1>(at)? == [0] {
        return Ok(file(number)?.stat());
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
