//! Descriptors: opening, closing, duplicating, and their flags.

use super::super::memory::seals;
use super::at::{Last, named_at};
use super::devices::Random;
use super::leases;
use super::locks::{NEWEST, OLDEST, What, closed, range};
use super::names::masked;
use super::notices;
use super::splice::{pipe_maker, pipe_of};
use crate::abi::open as flag;
use crate::error::{Errno, SysResult};
use crate::files::attributes::file_flag;
use crate::files::console;
use crate::files::eventfd::EventCounter;
use crate::files::file_bytes::FileBytes;
use crate::files::inotify::{self, bit};
use crate::files::mount_flags::flag as mount_flag;
use crate::files::mounts;
use crate::files::open::{Descriptor, OpenFile, Target, flag as status};
use crate::files::pipe::{Pipe, PipeEnd};
use crate::files::pty;
use crate::files::spot::{Known, Lies};
use crate::files::tree::{self, Content, Node, Parent, Special};
use crate::memory::cut;
use crate::proc;
use crate::process::identity::permissions;
use crate::process::user_memory::put;
use crate::process::walk::{self, Place, Route};
use crate::process::{current, current_task};
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::Write;
use core::sync::atomic::Ordering;
use machine::memory::fallible::{self, Text};
use machine::spin::SpinLock;

pub(super) const CREATE: u32 = 0o100;
pub(super) const EXCLUSIVE: u32 = 0o200;
/// A terminal does not become the caller's own (`O_NOCTTY`).
pub(super) const NO_CONTROL: u32 = 0o400;
pub(super) const TRUNCATE: u32 = 0o1000;
pub(super) const CLOEXEC: u32 = 0o2000000;
const SYNC: u32 = 0o4010000;
/// `O_TMPFILE`, but for `O_DIRECTORY`, which goes with it.
pub(super) const TEMPORARY: u32 = 0o20000000;
/// What `creat` adds.
pub(crate) const CREATE_TRUNCATE: u32 = CREATE | status::WRITE_ONLY | TRUNCATE;
/// The flag, as dup3 and pipe2 have it.
pub(crate) const CLOSE_ON_EXEC: u64 = CLOEXEC as u64;

/// Gives the caller a descriptor at the lowest free number from `lowest` on.
pub(super) fn give(descriptor: Descriptor, lowest: u64) -> SysResult {
    current_task().give(descriptor, lowest)
}

pub(crate) fn open(from: u64, at: u64, flags: u32, mode: u32) -> SysResult {
    open_named(named_at(from, at)?, flags, mode, None)
}

/// The same with a path that was read already. `meant`: the absolute path that it is, with no link
/// in it; if one has come there meanwhile, this is not the file that was meant (`EAGAIN`).
pub(super) fn open_named(
    (route, last): (Route, Last),
    flags: u32,
    mode: u32,
    meant: Option<&str>,
) -> SysResult {
    let is_path = flags & status::PATH != 0;
    // Such a descriptor stands for a place: of the flags, three are looked at (open(2)).
    let flags = if is_path {
        flags & (status::PATH | flag::DIRECTORY | flag::NOFOLLOW | CLOEXEC)
    } else {
        flags
    };
    if flags & (CREATE | flag::DIRECTORY) == CREATE | flag::DIRECTORY {
        return Err(Errno::EINVAL);
    }
    let asked = flags;
    // With a slash behind it, it is a directory's, and none is made here.
    let flags = match last {
        Last::Directory if flags & CREATE != 0 => return Err(Errno::EISDIR),
        Last::Directory => flags | flag::DIRECTORY,
        _ => flags,
    };
    // All but what is of use only now is told by F_GETFL.
    const TOLD: u32 = flag::LARGE | flag::DIRECTORY | flag::NOFOLLOW | TEMPORARY;
    let kept = asked & (status::ACCESS | status::CHANGEABLE | status::PATH | SYNC | TOLD);
    // What has words of 64 bits has no small files.
    let is_large = crate::abi::WORD.bytes() == 8 && !is_path;
    let kept = if is_large { kept | flag::LARGE } else { kept };
    let mut was_created = false;
    let opened = match open_place(route, flags, mode, meant, &mut was_created)? {
        Place::Node(node, lies) if is_path => {
            let known = lies.keep(&node)?;
            OpenFile::with_flags(Target::Node(node, known), kept)?
        }
        Place::Node(node, lies) => of_node(node, lies, flags, kept)?,
        Place::Made(path) => open_made(path, flags, kept)?,
        Place::Open(file) if is_path => file,
        Place::Open(file) => open_again(file, flags, kept)?,
    };
    if was_created {
        opened.note_created();
    }
    if !is_path {
        opened.tell(bit::OPEN);
    }
    let descriptor = Descriptor { file: opened, close_on_exec: flags & CLOEXEC != 0 };
    give(descriptor, 0)
}

/// Opens what /proc has made.
fn open_made(path: String, flags: u32, kept: u32) -> Result<Arc<OpenFile>, Errno> {
    let may_write = flags & status::ACCESS != 0;
    let is_setting = path.starts_with("/proc/sys/");
    let (mut made, mode) = proc::open(path)?;
    let is_directory = made.is_directory();
    if flags & (CREATE | EXCLUSIVE) == CREATE | EXCLUSIVE {
        return Err(Errno::EEXIST);
    }
    if mode & 0o170000 == 0o120000 && flags & status::PATH == 0 {
        return Err(Errno::ELOOP);
    }
    if flags & flag::DIRECTORY != 0 && !is_directory {
        return Err(Errno::ENOTDIR);
    }
    if is_directory && flags & (status::ACCESS | CREATE) != 0 {
        return Err(Errno::EISDIR);
    }
    // Whatever one may do elsewhere: what the kernel is not set to by programs stays as it is.
    if may_write && is_setting && mode & 0o222 == 0 {
        return Err(Errno::EACCES);
    }
    if flags & status::PATH == 0 {
        permissions::check(&made.stat(), wanted(flags))?;
        made = proc::begin(made)?;
    }
    OpenFile::with_flags(Target::Made(made), kept)
}

/// Opens what lies nowhere in the tree once more, by its link in /proc.
fn open_again(file: Arc<OpenFile>, flags: u32, kept: u32) -> Result<Arc<OpenFile>, Errno> {
    let object = file.object();
    if object.is_some_and(|object| object.label() == "socket") {
        return Err(Errno::ENXIO);
    }
    let Some(end) = object.and_then(|object| object.of_kind::<PipeEnd>()) else {
        // There is one of it: a descriptor more.
        return Ok(file);
    };
    let (reads, writes) = access(flags);
    let nonblocking = flags & status::NONBLOCK != 0;
    let end = Pipe::open_named(end.named.clone(), &end.pipe, reads, writes, nonblocking)?;
    OpenFile::of_object(end, kept)
}

/// What the flags of open want of a file.
const fn wanted(flags: u32) -> u32 {
    let (reads, writes) = access(flags);
    let read = if reads { permissions::READ } else { 0 };
    let write = if writes || flags & TRUNCATE != 0 { permissions::WRITE } else { 0 };
    read | write
}

/// Whether a file is opened to read, and to write.
const fn access(flags: u32) -> (bool, bool) {
    (flags & status::ACCESS != status::WRITE_ONLY, flags & status::ACCESS != 0)
}

/// What is opened: found, or made.
fn open_place(
    route: Route,
    flags: u32,
    mode: u32,
    meant: Option<&str>,
    was_created: &mut bool,
) -> Result<Place, Errno> {
    let may_write = flags & status::ACCESS != 0;
    let is_meant = |lies: &Lies| match meant {
        Some(meant) if meant != lies.path()? => Err(Errno::EAGAIN),
        _ => Ok(()),
    };
    if flags & TEMPORARY != 0 {
        let directory = match walk::find(route, true)? {
            Place::Node(node, lies) if node.is_directory() => {
                is_meant(&lies)?;
                lies.spot()?
            }
            Place::Made(_) => return Err(Errno::EOPNOTSUPP),
            _ => return Err(Errno::ENOTDIR),
        };
        if flags & flag::DIRECTORY == 0 || !may_write {
            return Err(Errno::EINVAL);
        }
        permissions::change_names(&directory)?;
        let node = new_file(mode)?;
        node.settle(directory.node().room())?;
        permissions::own(&node, directory.node());
        // It has no name: what it is called by says where its bytes are.
        node.attributes.add_links(-1);
        let mut name = Text::new();
        write!(name, "#{}", node.inode).map_err(|_| Errno::ENOMEM)?;
        let known = Known::called(directory.path_of(&name.into_string())?)?;
        return Ok(Place::Node(node, Lies::As(known)));
    }
    let follow = flags & flag::NOFOLLOW == 0 && flags & (CREATE | EXCLUSIVE) != CREATE | EXCLUSIVE;
    let (node, lies) = match walk::find(route.copy()?, follow) {
        Ok(Place::Node(..)) if flags & (CREATE | EXCLUSIVE) == CREATE | EXCLUSIVE => {
            return Err(Errno::EEXIST);
        }
        Ok(Place::Node(node, lies)) => {
            is_meant(&lies)?;
            (node, lies)
        }
        Ok(other) => return Ok(other),
        Err(Errno::ENOENT) if flags & CREATE != 0 => {
            if flags & flag::DIRECTORY != 0 {
                return Err(Errno::EINVAL);
            }
            // Where a link leads to nothing, what it names is made.
            let parent = match follow {
                true => walk::parent_through_links(route)?,
                false => walk::parent(route)?,
            };
            let Parent::In(spot, name) = parent else { return Err(Errno::ENOENT) };
            let lies = Lies::In(spot.clone(), fallible::text(&name)?);
            is_meant(&lies)?;
            permissions::change_names(&spot)?;
            let node = new_file(mode)?;
            permissions::own(&node, spot.node());
            match tree::add_in(&spot, &name, node.clone()) {
                Ok(()) => {
                    *was_created = true;
                    return Ok(Place::Node(node, lies));
                }
                // Another thread was faster: its file is the one.
                Err(Errno::EEXIST) if flags & EXCLUSIVE == 0 => (spot.node().child(&name)?, lies),
                Err(error) => return Err(error),
            }
        }
        Err(error) => return Err(error),
    };
    if matches!(node.content, Content::Link(_)) && flags & status::PATH == 0 {
        return Err(Errno::ELOOP);
    }
    if flags & flag::DIRECTORY != 0 && !node.is_directory() {
        return Err(Errno::ENOTDIR);
    }
    if node.is_directory() && (may_write || flags & CREATE != 0) {
        return Err(Errno::EISDIR);
    }
    if flags & status::PATH == 0 {
        permissions::check(&node.stat(), wanted(flags))?;
        check_mount(&node, &lies, may_write || flags & TRUNCATE != 0)?;
        let only_adds = flags & (status::APPEND | TRUNCATE) == status::APPEND;
        if (may_write || flags & TRUNCATE != 0) && !only_adds {
            node.attributes.has_none_of(file_flag::APPEND)?;
        }
        leases::opened(&node, may_write, flags & status::NONBLOCK == 0)?;
    }
    if may_write || flags & TRUNCATE != 0 {
        match &node.content {
            Content::File(_) if flags & TRUNCATE != 0 => {
                node.attributes.begin_writing()?;
                let cut = cut::set_length(&node, 0);
                node.attributes.end_writing();
                cut?;
                inotify::tell_at(&node, &lies, bit::MODIFY);
            }
            // Not what a program runs from: opening it ends with an error then.
            Content::File(_) if flags & status::PATH == 0 => {
                node.attributes.begin_writing()?;
                node.begin_changing();
                node.attributes.end_writing();
            }
            _ => {}
        }
    }
    Ok(Place::Node(node, lies))
}

/// Whether the mount that a file is in lets it be opened so.
fn check_mount(node: &Node, lies: &Lies, to_write: bool) -> Result<(), Errno> {
    match node.mode() & 0o170000 {
        0o020000 | 0o060000 if mounts::forbids(|| lies.path(), mount_flag::NO_DEVICES)? => {
            Err(Errno::EACCES)
        }
        // What is written to them changes nothing there.
        0o010000 | 0o020000 | 0o060000 | 0o140000 => Ok(()),
        _ if to_write => mounts::check_change(|| lies.path()),
        _ => Ok(()),
    }
}

fn new_file(mode: u32) -> Result<Arc<Node>, Errno> {
    let file = Content::File(SpinLock::new(FileBytes::new()));
    Node::new(file, masked(mode))
}

/// Opens a node.
fn of_node(node: Arc<Node>, lies: Lies, flags: u32, kept: u32) -> Result<Arc<OpenFile>, Errno> {
    match &node.content {
        Content::Special(special @ (Special::Console | Special::Terminal)) => {
            // The terminal of the caller's session may be a program's.
            let session = current().session.load(Ordering::Relaxed);
            let own = pty::of_session(session).filter(|_| *special == Special::Terminal);
            if *special == Special::Terminal
                && own.is_none()
                && console::holder().session != session
            {
                return Err(Errno::ENXIO);
            }
            match own {
                Some(number) => OpenFile::of_object(pty::Slave::open(number, node.clone())?, kept),
                None => OpenFile::of_object(console::open()?, kept),
            }
        }
        Content::Special(Special::Ptmx) => {
            let (user, group) = {
                let all = current_task().credentials();
                (all.user.file, all.group.file)
            };
            OpenFile::of_object(pty::Master::open(&lies.lies_in()?, user, group)?, kept)
        }
        Content::Special(Special::Slave(number)) => {
            let slave = pty::Slave::open(*number, node.clone())?;
            let me = current();
            let session = me.session.load(Ordering::Relaxed);
            if flags & NO_CONTROL == 0 && session == me.id {
                slave.give_to(session, me.group.load(Ordering::Relaxed));
            }
            OpenFile::of_object(slave, kept)
        }
        Content::Special(Special::Random | Special::Urandom) => {
            OpenFile::of_object(fallible::shared(Random(node.clone()))?, kept)
        }
        // Only connect leads to what the name of a socket is; and there is no such device.
        Content::Socket(_) | Content::Special(Special::Absent { .. }) => Err(Errno::ENXIO),
        Content::Pipe(pipe) => {
            let (reads, writes) = access(flags);
            let nonblocking = flags & status::NONBLOCK != 0;
            let end = Pipe::open_named(Some(node.clone()), pipe, reads, writes, nonblocking)?;
            OpenFile::of_object(end, kept)
        }
        _ => {
            let known = lies.keep(&node)?;
            let file = OpenFile::with_flags(Target::Node(node, known), kept)?;
            file.begin_using()?;
            Ok(file)
        }
    }
}

pub(crate) fn close(number: u64) -> SysResult {
    let taken = current_task().files().lock().remove(number)?;
    // Its end may wake others: not under the lock.
    closed(&taken.file);
    Ok(0)
}

/// Closes descriptors in a range, or has execve close them.
pub(crate) fn close_range(first: u64, last: u64, flags: u64) -> SysResult {
    const UNSHARE: u64 = 2;
    const CLOEXEC: u64 = 4;
    let (first, last, flags) = (first & 0xffff_ffff, last & 0xffff_ffff, flags & 0xffff_ffff);
    if flags & !(UNSHARE | CLOEXEC) != 0 || first > last {
        return Err(Errno::EINVAL);
    }
    if flags & UNSHARE != 0 {
        current_task().unshare_files()?;
    }
    let table = current_task().files();
    let mut at = first;
    loop {
        let taken = {
            let mut files = table.lock();
            let Some((number, _)) = files.next(at) else { break };
            if number > last {
                break;
            }
            at = number + 1;
            match flags & CLOEXEC {
                0 => files.remove(number).ok(),
                _ => files.set_close_on_exec(number, true).map(|()| None)?,
            }
        };
        if let Some(taken) = &taken {
            closed(&taken.file);
        }
        drop(taken);
    }
    Ok(0)
}

/// Puts two open files into the table, and their numbers into the program's memory: both or
/// neither.
pub(super) fn put_pair(at: u64, pair: [Arc<OpenFile>; 2], close_on_exec: bool) -> SysResult {
    let descriptors = &current_task().files();
    let take_back = |number: u64| {
        let taken = descriptors.lock().remove(number);
        drop(taken);
    };
    let [first, second] = pair;
    let first = give(Descriptor { file: first, close_on_exec }, 0)?;
    let second = give(Descriptor { file: second, close_on_exec }, 0);
    let second = second.inspect_err(|_| take_back(first))?;
    let mut numbers = [0; 8];
    numbers[..4].copy_from_slice(&(first as u32).to_le_bytes());
    numbers[4..].copy_from_slice(&(second as u32).to_le_bytes());
    put(at, &numbers).inspect_err(|_| {
        take_back(first);
        take_back(second);
    })?;
    Ok(0)
}

pub(crate) fn pipe(at: u64, flags: u64) -> SysResult {
    let told = status::NONBLOCK | status::DIRECT;
    if flags & 0xffff_ffff & !(CLOSE_ON_EXEC | u64::from(told)) != 0 {
        return Err(Errno::EINVAL);
    }
    let kept = flags as u32 & told;
    let [reader, writer] = Pipe::ends(pipe_maker())?;
    let reader = OpenFile::of_object(reader, kept)?;
    let writer = OpenFile::of_object(writer, kept | status::WRITE_ONLY)?;
    put_pair(at, [reader, writer], flags & CLOSE_ON_EXEC != 0)
}

pub(crate) fn eventfd(value: u64, flags: u64) -> SysResult {
    const SEMAPHORE: u64 = 1;
    if flags & 0xffff_ffff & !(SEMAPHORE | CLOSE_ON_EXEC | u64::from(status::NONBLOCK)) != 0 {
        return Err(Errno::EINVAL);
    }
    let counter = EventCounter::new(value & 0xffff_ffff, flags & SEMAPHORE != 0)?;
    let kept = flags as u32 & status::NONBLOCK | status::READ_WRITE;
    let file = OpenFile::of_object(counter, kept)?;
    let close_on_exec = flags & CLOSE_ON_EXEC != 0;
    give(Descriptor { file, close_on_exec }, 0)
}

pub(crate) fn dup(number: u64) -> SysResult {
    let file = current_task().files().lock().get(number)?.file;
    give(Descriptor { file, close_on_exec: false }, 0)
}

pub(crate) fn dup_to(from: u64, to: u64, flags: u64, same_is_fine: bool) -> SysResult {
    if flags & 0xffff_ffff & !CLOSE_ON_EXEC != 0 || from == to && !same_is_fine {
        return Err(Errno::EINVAL);
    }
    let close_on_exec = flags & CLOSE_ON_EXEC != 0;
    let file = current_task().files().lock().get(from)?.file;
    if from == to {
        return Ok(to);
    }
    current_task().limit_files(&current_task().files());
    // Used until the lock is open again, whatever becomes of the descriptor.
    let _used = file.clone();
    let replaced = current_task().files().lock().set(to, Some(Descriptor { file, close_on_exec }));
    let replaced = replaced?;
    if let Some(replaced) = &replaced {
        closed(&replaced.file);
    }
    drop(replaced);
    Ok(to)
}

/// Commands of fcntl.
mod command {
    pub(super) const DUP: u32 = 0;
    pub(super) const GET_FD: u32 = 1;
    pub(super) const SET_FD: u32 = 2;
    pub(super) const GET_FLAGS: u32 = 3;
    pub(super) const SET_FLAGS: u32 = 4;
    pub(super) const SET_OWNER: u32 = 8;
    pub(super) const GET_OWNER: u32 = 9;
    pub(super) const SET_SIGNAL: u32 = 10;
    pub(super) const GET_SIGNAL: u32 = 11;
    pub(super) const GET_LOCK: u32 = 5;
    pub(super) const SET_LOCK: u32 = 6;
    pub(super) const SET_LOCK_WAIT: u32 = 7;
    /// The same with numbers of 64 bits, where words are smaller.
    #[cfg(target_pointer_width = "32")]
    pub(super) const GET_LOCK_WIDE: u32 = 12;
    #[cfg(target_pointer_width = "32")]
    pub(super) const SET_LOCK_WIDE: u32 = 13;
    #[cfg(target_pointer_width = "32")]
    pub(super) const SET_LOCK_WAIT_WIDE: u32 = 14;
    pub(super) const SET_OWNER_EX: u32 = 15;
    pub(super) const GET_OWNER_EX: u32 = 16;
    pub(super) const GET_LOCK_OF_FILE: u32 = 36;
    pub(super) const SET_LOCK_OF_FILE: u32 = 37;
    pub(super) const SET_LOCK_OF_FILE_WAIT: u32 = 38;
    pub(super) const SET_LEASE: u32 = 1024;
    pub(super) const GET_LEASE: u32 = 1025;
    pub(super) const NOTIFY: u32 = 1026;
    pub(super) const IS_SAME: u32 = 1027;
    pub(super) const WAS_CREATED: u32 = 1028;
    pub(super) const DUP_CLOEXEC: u32 = 1030;
    pub(super) const SET_PIPE_SIZE: u32 = 1031;
    pub(super) const GET_PIPE_SIZE: u32 = 1032;
    pub(super) const ADD_SEALS: u32 = 1033;
    pub(super) const GET_SEALS: u32 = 1034;
}

pub(crate) fn fcntl(number: u64, command: u64, argument: u64) -> SysResult {
    let descriptor = current_task().files().lock().get(number)?;
    let file = &descriptor.file;
    let command = command as u32;
    let is_of_place = matches!(
        command,
        command::DUP
            | command::DUP_CLOEXEC
            | command::GET_FD
            | command::SET_FD
            | command::GET_FLAGS
            | command::IS_SAME
            | command::WAS_CREATED
    );
    if file.flags() & status::PATH != 0 && !is_of_place {
        return Err(Errno::EBADF);
    }
    match command {
        command::DUP | command::DUP_CLOEXEC => {
            let close_on_exec = command == command::DUP_CLOEXEC;
            give(Descriptor { close_on_exec, ..descriptor }, argument)
        }
        command::GET_FD => Ok(u64::from(descriptor.close_on_exec)),
        command::SET_FD => {
            current_task().files().lock().set_close_on_exec(number, argument & 1 != 0).map(|()| 0)
        }
        command::ADD_SEALS => seals(file, Some(argument)),
        command::GET_SEALS => seals(file, None),
        command::GET_FLAGS => Ok(file.flags().into()),
        // Bytes of files come by no other way than the kernel's; those of pipes, as packets.
        command::SET_FLAGS if argument as u32 & flag::DIRECT != 0 && pipe_of(file).is_none() => {
            Err(Errno::EINVAL)
        }
        command::SET_FLAGS => {
            if (file.flags() ^ argument as u32) & status::ASYNC != 0 {
                notices::set_async(file, number, argument as u32 & status::ASYNC != 0)?;
            }
            file.set_flags(argument as u32);
            Ok(0)
        }
        command::SET_OWNER => notices::set_owner(file, argument as i32),
        command::GET_OWNER => notices::get_owner(file),
        command::SET_SIGNAL => notices::set_signal(file, argument),
        command::GET_SIGNAL => Ok(file.addressee().signal.into()),
        command::GET_LOCK => range(file, argument, What::Ask, false, OLDEST),
        command::SET_LOCK => range(file, argument, What::Set, false, OLDEST),
        command::SET_LOCK_WAIT => range(file, argument, What::SetAndWait, false, OLDEST),
        #[cfg(target_pointer_width = "32")]
        command::GET_LOCK_WIDE => range(file, argument, What::Ask, false, NEWEST),
        #[cfg(target_pointer_width = "32")]
        command::SET_LOCK_WIDE => range(file, argument, What::Set, false, NEWEST),
        #[cfg(target_pointer_width = "32")]
        command::SET_LOCK_WAIT_WIDE => range(file, argument, What::SetAndWait, false, NEWEST),
        command::GET_LOCK_OF_FILE => range(file, argument, What::Ask, true, NEWEST),
        command::SET_LOCK_OF_FILE => range(file, argument, What::Set, true, NEWEST),
        command::SET_LOCK_OF_FILE_WAIT => range(file, argument, What::SetAndWait, true, NEWEST),
        command::SET_OWNER_EX => notices::set_owner_of_kind(file, argument),
        command::GET_OWNER_EX => notices::get_owner_of_kind(file, argument),
        command::SET_LEASE => leases::set(file, number, argument),
        command::GET_LEASE => Ok(leases::of(file)),
        command::NOTIFY => notices::ask_directory(file, number, argument as u32),
        command::IS_SAME => {
            let other = current_task().files().lock().get(argument & 0xffff_ffff)?.file;
            Ok(Arc::ptr_eq(file, &other).into())
        }
        command::WAS_CREATED => Ok((file.all_flags() & status::CREATED != 0).into()),
        command::SET_PIPE_SIZE | command::GET_PIPE_SIZE => {
            let pipe = &pipe_of(file).ok_or(Errno::EBADF)?.pipe;
            match command {
                command::SET_PIPE_SIZE => pipe.set_capacity(argument & 0xffff_ffff, pipe_maker()),
                _ => Ok(pipe.capacity()),
            }
        }
        _ => Err(Errno::EINVAL),
    }
}
