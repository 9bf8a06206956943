//! inotify: being told what happens to files.

use super::at::{HERE, file, place_at};
use super::descriptors::{CLOSE_ON_EXEC, give};
use crate::error::{Errno, SysResult};
use crate::files::inotify::{Inotify, Of, bit};
use crate::files::open::{Descriptor, OpenFile, flag};
use crate::proc;
use crate::process::current_task;
use crate::process::identity::permissions;
use crate::process::walk::Place;

pub(crate) fn inotify_init(flags: u64) -> SysResult {
    let flags = flags & 0xffff_ffff;
    if flags & !(CLOSE_ON_EXEC | u64::from(flag::NONBLOCK)) != 0 {
        return Err(Errno::EINVAL);
    }
    let user = current_task().credentials().user.real;
    let file = OpenFile::of_object(Inotify::new(user)?, flags as u32 & flag::NONBLOCK)?;
    give(Descriptor { file, close_on_exec: flags & CLOSE_ON_EXEC != 0 }, 0)
}

/// The instance behind a descriptor.
fn instance(number: u64) -> Result<&'static Inotify, Errno> {
    let object = file(number)?.object();
    object.and_then(|object| object.of_kind()).ok_or(Errno::EINVAL)
}

pub(crate) fn inotify_add_watch(number: u64, at: u64, mask: u64) -> SysResult {
    let mask = mask as u32;
    if mask & bit::ALL == 0 {
        return Err(Errno::EINVAL);
    }
    // The descriptor is looked at first.
    file(number)?;
    if mask & (bit::ADD | bit::MUST_BE_NEW) == bit::ADD | bit::MUST_BE_NEW {
        return Err(Errno::EINVAL);
    }
    let instance = instance(number)?;
    let (of, node, stat) = match place_at(HERE, at, mask & bit::NO_FOLLOW == 0)? {
        Place::Node(node, _) => {
            let stat = node.stat();
            (Of { space: "", inode: stat.inode }, Some(node), stat)
        }
        Place::Made(path) => {
            let stat = proc::stat(&path)?;
            (Of { space: "made", inode: stat.inode }, None, stat)
        }
        Place::Open(file) => {
            let space = file.object().map_or("", |object| object.label());
            (Of { space, inode: file.stat().inode }, None, file.stat())
        }
    };
    if mask & bit::ONLY_DIRECTORY != 0 && stat.mode & 0o170000 != 0o040000 {
        return Err(Errno::ENOTDIR);
    }
    permissions::check(&stat, permissions::READ)?;
    Ok(instance.watch(of, node.as_deref(), mask)? as u64)
}

pub(crate) fn inotify_rm_watch(number: u64, watch: u64) -> SysResult {
    instance(number)?.forget(watch as i32).map(|()| 0)
}
