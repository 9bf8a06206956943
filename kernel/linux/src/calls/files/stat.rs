//! What a program can learn of a file.

use super::at::{HERE, directory, file, place_at};
use crate::abi::{self, Stat};
use crate::error::Errno;
use crate::error::SysResult;
use crate::files::file_bytes;
use crate::files::mount_flags::Rules;
use crate::files::mounts::{self, Made};
use crate::files::open::Target;
use crate::files::room::Room;
use crate::files::spot::root;
use crate::files::standing::Standing;
use crate::proc;
use crate::process::identity::{permissions, users};
use crate::process::user_memory::{MAX_PATH, get, put, string};
use crate::process::walk::Place;
use crate::spaces::user::{self, Kind};
use alloc::sync::Arc;
use machine::memory::frames;

const AT_EMPTY_PATH: u64 = 0x1000;
pub(super) const AT_SYMLINK_NOFOLLOW: u64 = 0x100;

fn stat_by_path(from: u64, at: u64, follow: bool) -> Result<Stat, Errno> {
    Ok(match place_at(from, at, follow)? {
        Place::Node(node, _) => node.stat(),
        Place::Made(path) => proc::stat(&path)?,
        Place::Open(file) => file.stat(),
    })
}

/// A status with its owners as the caller is told of them.
pub(crate) fn told(stat: Stat) -> Stat {
    let space = users::here();
    let user = user::shown(&space, Kind::Users, stat.user);
    let group = user::shown(&space, Kind::Groups, stat.group);
    Stat { user, group, ..stat }
}

pub(crate) fn stat(at: u64, to: u64, follow: bool) -> SysResult {
    put(to, &abi::encode_stat(&told(stat_by_path(HERE, at, follow)?)))?;
    Ok(0)
}

pub(crate) fn fstat(number: u64, to: u64) -> SysResult {
    put(to, &abi::encode_stat(&told(file(number)?.stat())))?;
    Ok(0)
}

/// What a directory, a path and flags lead to: the directory itself, if the path is empty and may
/// be.
fn stat_at(number: u64, at: u64, flags: u64) -> Result<Stat, Errno> {
    /// Links, automounts, the empty path, and how fresh it must be.
    const KNOWN: u64 = 0x7900;
    if flags & 0xffff_ffff & !(KNOWN | 0x200) != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & AT_EMPTY_PATH != 0 && (at == 0 || get::<1>(at)? == [0]) {
        if number as i32 == HERE as i32 {
            return match directory() {
                Standing::Tree(spot) => Ok(spot.node().stat()),
                Standing::Made(path) => proc::stat(&path),
            };
        }
        return Ok(file(number)?.stat());
    }
    stat_by_path(number, at, flags & AT_SYMLINK_NOFOLLOW == 0)
}

pub(crate) fn fstatat(number: u64, at: u64, to: u64, flags: u64) -> SysResult {
    put(to, &abi::encode_stat(&told(stat_at(number, at, flags)?)))?;
    Ok(0)
}

pub(crate) fn statx(number: u64, at: u64, flags: u64, mask: u64, to: u64) -> SysResult {
    /// How fresh it must be: one or the other.
    const FRESHNESS: u64 = 0x6000;
    const RESERVED: u64 = 1 << 31;
    if mask & RESERVED != 0 || flags & FRESHNESS == FRESHNESS {
        return Err(Errno::EINVAL);
    }
    put(to, &abi::encode_statx(&told(stat_at(number, at, flags)?)))?;
    Ok(0)
}

/// access: whether a path can be used by the caller's real user, or, if it says so, by the
/// effective one.
pub(crate) fn access(from: u64, at: u64, mode: u64, flags: u64) -> SysResult {
    const EFFECTIVE: u64 = 0x200;
    let (mode, flags) = (mode & 0xffff_ffff, flags & 0xffff_ffff);
    if mode & !7 != 0 || flags & !(EFFECTIVE | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let stat = stat_at(from, at, flags)?;
    match flags & EFFECTIVE {
        0 => permissions::check_as_real(&stat, mode as u32)?,
        _ => permissions::check(&stat, mode as u32)?,
    }
    Ok(0)
}

/// What `statfs` tells of the file system that a path is on.
fn put_statfs(made: Option<&str>, room: Option<Arc<Room>>, rules: Rules, to: u64) -> SysResult {
    let flags = rules.for_statfs();
    const TMPFS: u64 = 0x0102_1994;
    const PROC: u64 = 0x9fa0;
    const SYS: u64 = 0x6265_6572;
    const GROUPS: u64 = 0x6367_7270;
    let encoded = if let Some(path) = made {
        let kind = match mounts::made_at(path) {
            Some((Made::Groups, ..)) => GROUPS,
            _ if path.starts_with("/sys") => SYS,
            _ => PROC,
        };
        abi::encode_statfs(kind, [0; 2], flags)
    } else {
        let (whole, free) = room.and_then(|room| room.pages()).unwrap_or_else(file_bytes::room);
        abi::encode_statfs(TMPFS, [whole, free.min(frames::free_count() as u64)], flags)
    };
    put(to, &encoded)?;
    Ok(0)
}

pub(crate) fn statfs(at: u64, to: u64) -> SysResult {
    match place_at(HERE, at, true)? {
        Place::Made(path) => {
            proc::stat(&path).and(put_statfs(Some(&path), None, mounts::rules_at(&path), to))
        }
        Place::Node(node, lies) => {
            put_statfs(None, node.room(), mounts::rules_of(|| lies.path())?, to)
        }
        Place::Open(_) => put_statfs(None, None, Rules::new(0), to),
    }
}

pub(crate) fn fstatfs(number: u64, to: u64) -> SysResult {
    match &file(number)?.target {
        Target::Made(made) => {
            put_statfs(Some(made.path()), None, mounts::rules_at(made.path()), to)
        }
        Target::Node(node, known) => {
            put_statfs(None, node.room(), mounts::rules_of(|| known.path())?, to)
        }
        _ => put_statfs(None, None, Rules::new(0), to),
    }
}

/// The size that statfs64 is told: that of the structure, or it is another one.
#[cfg(target_pointer_width = "32")]
pub(crate) fn with_size(size: u64, body: impl FnOnce() -> SysResult) -> SysResult {
    // On the 32-bit ARM, both the packed and the padded size count.
    if size == 84 || size == 88 { body() } else { Err(Errno::EINVAL) }
}

/// ustat: what is free of the file system that a device number stands for.
pub(crate) fn ustat(device: u64, to: u64) -> SysResult {
    /// Free blocks of 4 bytes, free inodes of a word, two names of 6 bytes each.
    const BYTES: usize = (2 * abi::WORD.bytes() + 12).next_multiple_of(abi::WORD.bytes());
    let is_tree = device as u32 as u64 == root()?.stat().file_system;
    if !is_tree && !proc::is_device(device as u32 as u64) {
        return Err(Errno::EINVAL);
    }
    let mut bytes = [0; BYTES];
    if is_tree {
        let free = file_bytes::room().1.min(frames::free_count() as u64);
        bytes[..4].copy_from_slice(&u32::try_from(free).unwrap_or(u32::MAX).to_le_bytes());
    }
    put(to, &bytes)?;
    Ok(0)
}

/// sysfs: the kinds of file systems by their numbers, which of them has a name, and how many there
/// are.
pub(crate) fn file_systems(option: u64, first: u64, second: u64) -> SysResult {
    const NUMBER: i32 = 1;
    const NAME: i32 = 2;
    const COUNT: i32 = 3;
    match option as i32 {
        NUMBER => {
            let asked = string(first, MAX_PATH)?;
            let mut all = proc::FILE_SYSTEMS.iter();
            let place = all.position(|name| name.as_bytes() == asked);
            place.map(|place| place as u64).ok_or(Errno::EINVAL)
        }
        NAME => {
            let place = usize::try_from(first as u32).unwrap_or(usize::MAX);
            let name = proc::FILE_SYSTEMS.get(place).ok_or(Errno::EINVAL)?;
            put(second, name.as_bytes())?;
            put(second.checked_add(name.len() as u64).ok_or(Errno::EFAULT)?, &[0])?;
            Ok(0)
        }
        COUNT => Ok(proc::FILE_SYSTEMS.len() as u64),
        _ => Err(Errno::EINVAL),
    }
}
