//! Whose a file is, who may use it, when it was used; more names for a file; files that are no
//! files.

use super::at::{HERE, Last, directory, file, named_at, new_at, place_at};
use super::names::{add, masked};
use super::stat::AT_SYMLINK_NOFOLLOW;
use super::transfer::may_have_length;
use crate::abi;
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::files::attributes::{Moment, file_flag, now};
use crate::files::file_bytes::FileBytes;
use crate::files::inotify::{self, bit};
use crate::files::mounts;
use crate::files::open::{OpenFile, Target, flag};
use crate::files::pipe::Pipe;
use crate::files::spot::Lies;
use crate::files::standing::Standing;
use crate::files::tree::Parent;
use crate::files::tree::{self, Content, Node, Rename, Special};
use crate::memory::cut;
use crate::proc;
use crate::process::current_task;
use crate::process::identity::credentials::capability;
use crate::process::identity::{permissions, users};
use crate::process::user_memory::{get, get_numbers, path, put};
use crate::process::walk::{self, Place};
use crate::spaces::user::Kind;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::Ordering;
use machine::memory::frames::FRAME_BYTES;
use machine::spin::SpinLock;

const AT_EMPTY_PATH: u64 = 0x1000;
const AT_SYMLINK_FOLLOW: u64 = 0x400;
const FORMAT: u32 = 0o170000;

/// The node behind a descriptor. `EPERM`: it leads to something that has no attributes of its own
/// to change.
fn node_of(file: &OpenFile) -> Result<(Arc<Node>, Lies), Errno> {
    match &file.target {
        Target::Node(node, known) => {
            mounts::check_change(|| known.path())?;
            Ok((node.clone(), Lies::As(known.clone())))
        }
        _ => Err(Errno::EPERM),
    }
}

/// The node that a directory and a path lead to. `EPERM`: what is made when it is read cannot be
/// changed.
fn node_at(from: u64, at: u64, flags: u64) -> Result<(Arc<Node>, Lies), Errno> {
    if flags & AT_EMPTY_PATH != 0 && get::<1>(at)? == [0] {
        if from as i32 == HERE as i32 {
            return match directory() {
                Standing::Tree(spot) => {
                    mounts::check_change(|| spot.path())?;
                    Ok((spot.node().clone(), Lies::Here(spot)))
                }
                Standing::Made(_) => Err(Errno::EPERM),
            };
        }
        return node_of(file(from)?);
    }
    match place_at(from, at, flags & AT_SYMLINK_NOFOLLOW == 0)? {
        Place::Node(node, lies) => {
            mounts::check_change(|| lies.path())?;
            Ok((node, lies))
        }
        Place::Made(path) => proc::stat(&path).and(Err(Errno::EPERM)),
        Place::Open(file) => node_of(&file),
    }
}

fn check_flags(flags: u64, known: u64) -> Result<(), Errno> {
    if flags & 0xffff_ffff & !known != 0 { Err(Errno::EINVAL) } else { Ok(()) }
}

pub(crate) fn chmod(from: u64, at: u64, mode: u64, flags: u64) -> SysResult {
    check_flags(flags, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)?;
    let (node, lies) = node_at(from, at, flags)?;
    // A link has no permissions.
    if matches!(node.content, Content::Link(_)) {
        return Err(Errno::EOPNOTSUPP);
    }
    set_permissions(&node, &lies, mode as u32)
}

fn set_permissions(node: &Node, lies: &Lies, mode: u32) -> SysResult {
    let stat = node.stat();
    node.attributes.has_none_of(file_flag::KEPT)?;
    permissions::may_as_owner(&stat)?;
    node.change_permissions(permissions::settable(&stat, mode))?;
    inotify::tell_at(node, lies, bit::ATTRIB);
    Ok(0)
}

fn usable(number: u64) -> Result<&'static OpenFile, Errno> {
    let file = file(number)?;
    if file.flags() & flag::PATH != 0 { Err(Errno::EBADF) } else { Ok(file) }
}

pub(crate) fn fchmod(number: u64, mode: u64) -> SysResult {
    let (node, lies) = node_of(usable(number)?)?;
    set_permissions(&node, &lies, mode as u32)
}

#[cfg(target_pointer_width = "32")]
/// A user or group: what has 16 bits says "as before" with all of them.
pub(crate) const fn narrow(id: u64) -> u64 {
    if id as u16 == u16::MAX { u64::MAX } else { id as u16 as u64 }
}

fn set_owner(node: &Node, lies: &Lies, user: u64, group: u64) -> SysResult {
    let user: u64 = users::meant_or_keep(Kind::Users, user as u32)?.into();
    let group: u64 = users::meant_or_keep(Kind::Groups, group as u32)?.into();
    node.attributes.has_none_of(file_flag::KEPT)?;
    permissions::may_give(&node.stat(), user as u32, group as u32)?;
    // A new owner does not get what the old one's program may do.
    if !node.is_directory() {
        let permissions = node.attributes.permissions();
        let set_group = if permissions & 0o010 != 0 { 0o2000 } else { 0 };
        if permissions & (0o4000 | set_group) != 0 {
            node.attributes.set_permissions(permissions & !(0o4000 | set_group));
        }
    }
    node.attributes.set_owner(user as u32, group as u32);
    inotify::tell_at(node, lies, bit::ATTRIB);
    Ok(0)
}

pub(crate) fn chown(from: u64, at: u64, user: u64, group: u64, flags: u64) -> SysResult {
    check_flags(flags, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)?;
    let (node, lies) = node_at(from, at, flags)?;
    set_owner(&node, &lies, user, group)
}

pub(crate) fn fchown(number: u64, user: u64, group: u64) -> SysResult {
    let (node, lies) = node_of(usable(number)?)?;
    set_owner(&node, &lies, user, group)
}

/// A time that a program names. Seconds have a sign.
fn moment(seconds: u64, nanoseconds: u64, size: WordSize) -> Moment {
    let seconds = match size {
        WordSize::Four => i64::from(seconds as u32 as i32),
        WordSize::Eight => seconds as i64,
    };
    Moment { seconds, nanoseconds: nanoseconds as u32 }
}

/// lchown's flags.
pub(crate) const NOFOLLOW: u64 = AT_SYMLINK_NOFOLLOW;

/// utimensat: two times, as `timespec`s; no path: the descriptor's file.
pub(crate) fn utimens(from: u64, at: u64, times: u64, flags: u64, size: WordSize) -> SysResult {
    const NOW: u64 = 0x3fff_ffff;
    const OMIT: u64 = 0x3fff_fffe;
    check_flags(flags, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)?;
    let one = |[seconds, nanoseconds]: [u64; 2]| match nanoseconds {
        NOW => Ok(Some(now())),
        OMIT => Ok(None),
        0..1_000_000_000 => Ok(Some(moment(seconds, nanoseconds, size))),
        _ => Err(Errno::EINVAL),
    };
    let mut to_now = times == 0;
    let [read, written] = match times {
        0 => [Some(now()); 2],
        at => {
            let [a, b, c, d] = get_numbers(at, size)?;
            to_now = b == NOW && d == NOW;
            [one([a, b])?, one([c, d])?]
        }
    };
    // Nothing is to be set: not even the path is looked at.
    if read.is_none() && written.is_none() {
        return Ok(0);
    }
    let (node, lies) = if at == 0 {
        if from as i32 == HERE as i32 {
            return Err(Errno::EFAULT);
        }
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        node_of(usable(from)?)?
    } else {
        node_at(from, at, flags)?
    };
    may_set_times(&node, to_now)?;
    node.attributes.set_times(read, written);
    inotify::tell_at(&node, &lies, bit::ATTRIB);
    Ok(0)
}

/// Whether the caller may set the times of a file: its owner to anything, one who may write to it
/// to what they are now.
fn may_set_times(node: &Node, to_now: bool) -> Result<(), Errno> {
    let stat = node.stat();
    let kept = if to_now { file_flag::IMMUTABLE } else { file_flag::KEPT };
    node.attributes.has_none_of(kept)?;
    match permissions::may_as_owner(&stat) {
        Err(_) if to_now => permissions::check(&stat, permissions::WRITE),
        as_owner => as_owner,
    }
}

/// utimes and futimesat: the times as `timeval`s.
pub(crate) fn utimes(from: u64, at: u64, times: u64) -> SysResult {
    let to_now = times == 0;
    let times = match times {
        0 => [now(); 2],
        times => {
            let [a, b, c, d] = get_numbers(times, abi::WORD)?;
            if b >= 1_000_000 || d >= 1_000_000 {
                return Err(Errno::EINVAL);
            }
            [[a, b], [c, d]].map(|[seconds, micro]| moment(seconds, micro * 1000, abi::WORD))
        }
    };
    let (node, lies) = node_at(from, at, 0)?;
    may_set_times(&node, to_now)?;
    node.attributes.set_times(Some(times[0]), Some(times[1]));
    inotify::tell_at(&node, &lies, bit::ATTRIB);
    Ok(0)
}

/// utime: the times as seconds.
pub(crate) fn utime(at: u64, times: u64) -> SysResult {
    let to_now = times == 0;
    let times = match times {
        0 => [now(); 2],
        times => get_numbers(times, abi::WORD)?.map(|time| moment(time, 0, abi::WORD)),
    };
    let (node, lies) = node_at(HERE, at, 0)?;
    may_set_times(&node, to_now)?;
    node.attributes.set_times(Some(times[0]), Some(times[1]));
    inotify::tell_at(&node, &lies, bit::ATTRIB);
    Ok(0)
}

pub(crate) fn umask(mask: u64) -> SysResult {
    Ok(current_task().place().umask.swap(mask as u32 & 0o777, Ordering::Relaxed).into())
}

pub(crate) fn link([from, at, to_from, to, flags]: [u64; 5]) -> SysResult {
    check_flags(flags, AT_EMPTY_PATH | AT_SYMLINK_FOLLOW)?;
    let follow = if flags & AT_SYMLINK_FOLLOW == 0 { AT_SYMLINK_NOFOLLOW } else { 0 };
    let node = match node_at(from, at, flags & AT_EMPTY_PATH | follow) {
        // What is made when it is read is of another file system, as its mounts are.
        Err(Errno::EPERM) => Err(Errno::EXDEV),
        found => found.map(|(node, _)| node),
    };
    let parent = walk::parent(new_at(to_from, to)?)?;
    let Parent::In(spot, name) = parent else { return Err(node.err().unwrap_or(Errno::EXDEV)) };
    if spot.node().child(&name).is_ok() {
        node?;
        return Err(Errno::EEXIST);
    }
    let node = node?;
    permissions::change_names(&spot)?;
    node.attributes.has_none_of(file_flag::KEPT)?;
    tree::link_in(&node, &spot, &name).map(|()| 0)
}

/// mknod: files and named pipes; the devices that there are.
pub(crate) fn mknod(from: u64, at: u64, mode: u64, device: u64) -> SysResult {
    let mode = mode as u32;
    let route = new_at(from, at)?;
    let is_device = matches!(mode & FORMAT, 0o020000 | 0o060000);
    if is_device && !current_task().credentials().can(capability::MKNOD) {
        return Err(Errno::EPERM);
    }
    let content = match mode & FORMAT {
        0 | 0o100000 => Content::File(SpinLock::new(FileBytes::new())),
        0o010000 => Content::Pipe(Pipe::new()?),
        0o020000 => {
            let absent = Special::Absent { device: device as u32, is_block: false };
            Content::Special(Special::of_device(device & 0xffff_ffff).unwrap_or(absent))
        }
        // No socket is bound to it.
        0o140000 => Content::Socket(Weak::<()>::new()),
        0o060000 => Content::Special(Special::Absent { device: device as u32, is_block: true }),
        0o040000 => return Err(Errno::EPERM),
        _ => return Err(Errno::EINVAL),
    };
    add(Node::new(content, masked(mode))?, route)
}

pub(crate) fn rename([from_directory, from, to_directory, to, flags]: [u64; 5]) -> SysResult {
    let how = match flags & 0xffff_ffff {
        0 => Rename::Replace,
        1 => Rename::NoReplace,
        2 => Rename::Exchange,
        _ => return Err(Errno::EINVAL),
    };
    let (from, from_last) = named_at(from_directory, from)?;
    let (to, to_last) = named_at(to_directory, to)?;
    let lasts = [from_last, to_last];
    if lasts.iter().any(|last| matches!(last, Last::Here | Last::Above)) {
        return Err(Errno::EBUSY);
    }
    let ((from, from_name), (to, to_name)) = match (walk::parent(from)?, walk::parent(to)?) {
        (Parent::In(from, from_name), Parent::In(to, to_name)) => {
            ((from, from_name), (to, to_name))
        }
        // Nothing that is made when it is read has its name changed.
        (Parent::Made(_), Parent::Made(_)) => return Err(Errno::ENOENT),
        _ => return Err(Errno::EXDEV),
    };
    let node = from.node().child(&from_name)?;
    if lasts.contains(&Last::Directory) && !node.is_directory() {
        return Err(Errno::ENOTDIR);
    }
    permissions::remove_name(&from, &node)?;
    permissions::change_names(&to)?;
    if let Ok(there) = to.node().child(&to_name) {
        permissions::remove_name(&to, &there)?;
    }
    drop(node);
    tree::rename_in((&from, &from_name), (&to, &to_name), how).map(|()| 0)
}

pub(crate) fn fchdir(number: u64) -> SysResult {
    let to = file(number)?.directory()?;
    if let Standing::Tree(spot) = &to {
        permissions::search(spot.node())?;
    }
    let before = current_task().place().set_directory(to);
    drop(before);
    Ok(0)
}

/// fsync and its like: what is in memory is where it is to be. Only files that could be written
/// elsewhere have it.
pub(crate) fn sync_file(number: u64) -> SysResult {
    match &usable(number)?.target {
        Target::Node(node, _) if !matches!(node.content, Content::Special(_)) => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// fallocate: makes a file longer; pages are there when they are written.
pub(crate) fn fallocate(number: u64, mode: u64, offset: u64, length: u64) -> SysResult {
    const KEEP_SIZE: u64 = 1;
    const PUNCH_HOLE: u64 = 2;
    let file = usable(number)?;
    let top = offset.checked_add(length).filter(|&top| top <= i64::MAX as u64);
    if (offset as i64) < 0 || (length as i64) <= 0 {
        return Err(Errno::EINVAL);
    }
    let mode = mode & 0xffff_ffff;
    if mode & !(KEEP_SIZE | PUNCH_HOLE) != 0 || mode == PUNCH_HOLE {
        return Err(Errno::EOPNOTSUPP);
    }
    if !file.can_write() {
        return Err(Errno::EBADF);
    }
    if let Target::Node(node, _) = &file.target {
        let only_more = mode & !KEEP_SIZE == 0;
        let kept = if only_more { file_flag::IMMUTABLE } else { file_flag::KEPT };
        node.attributes.has_none_of(kept)?;
    }
    let top = top.ok_or(Errno::EFBIG)?;
    let (node, bytes) = match &file.target {
        Target::Node(node, _) => match &node.content {
            Content::File(bytes) => (node, bytes),
            Content::Directory(_) => return Err(Errno::EISDIR),
            _ => return Err(Errno::ENODEV),
        },
        Target::Object(object) if object.is_stream() => return Err(Errno::ESPIPE),
        _ => return Err(Errno::ENODEV),
    };
    if mode & PUNCH_HOLE != 0 {
        cut::punch_bytes(node, offset, top)?;
        node.attributes.was_written();
        return Ok(0);
    }
    if top <= bytes.lock().len() {
        return Ok(0);
    }
    // Room cannot be kept for what is beyond the end.
    if mode & KEEP_SIZE != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    may_have_length(node, top)?;
    cut::grow(node, top)?;
    node.attributes.was_written();
    Ok(0)
}

/// fadvise64: how a file will be read. All of it is in memory.
#[cfg(target_pointer_width = "64")]
pub(crate) fn advise(number: u64, length: u64, advice: u64) -> SysResult {
    const MOST: u64 = 5;
    let file = usable(number)?;
    match &file.target {
        Target::Object(object) if object.is_stream() => return Err(Errno::ESPIPE),
        _ => {}
    }
    if (length as i64) < 0 || advice as u32 as u64 > MOST { Err(Errno::EINVAL) } else { Ok(0) }
}

/// readahead: the same of what is to be read soon.
#[cfg(target_pointer_width = "64")]
pub(crate) fn read_ahead(number: u64) -> SysResult {
    let file = usable(number)?;
    if !file.can_read() {
        return Err(Errno::EBADF);
    }
    match &file.target {
        Target::Node(node, _) if node.mode() & FORMAT == 0o100000 => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// sync_file_range: nothing waits to be written anywhere.
#[cfg(target_pointer_width = "64")]
pub(crate) fn sync_range(number: u64, offset: u64, length: u64, flags: u64) -> SysResult {
    let file = usable(number)?;
    let is_range =
        (offset as i64) >= 0 && offset.checked_add(length).is_some_and(|top| top as i64 >= 0);
    if flags as u32 & !7 != 0 || !is_range {
        return Err(Errno::EINVAL);
    }
    match &file.target {
        Target::Node(node, _) if matches!(node.mode() & FORMAT, 0o100000 | 0o040000) => Ok(0),
        _ => Err(Errno::ESPIPE),
    }
}

/// pivot_root: the tree's root is what the archive brought, which Linux's does not change either
/// (pivot_root(2)). The path is looked at first.
pub(crate) fn not_permitted(at: u64) -> SysResult {
    path(at)?;
    Err(Errno::EPERM)
}

/// cachestat: how much of a file is in memory. Its pages are nowhere else: none is to be written to
/// a disk, and none has gone from memory.
pub(crate) fn cached(number: u64, range: u64, to: u64, flags: u64) -> SysResult {
    /// Cached, dirty, being written, gone, gone lately.
    const NUMBERS: usize = 5;
    let file = file(number)?;
    if file.is_path() {
        return Err(Errno::EBADF);
    }
    let [offset, length] = get_numbers(range, WordSize::Eight)?;
    let stat = file.stat();
    let is_own = current_task().credentials().user.file == stat.user
        || current_task().credentials().can_here(capability::FOWNER);
    if !file.can_write() && !is_own && permissions::check(&stat, permissions::WRITE).is_err() {
        return Err(Errno::EPERM);
    }
    if flags as u32 != 0 {
        return Err(Errno::EINVAL);
    }
    let last = match length {
        0 => u64::MAX,
        length => offset.wrapping_add(length).wrapping_sub(1) / FRAME_BYTES,
    };
    let cached = match &file.target {
        Target::Node(node, _) => match &node.content {
            Content::File(bytes) => bytes.lock().count_within(offset / FRAME_BYTES, last),
            _ => 0,
        },
        _ => 0,
    };
    let mut bytes = [0; NUMBERS * 8];
    bytes[..8].copy_from_slice(&cached.to_le_bytes());
    put(to, &bytes)?;
    Ok(0)
}
