//! ioctl: requests that every file knows, those of a device, and that of /proc/PID/maps.

use super::at::file;
use super::background::check_background;
use super::descriptors::{CLOEXEC, NO_CONTROL, give};
use super::transfer::take;
use super::{notices, supervisor};
use crate::abi;
use crate::abi::signals::Signal;
use crate::calls::pidfd;
use crate::error::{Errno, SysResult};
use crate::files::attributes::file_flag;
use crate::files::object::Caller;
use crate::files::open::{Descriptor, OpenFile, Target, flag};
use crate::files::pty::{self, Master};
use crate::files::spot::Known;
use crate::files::tree::{Content, Node};
use crate::files::{console, mounts};
use crate::proc;
use crate::process::identity::credentials::capability;
use crate::process::identity::permissions;
use crate::process::names::numbers;
use crate::process::user_memory::{get, put};
use crate::process::{current, current_task, table};
use core::sync::atomic::Ordering;

pub(crate) fn ioctl(number: u64, request: u64, at: u64) -> SysResult {
    const FIONCLEX: u32 = 0x5450;
    const FIOCLEX: u32 = 0x5451;
    const FIONBIO: u32 = 0x5421;
    const FIONREAD: u32 = 0x541b;
    const FIOASYNC: u32 = 0x5452;
    const TIOCGPTPEER: u32 = 0x5441;
    let file = file(number)?;
    if file.flags() & flag::PATH != 0 {
        return Err(Errno::EBADF);
    }
    let is_plain =
        matches!(&file.target, Target::Node(node, _) if node.mode() & 0o170000 == 0o100000);
    match request as u32 {
        request @ (FIONCLEX | FIOCLEX) => {
            current_task().files().lock().set_close_on_exec(number, request == FIOCLEX)?;
            Ok(0)
        }
        FIOASYNC => {
            let is_on = u32::from_le_bytes(get(at)?) != 0;
            notices::set_async(file, number, is_on)?;
            Ok(0)
        }
        FIONBIO => {
            let nonblocking = u32::from_le_bytes(get(at)?) != 0;
            let others = file.flags() & !flag::NONBLOCK;
            file.set_flags(others | if nonblocking { flag::NONBLOCK } else { 0 });
            Ok(0)
        }
        // What is left to be read of a file.
        FIONREAD if is_plain => {
            let Target::Node(node, _) = &file.target else { return Err(Errno::ENOTTY) };
            let left = node.bytes().saturating_sub(file.position.load(Ordering::Relaxed));
            put(at, &(left as u32).to_le_bytes())?;
            Ok(0)
        }
        TIOCGPTPEER => open_slave(file, at as u32),
        PROCMAP_QUERY => query_area(file, at),
        request => match flags_of(file, request, at)
            .or_else(|| pidfd::request(file, request, at))
            .or_else(|| supervisor::request(file, request, at))
        {
            Some(result) => result,
            None => file.object().ok_or(Errno::ENOTTY)?.ioctl(request, at, &Program),
        },
    }
}

/// Opens the slave of a terminal by its master, whatever lies at its path.
fn open_slave(file: &OpenFile, flags: u32) -> SysResult {
    let master = file.object().and_then(|object| object.of_kind::<Master>());
    let slave = master.ok_or(Errno::ENOTTY)?.open_slave()?;
    let me = current();
    let session = me.session.load(Ordering::Relaxed);
    if flags & NO_CONTROL == 0 && session == me.id {
        slave.give_to(session, me.group.load(Ordering::Relaxed));
    }
    let kept = flags & (flag::ACCESS | flag::CHANGEABLE);
    let file = OpenFile::of_object(slave, kept)?;
    give(Descriptor { file, close_on_exec: flags & CLOEXEC != 0 }, 0)
}

/// `_IOWR('f', 17, struct procmap_query)` (include/uapi/linux/fs.h).
const PROCMAP_QUERY: u32 = 0xc000_0000 | (QUERY_BYTES as u32) << 16 | 0x6611;
const QUERY_BYTES: usize = 104;
/// Places in the structure: its numbers of 8 bytes first, from its size on.
const NAME_BYTES: usize = 80;
const BUILD_ID_BYTES: usize = 84;
const NAME: usize = 88;

/// The area at an address, or the next one that is as asked for.
fn query_area(file: &OpenFile, at: u64) -> SysResult {
    const PAGE: u64 = 4096;
    /// Longer names than this are cut nowhere: there are none (PATH_MAX).
    const MAX_NAME: usize = 4096;
    let mut bytes = [0; QUERY_BYTES];
    take(at, &mut bytes[..8])?;
    // As it has grown: what is behind the part that is known must be zero, and what is not given
    // is.
    let given = u64::from_le_bytes(*bytes.first_chunk().ok_or(Errno::EINVAL)?);
    if given > PAGE {
        return Err(Errno::E2BIG);
    }
    // Up to the end of the address.
    let given = usize::try_from(given).ok().filter(|&given| given >= 24).ok_or(Errno::EINVAL)?;
    take(at, &mut bytes[..given.min(QUERY_BYTES)])?;
    for offset in QUERY_BYTES..given {
        if get::<1>(at.checked_add(offset as u64).ok_or(Errno::EFAULT)?)? != [0] {
            return Err(Errno::E2BIG);
        }
    }
    let long = |bytes: &[u8; QUERY_BYTES], place: usize| {
        bytes[place..].first_chunk().map_or(0, |number| u64::from_le_bytes(*number))
    };
    let short = |bytes: &[u8; QUERY_BYTES], place: usize| {
        bytes[place..].first_chunk().map_or(0, |number| u32::from_le_bytes(*number))
    };
    let (flags, address) = (long(&bytes, 8), long(&bytes, 16));
    let (name_bytes, name_at) = (short(&bytes, NAME_BYTES) as usize, long(&bytes, NAME));
    // Both or neither.
    if (name_bytes == 0) != (name_at == 0) {
        return Err(Errno::EINVAL);
    }
    let (area, name) = proc::area_of(file, address, flags)?;
    let numbers = [area.lowest, area.top, area.flags, PAGE, area.offset, area.inode];
    for (place, number) in bytes[24..72].chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    bytes[72..76].fill(0);
    bytes[76..80].copy_from_slice(&area.device.to_le_bytes());
    let mut told = 0;
    if name_bytes > 0 && !name.is_empty() {
        let name = name.into_bytes();
        told = name.len() + 1;
        if told > name_bytes.min(MAX_NAME) {
            return Err(Errno::ENAMETOOLONG);
        }
        put(name_at, &name)?;
        put(name_at.checked_add(told as u64 - 1).ok_or(Errno::EFAULT)?, &[0])?;
    }
    bytes[NAME_BYTES..BUILD_ID_BYTES].copy_from_slice(&(told as u32).to_le_bytes());
    // No file here is looked into for one.
    bytes[BUILD_ID_BYTES..NAME].fill(0);
    put(at, &bytes[..given.min(QUERY_BYTES)])?;
    Ok(0)
}

/// The caller.
struct Program;

impl Caller for Program {
    fn get(&self, at: u64, to: &mut [u8]) -> Result<(), Errno> {
        take(at, to)
    }

    fn put(&self, at: u64, from: &[u8]) -> Result<(), Errno> {
        put(at, from)
    }

    fn session_and_group(&self) -> (u64, u64) {
        let process = current();
        (process.session.load(Ordering::Relaxed), process.group.load(Ordering::Relaxed))
    }

    fn number_meant(&self, number: u64) -> u64 {
        numbers::meant(number)
    }

    fn number_told(&self, number: u64) -> u64 {
        numbers::told(number)
    }

    fn leads_session(&self) -> bool {
        self.session_and_group().0 == current().id
    }

    fn may_lock_terminal(&self) -> bool {
        let own = current_task().credentials();
        own.can(capability::CHECKPOINT_RESTORE) || own.can(capability::SYS_ADMIN)
    }

    fn may_change_terminal(&self, session: u64, foreground: u64) -> Result<(), Errno> {
        check_background(session, foreground, Signal::TTOU)
    }

    fn has_group(&self, group: u64) -> bool {
        let (session, _) = self.session_and_group();
        let mut is_there = false;
        table::for_each(table::Which::Group(group), |process| {
            is_there |= process.session.load(Ordering::Relaxed) == session;
        });
        is_there
    }
}

/// vhangup: the terminal of the caller's session is lost to it, as when who leads it ends.
pub(crate) fn vhangup() -> SysResult {
    if !current_task().credentials().can_here(capability::TTY_CONFIG) {
        return Err(Errno::EPERM);
    }
    let session = current().session.load(Ordering::Relaxed);
    pty::leader_ends(session);
    console::leader_ends(session);
    Ok(0)
}

/// `FS_IOC_GETFLAGS` and `FS_IOC_SETFLAGS`: numbers of a word, by their name, and of 4 bytes.
const GET_FLAGS: u32 = 0x8000_6601 | (abi::WORD.bytes() as u32) << 16;
const SET_FLAGS: u32 = 0x4000_6602 | (abi::WORD.bytes() as u32) << 16;

/// What is asked of the flags of a file or directory.
fn flags_of(file: &OpenFile, request: u32, at: u64) -> Option<SysResult> {
    let Target::Node(node, known) = &file.target else { return None };
    let has_flags = matches!(node.content, Content::File(_) | Content::Directory(_));
    match request {
        GET_FLAGS if has_flags => Some(put(at, &node.attributes.flags().to_le_bytes()).map(|()| 0)),
        SET_FLAGS if has_flags => Some(set_flags(node, known, at).map(|()| 0)),
        _ => None,
    }
}

fn set_flags(node: &Node, known: &Known, at: u64) -> Result<(), Errno> {
    mounts::check_change(|| known.path())?;
    let to = u32::from_le_bytes(get(at)?);
    if to & !file_flag::ALL != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    permissions::may_as_owner(&node.stat())?;
    let is_kept_otherwise = (to ^ node.attributes.flags()) & file_flag::KEPT != 0;
    if is_kept_otherwise && !current_task().credentials().can(capability::LINUX_IMMUTABLE) {
        return Err(Errno::EPERM);
    }
    node.attributes.set_flags(to);
    Ok(())
}
