//! Calls about extended attributes (xattr(7)), as of a `tmpfs`: of users, of the trusted and of
//! security modules. Access control lists are not kept.

use super::at::{HERE, file, place_at};
use super::transfer::take;
use crate::error::{Errno, SysResult};
use crate::files::attributes::file_flag;
use crate::files::extended::{MAX_VALUE, Set};
use crate::files::inotify::{self, bit};
use crate::files::open::{Target, flag};
use crate::files::spot::Lies;
use crate::files::tree::Node;
use crate::process::current_task;
use crate::process::identity::credentials::capability;
use crate::process::identity::permissions;
use crate::process::user_memory::{put, string};
use crate::process::walk::Place;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::memory::fallible;

/// Bytes of a name, with its end.
const MAX_NAME: usize = 256;
const FORMAT: u32 = 0o170000;

/// Whose attributes a call is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Of {
    Path(u64),
    /// Of a link itself.
    Link(u64),
    File(u64),
}

impl Of {
    fn node(self) -> Result<(Arc<Node>, Lies), Errno> {
        let place = match self {
            Self::Path(at) => place_at(HERE, at, true)?,
            Self::Link(at) => place_at(HERE, at, false)?,
            Self::File(number) => {
                let file = file(number)?;
                return match &file.target {
                    _ if file.flags() & flag::PATH != 0 => Err(Errno::EBADF),
                    Target::Node(node, known) => Ok((node.clone(), Lies::As(known.clone()))),
                    _ => Err(Errno::EOPNOTSUPP),
                };
            }
        };
        match place {
            Place::Node(node, lies) => Ok((node, lies)),
            Place::Made(_) | Place::Open(_) => Err(Errno::EOPNOTSUPP),
        }
    }
}

fn name(at: u64) -> Result<Vec<u8>, Errno> {
    let name = string(at, MAX_NAME).map_err(|error| match error {
        Errno::ENAMETOOLONG => Errno::ERANGE,
        error => error,
    })?;
    if name.is_empty() { Err(Errno::ERANGE) } else { Ok(name) }
}

fn can(capability: u32) -> bool {
    current_task().credentials().can(capability)
}

/// Whether the caller may look at an attribute of a file or change it (xattr_permission).
fn check(node: &Node, name: &[u8], changes: bool) -> Result<(), Errno> {
    let is_bare = name.ends_with(b".") && name.iter().filter(|&&byte| byte == b'.').count() == 1;
    let refused = if changes { Errno::EPERM } else { Errno::ENODATA };
    if changes {
        node.attributes.has_none_of(file_flag::KEPT)?;
    }
    if name.starts_with(b"user.") {
        let stat = node.stat();
        // Others are no place for what users keep: everybody may write to a device.
        if !matches!(stat.mode & FORMAT, 0o100000 | 0o040000) {
            return Err(refused);
        }
        const STICKY: u32 = 0o1000;
        if changes && node.is_directory() && stat.mode & STICKY != 0 {
            permissions::may_as_owner(&stat)?;
        }
        let asked = if changes { permissions::WRITE } else { permissions::READ };
        permissions::check(&stat, asked)?;
    } else if name.starts_with(b"trusted.") {
        if !can(capability::SYS_ADMIN) {
            return Err(refused);
        }
    } else if name.starts_with(b"security.") {
        let asked = match name {
            b"security.capability" => capability::SETFCAP,
            _ => capability::SYS_ADMIN,
        };
        if changes && !can(asked) {
            return Err(Errno::EPERM);
        }
    } else {
        return Err(Errno::EOPNOTSUPP);
    }
    if is_bare { Err(Errno::EINVAL) } else { Ok(()) }
}

pub(crate) fn set([called, from, length, flags]: [u64; 4], of: Of) -> SysResult {
    let how = match flags & 0xffff_ffff {
        0 => Set::Any,
        1 => Set::Create,
        2 => Set::Replace,
        // Both: what is there is not, or the other way round.
        3 => Set::Create,
        _ => return Err(Errno::EINVAL),
    };
    let name = name(called)?;
    let length = usize::try_from(length).ok().filter(|&length| length <= MAX_VALUE);
    let length = length.ok_or(Errno::E2BIG)?;
    let mut value = fallible::collect(core::iter::repeat_n(0, length))?;
    take(from, &mut value)?;
    let (node, lies) = of.node()?;
    check(&node, &name, true)?;
    node.extended.set(&name, value, how)?;
    node.attributes.changed();
    inotify::tell_at(&node, &lies, bit::ATTRIB);
    Ok(0)
}

/// Gives bytes out, or, where there is room for none, how many there are.
fn give_out(bytes: &[u8], to: u64, room: u64) -> SysResult {
    let length = bytes.len() as u64;
    if room == 0 {
        return Ok(length);
    }
    if room < length {
        return Err(Errno::ERANGE);
    }
    put(to, bytes)?;
    Ok(length)
}

pub(crate) fn get([called, to, room]: [u64; 3], of: Of) -> SysResult {
    let name = name(called)?;
    let (node, _) = of.node()?;
    check(&node, &name, false)?;
    give_out(&node.extended.get(&name)?, to, room)
}

pub(crate) fn list([to, room]: [u64; 2], of: Of) -> SysResult {
    let (node, _) = of.node()?;
    let is_trusted = can(capability::SYS_ADMIN);
    let names = node.extended.names(|name| is_trusted || !name.starts_with(b"trusted."))?;
    give_out(&names, to, room)
}

pub(crate) fn remove(called: u64, of: Of) -> SysResult {
    let name = name(called)?;
    let (node, lies) = of.node()?;
    check(&node, &name, true)?;
    node.extended.remove(&name)?;
    node.attributes.changed();
    inotify::tell_at(&node, &lies, bit::ATTRIB);
    Ok(0)
}
