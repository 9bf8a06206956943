//! Calls about local sockets with names: made, bound, connected, accepted.

use super::at::{directory, file};
use super::descriptors::{CLOSE_ON_EXEC, give};
use super::names::{add, masked};
use super::socket_args::{UNIX, nonblocking, socket_of};
use crate::error::{Errno, SysResult};
use crate::files::local;
use crate::files::open::{Descriptor, OpenFile, flag};
use crate::files::socket::{Kind, Maker, Name, Pair, Socket};
use crate::files::text;
use crate::files::tree::{Content, Node};
use crate::process::identity::{permissions, users};
use crate::process::names::numbers;
use crate::process::user_memory::{get, put};
use crate::process::walk::Route;
use crate::process::walk::{self, Place};
use crate::process::{current, current_task};
use crate::spaces::user::Kind as Ids;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::memory::fallible;

/// `sun_path`'s bytes.
const MAX_PATH: usize = 108;

/// Who calls.
pub(super) fn maker() -> Maker {
    let all = current_task().credentials();
    let (user, group) = (all.user.effective, all.group.effective);
    Maker { process: current().id as u32, user, group }
}

/// One who called, by the numbers that the reader knows.
pub(super) fn told(maker: Maker) -> Maker {
    Maker {
        process: numbers::told(maker.process.into()) as u32,
        user: users::told(Ids::Users, maker.user),
        group: users::told(Ids::Groups, maker.group),
    }
}

/// Kind, and whether it is not to block and to be closed by execve, of what `socket` and
/// `socketpair` are asked for.
pub(super) fn asked(domain: u64, kind: u64, protocol: u64) -> Result<(Kind, u32, bool), Errno> {
    if domain as u32 as u64 != UNIX {
        return Err(Errno::EAFNOSUPPORT);
    }
    let (kind, nonblocking) = (kind & 0xffff_ffff, kind as u32 & flag::NONBLOCK);
    let close_on_exec = kind & CLOSE_ON_EXEC != 0;
    let kind = match kind & !(CLOSE_ON_EXEC | u64::from(flag::NONBLOCK)) {
        1 => Kind::Stream,
        // SOCK_RAW counts as datagrams, as in Linux.
        2 | 3 => Kind::Datagram,
        5 => Kind::Packets,
        kind if kind & !0xf != 0 => return Err(Errno::EINVAL),
        _ => return Err(Errno::ESOCKTNOSUPPORT),
    };
    if protocol as u32 > 1 {
        return Err(Errno::EPROTONOSUPPORT);
    }
    Ok((kind, nonblocking, close_on_exec))
}

pub(crate) fn socket(domain: u64, kind: u64, protocol: u64) -> SysResult {
    let (kind, nonblocking, close_on_exec) = asked(domain, kind, protocol)?;
    let socket = Socket::alone(kind, maker())?;
    let file = OpenFile::of_object(socket, nonblocking | flag::READ_WRITE)?;
    give(Descriptor { file, close_on_exec }, 0)
}

/// What `struct sockaddr_un` names.
enum Address {
    /// No family: datagrams are sent to none any more.
    Nothing,
    /// A family and no more.
    Unnamed,
    Abstract(Vec<u8>),
    Path(Vec<u8>),
}

impl Address {
    fn read(at: u64, length: u64) -> Result<Self, Errno> {
        let length = usize::try_from(length as i32).map_err(|_| Errno::EINVAL)?;
        if !(2..=2 + MAX_PATH).contains(&length) {
            return Err(Errno::EINVAL);
        }
        let family = u16::from_le_bytes(get(at)?);
        if family == 0 {
            return Ok(Self::Nothing);
        }
        if u64::from(family) != UNIX {
            return Err(Errno::EINVAL);
        }
        let mut name = [0; MAX_PATH];
        let name = &mut name[..length - 2];
        super::transfer::take(at.checked_add(2).ok_or(Errno::EFAULT)?, name)?;
        Ok(match name {
            [] => Self::Unnamed,
            [0, ..] => Self::Abstract(fallible::bytes(name)?),
            path => {
                let end = path.iter().position(|&byte| byte == 0).unwrap_or(path.len());
                Self::Path(fallible::bytes(&path[..end])?)
            }
        })
    }
}

fn route(path: &[u8]) -> Result<Route, Errno> {
    Route::new(&directory(), &text::of_bytes(fallible::bytes(path)?)?)
}

/// The socket that an address leads to.
fn found(address: Address) -> Result<Arc<Pair>, Errno> {
    match address {
        Address::Nothing | Address::Unnamed => Err(Errno::EINVAL),
        Address::Abstract(name) => local::of_abstract(&name).ok_or(Errno::ECONNREFUSED),
        Address::Path(path) => match walk::find(route(&path)?, true)? {
            Place::Node(node, _) => {
                permissions::check(&node.stat(), permissions::WRITE)?;
                match &node.content {
                    Content::Socket(socket) => {
                        let pair = socket.upgrade().and_then(|socket| socket.downcast().ok());
                        pair.ok_or(Errno::ECONNREFUSED)
                    }
                    _ => Err(Errno::ECONNREFUSED),
                }
            }
            Place::Made(_) | Place::Open(_) => Err(Errno::ECONNREFUSED),
        },
    }
}

/// The socket that a message is addressed to; `None`: it is not.
pub(super) fn addressee(at: u64, length: u64) -> Result<Option<Arc<Pair>>, Errno> {
    if at == 0 || length as u32 == 0 {
        return Ok(None);
    }
    found(Address::read(at, length)?).map(Some)
}

pub(crate) fn bind(number: u64, at: u64, length: u64) -> SysResult {
    let socket = socket_of(file(number)?)?;
    match Address::read(at, length)? {
        Address::Nothing => return Err(Errno::EINVAL),
        // What has a name keeps it.
        Address::Unnamed if socket.names()[0].is_some() => {}
        Address::Unnamed => socket.bind_any()?,
        Address::Abstract(name) => socket.bind_abstract(name)?,
        Address::Path(path) => {
            let route = route(&path)?;
            socket.set_name(fallible::shared(path)?)?;
            let node = Node::new(Content::Socket(socket.known_by()), masked(0o777));
            let added = node.and_then(|node| add(node, route));
            added.map_err(|error| {
                socket.take_name();
                if error == Errno::EEXIST { Errno::EADDRINUSE } else { error }
            })?;
        }
    }
    Ok(0)
}

pub(crate) fn listen(number: u64, backlog: u64) -> SysResult {
    socket_of(file(number)?)?.listen(backlog as i32, maker())?;
    Ok(0)
}

pub(crate) fn connect(number: u64, at: u64, length: u64) -> SysResult {
    let file = file(number)?;
    let socket = socket_of(file)?;
    let address = Address::read(at, length)?;
    if socket.kind == Kind::Datagram && matches!(address, Address::Nothing) {
        socket.send_to(None)?;
        return Ok(0);
    }
    socket.connect(&found(address)?, nonblocking(file, 0), maker())?;
    Ok(0)
}

/// accept and accept4: the next one that has connected, and what it is called.
pub(crate) fn accept([number, at, length, flags]: [u64; 4]) -> SysResult {
    let flags = flags & 0xffff_ffff;
    if flags & !(CLOSE_ON_EXEC | u64::from(flag::NONBLOCK)) != 0 {
        return Err(Errno::EINVAL);
    }
    let file = file(number)?;
    let other = socket_of(file)?.accept(nonblocking(file, 0))?;
    let [_, name] = other.names();
    let kept = flags as u32 & flag::NONBLOCK | flag::READ_WRITE;
    let accepted = OpenFile::of_object(other, kept)?;
    if at != 0 {
        put_name(name.as_ref(), at, length)?;
    }
    give(Descriptor { file: accepted, close_on_exec: flags & CLOSE_ON_EXEC != 0 }, 0)
}

/// Writes an address: as much of it as there is room for, and how long it is.
pub(super) fn put_name(name: Option<&Name>, at: u64, length: u64) -> Result<(), Errno> {
    let room = i32::from_le_bytes(get(length)?);
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    put(length, &(put_some(name, at, room)? as u32).to_le_bytes())
}

/// The same with the room for it. Returns its length.
pub(super) fn put_some(name: Option<&Name>, at: u64, room: usize) -> Result<usize, Errno> {
    // Family, name, the end of a path.
    let mut bytes = [0; 2 + MAX_PATH + 1];
    bytes[..2].copy_from_slice(&(UNIX as u16).to_le_bytes());
    let name = name.map_or(&[][..], |name| name.as_slice());
    bytes[2..2 + name.len()].copy_from_slice(name);
    let is_path = name.first().is_some_and(|&first| first != 0);
    let whole = 2 + name.len() + usize::from(is_path);
    put(at, &bytes[..whole.min(room)])?;
    Ok(whole)
}

/// getsockname and getpeername.
pub(crate) fn name(number: u64, at: u64, length: u64, of_other: bool) -> SysResult {
    let socket = socket_of(file(number)?)?;
    if of_other && !socket.is_connected() {
        return Err(Errno::ENOTCONN);
    }
    let [own, other] = socket.names();
    put_name(if of_other { other } else { own }.as_ref(), at, length)?;
    Ok(0)
}
