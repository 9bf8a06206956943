//! Calls about sockets: local ones, with what they send and receive. There is no network: what
//! needs it is refused as a Linux without it does. Names are in `local`.

use super::at::{file, file_arc};
use super::descriptors::{give, put_pair};
use super::local;
use super::socket_args::{MAKER_BYTES, SOL_SOCKET, message, nonblocking, socket_of};
use super::socket_options::option;
#[cfg(target_pointer_width = "32")]
use super::socket_options::{get_option, set_option};
use super::transfer::{MAX_LENGTH, broken_pipe, piece_of, take};
use crate::abi;
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::files::open::{Descriptor, OpenFile, flag};
use crate::files::socket::{Kind, Maker, Name, Pair, Received, Socket};
use crate::files::socket_bounds::MAX_BYTES;
use crate::process::identity::credentials::{Ids, capability};
use crate::process::identity::users;
use crate::process::names::numbers;
use crate::process::user_memory::{WORD_BYTES, get, get_numbers, put, put_word};
use crate::process::{current, current_task};
use crate::spaces::user::Kind as Kinds;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::memory::fallible;

const SCM_RIGHTS: u32 = 1;
const SCM_CREDENTIALS: u32 = 2;
/// Open files in one message.
const MAX_FILES: usize = 253;
const MAX_PIECES: u64 = 1024;

pub(crate) fn socketpair(domain: u64, kind: u64, protocol: u64, to: u64) -> SysResult {
    let (kind, nonblocking, close_on_exec) = local::asked(domain, kind, protocol)?;
    let [first, second] = Socket::pair(kind, local::maker())?;
    let flags = nonblocking | flag::READ_WRITE;
    let pair = [OpenFile::of_object(first, flags)?, OpenFile::of_object(second, flags)?];
    put_pair(to, pair, close_on_exec)
}

/// A message's pieces: where, and how long.
struct Pieces {
    vector: u64,
    count: u64,
    whole: usize,
}

impl Pieces {
    fn new(vector: u64, count: u64) -> Result<Self, Errno> {
        if count > MAX_PIECES {
            return Err(Errno::EMSGSIZE);
        }
        let mut whole: u64 = 0;
        for i in 0..count {
            whole = whole.checked_add(piece_of(vector, i)?[1]).ok_or(Errno::EINVAL)?;
        }
        Ok(Self { vector, count, whole: whole.min(1 << 30) as usize })
    }

    /// Moves bytes between the pieces and a list, one after the other.
    fn each(
        &self,
        most: usize,
        body: impl FnMut(u64, core::ops::Range<usize>) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        self.each_within(0..most, body)
    }

    /// The same for a part of what the pieces have.
    fn each_within(
        &self,
        part: core::ops::Range<usize>,
        mut body: impl FnMut(u64, core::ops::Range<usize>) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let (mut skipped, mut done) = (part.start as u64, 0);
        for i in 0..self.count {
            let [base, length] = piece_of(self.vector, i)?;
            let skip = skipped.min(length);
            skipped -= skip;
            let length = (part.len() - done).min((length - skip).min(1 << 30) as usize);
            if length > 0 {
                body(base.checked_add(skip).ok_or(Errno::EFAULT)?, done..done + length)?;
            }
            done += length;
        }
        Ok(())
    }
}

/// Calls `body` with room for a message of a length, kept by the task.
fn with_room(length: usize, body: impl FnOnce(&mut [u8]) -> SysResult) -> SysResult {
    let mut room = current_task().room.lock();
    room.try_reserve_exact(length).map_err(|_| Errno::ENOBUFS)?;
    room.resize(length, 0);
    let result = body(&mut room);
    *room = Vec::new();
    result
}

fn send_flags(flags: u64) -> Result<(), Errno> {
    if flags & message::OUT_OF_BAND != 0 { Err(Errno::EOPNOTSUPP) } else { Ok(()) }
}

fn sent(result: Result<usize, Errno>, flags: u64) -> SysResult {
    if result == Err(Errno::EPIPE) && flags & message::NO_SIGNAL == 0 {
        broken_pipe()?;
    }
    result.map(|sent| sent as u64)
}

/// Whom a message goes to, if it says so. `EISCONN`, `EOPNOTSUPP`: only datagrams can.
fn addressee(socket: &Socket, at: u64, length: u64) -> Result<Option<Arc<Pair>>, Errno> {
    if at == 0 || length as u32 == 0 {
        return Ok(None);
    }
    match socket.kind {
        Kind::Datagram => local::addressee(at, length),
        // Packets have no use for it (unix_seqpacket_sendmsg).
        Kind::Packets => Ok(None),
        _ if socket.is_connected() => Err(Errno::EISCONN),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// sendto.
pub(crate) fn send([number, from, length, flags, address, address_length]: [u64; 6]) -> SysResult {
    let file = file(number)?;
    let socket = socket_of(file)?;
    send_flags(flags)?;
    let to = addressee(socket, address, address_length)?;
    if socket.kind != Kind::Stream && length > socket.longest() as u64 {
        return Err(Errno::EMSGSIZE);
    }
    let nonblocking = nonblocking(file, flags);
    let whole = length.min(MAX_LENGTH) as usize;
    let result = in_parts(socket, whole, |range| {
        let from = from.checked_add(range.start as u64).ok_or(Errno::EFAULT)?;
        with_room(range.len(), |room| {
            take(from, room)?;
            let maker = Some(local::maker());
            Ok(socket.send(room, Vec::new(), nonblocking, to.as_ref(), maker)? as u64)
        })
    });
    sent(result, flags)
}

/// Sends a message, or as many bytes of a stream as go: `send` is called for one part after the
/// other, with where that lies in the whole.
fn in_parts(
    socket: &Socket,
    whole: usize,
    mut send: impl FnMut(core::ops::Range<usize>) -> SysResult,
) -> Result<usize, Errno> {
    /// Bytes of a stream that are copied into the kernel before they go.
    const PART: usize = 64 << 10;
    if socket.kind != Kind::Stream {
        return Ok(send(0..whole)? as usize);
    }
    let mut done = 0;
    loop {
        let end = whole.min(done + PART);
        match send(done..end) {
            Ok(more) => done += more as usize,
            Err(_) if done > 0 => return Ok(done),
            Err(error) => return Err(error),
        }
        if done < end || done == whole {
            return Ok(done);
        }
    }
}

pub(crate) fn receive([number, to, length, flags, address, address_length]: [u64; 6]) -> SysResult {
    let file = file(number)?;
    let socket = socket_of(file)?;
    check_receive(flags)?;
    let length = length.min(MAX_BYTES as u64) as usize;
    let mut from = None;
    let received = with_room(length, |room| {
        let received = receive_into(socket, room, file, flags)?;
        from = received.from;
        put(to, &room[..received.bytes])?;
        let is_cut = flags & message::CUT != 0 && socket.kind != Kind::Stream;
        Ok(if is_cut { received.whole } else { received.bytes } as u64)
    })?;
    if address != 0 && address_length != 0 {
        put_sender(from.as_ref(), address, address_length)?;
    }
    Ok(received)
}

/// Who sent a message, if it has a name: of others nothing is told.
fn put_sender(from: Option<&Name>, at: u64, length: u64) -> Result<(), Errno> {
    match from {
        Some(_) => local::put_name(from, at, length),
        None => put(length, &0_u32.to_le_bytes()),
    }
}

fn check_receive(flags: u64) -> Result<(), Errno> {
    if flags & message::OUT_OF_BAND != 0 { Err(Errno::EOPNOTSUPP) } else { Ok(()) }
}

/// Receives; until all is there, if the caller wants that of a stream.
fn receive_into(
    socket: &Socket,
    room: &mut [u8],
    file: &OpenFile,
    flags: u64,
) -> Result<Received, Errno> {
    let nonblocking = nonblocking(file, flags);
    let peek = flags & message::PEEK != 0;
    let mut received = socket.receive(room, nonblocking, peek)?;
    let all = flags & message::WAIT_ALL != 0 && socket.kind == Kind::Stream && !peek;
    while all && received.bytes < room.len() && received.bytes > 0 && received.files.is_empty() {
        match socket.receive(&mut room[received.bytes..], nonblocking, false) {
            Ok(more) if more.bytes > 0 => {
                received.bytes += more.bytes;
                received.files = more.files;
            }
            _ => break,
        }
    }
    Ok(received)
}

/// `struct msghdr`: name, its length, vector, pieces, control, its length, flags: each as wide as a
/// word.
struct Header([u64; 7]);

impl Header {
    fn read(at: u64) -> Result<Self, Errno> {
        get_numbers(at, abi::WORD).map(Self)
    }

    fn pieces(&self) -> Result<Pieces, Errno> {
        Pieces::new(self.0[2], self.0[3])
    }
}

/// The open files that a message's control data names, and who is to be said to have sent it.
type Control = (Vec<Arc<OpenFile>>, Option<Maker>);

/// Who a program says that it is. `EPERM`: it is not, and may not say so.
fn said(at: u64) -> Result<Maker, Errno> {
    let [process, user, group] = get_numbers(at, WordSize::Four)?.map(|number: u64| number as u32);
    let all = current_task().credentials();
    let process = numbers::meant(process.into());
    let user = users::meant(Kinds::Users, user)?;
    let group = users::meant(Kinds::Groups, group)?;
    let owner = current().space.as_ref().and_then(|space| space.owner.clone());
    let is_one = |id: u32, ids: &Ids| [ids.real, ids.effective, ids.saved].contains(&id);
    let may = (process == current().id || all.can_in(&owner, capability::SYS_ADMIN))
        && (is_one(user, &all.user) || all.can_here(capability::SETUID))
        && (is_one(group, &all.group) || all.can_here(capability::SETGID));
    let process = process as u32;
    if may { Ok(Maker { process, user, group }) } else { Err(Errno::EPERM) }
}

fn control_of(control: u64, length: u64) -> Result<Control, Errno> {
    let (mut files, mut maker) = (Vec::new(), None);
    let head = WORD_BYTES + 8;
    let mut at = 0;
    if length > 20_480 {
        return Err(Errno::ENOBUFS);
    }
    while at + head <= length {
        let [whole] = get_numbers(control.wrapping_add(at), abi::WORD)?;
        let kinds: [u8; 8] = get(control.wrapping_add(at + WORD_BYTES))?;
        let [a, b, c, d, e, f, g, h] = kinds;
        if whole < head || whole > length - at {
            return Err(Errno::EINVAL);
        }
        let of_files = match [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])] {
            [SOL_SOCKET, SCM_RIGHTS] => true,
            [SOL_SOCKET, SCM_CREDENTIALS] if whole == head + MAKER_BYTES as u64 => {
                maker = Some(said(control.wrapping_add(at + head))?);
                false
            }
            _ => return Err(Errno::EINVAL),
        };
        for place in (head..whole).step_by(4).filter(|place| of_files && place + 4 <= whole) {
            if files.len() >= MAX_FILES {
                return Err(Errno::EINVAL);
            }
            let number = i32::from_le_bytes(get(control.wrapping_add(at + place))?);
            fallible::push(&mut files, file_arc(number as u64)?)?;
        }
        at += whole.next_multiple_of(WORD_BYTES);
    }
    Ok((files, maker))
}

/// sendmsg: how many bytes have gone.
pub(super) fn send_message(number: u64, at: u64, flags: u64) -> SysResult {
    let file = file(number)?;
    let socket = socket_of(file)?;
    send_flags(flags)?;
    let header = Header::read(at)?;
    let pieces = header.pieces()?;
    let to = addressee(socket, header.0[0], header.0[1])?;
    let (files, said) = match header.0[4] {
        0 => Control::default(),
        control => control_of(control, header.0[5])?,
    };
    let maker = Some(said.unwrap_or_else(local::maker));
    if socket.kind != Kind::Stream && pieces.whole > socket.longest() {
        return Err(Errno::EMSGSIZE);
    }
    let nonblocking = nonblocking(file, flags);
    let mut files = Some(files);
    let result = in_parts(socket, pieces.whole, |part| {
        with_room(part.len(), |room| {
            pieces.each_within(part, |base, range| take(base, &mut room[range]))?;
            // They go with the first bytes.
            let files = files.take().unwrap_or_default();
            Ok(socket.send(room, files, nonblocking, to.as_ref(), maker)? as u64)
        })
    });
    sent(result, flags)
}

/// Gives the caller the open files of a message; how many bytes of control data that is, and
/// whether there was room for all.
fn put_files(
    files: Vec<Arc<OpenFile>>,
    control: u64,
    length: u64,
    close_on_exec: bool,
) -> Result<(u64, bool), Errno> {
    let head = WORD_BYTES + 8;
    if files.is_empty() {
        return Ok((0, false));
    }
    let count = files.len() as u64;
    let mut given = 0;
    for file in files {
        if head + 4 * (given + 1) > length {
            break;
        }
        let Ok(number) = give(Descriptor { file, close_on_exec }, 0) else { break };
        put(control.wrapping_add(head + 4 * given), &(number as u32).to_le_bytes())?;
        given += 1;
    }
    if given == 0 {
        return Ok((0, true));
    }
    put_word(control, head + 4 * given)?;
    put(control.wrapping_add(WORD_BYTES), &SOL_SOCKET.to_le_bytes())?;
    put(control.wrapping_add(WORD_BYTES + 4), &SCM_RIGHTS.to_le_bytes())?;
    Ok(((head + 4 * given).next_multiple_of(WORD_BYTES).min(length), given < count))
}

pub(crate) fn receive_message(number: u64, at: u64, flags: u64) -> SysResult {
    let file = file(number)?;
    let socket = socket_of(file)?;
    check_receive(flags)?;
    let header = Header::read(at)?;
    let pieces = header.pieces()?;
    let (mut told, mut files) = (0, Vec::new());
    let (mut from, mut maker) = (None, Maker::default());
    let length = pieces.whole.min(MAX_BYTES);
    let result = with_room(length, |room| {
        let received = receive_into(socket, room, file, flags)?;
        pieces.each(received.bytes, |base, range| put(base, &room[range]))?;
        let is_cut = socket.kind != Kind::Stream && received.whole > received.bytes;
        told |= if is_cut { message::CUT } else { 0 };
        if socket.kind == Kind::Packets && received.whole > 0 {
            told |= message::END_OF_RECORD;
        }
        (files, from, maker) = (received.files, received.from, received.maker);
        let whole = is_cut && flags & message::CUT != 0;
        Ok(if whole { received.whole } else { received.bytes } as u64)
    })?;
    let close_on_exec = flags & message::CLOEXEC != 0;
    let room = if header.0[4] == 0 { 0 } else { header.0[5] };
    let mut before = 0;
    if socket.has(option::PASS_CREDENTIALS) {
        let head = WORD_BYTES + 8;
        if head + MAKER_BYTES as u64 <= room {
            put_word(header.0[4], head + MAKER_BYTES as u64)?;
            let maker = local::told(maker);
            let numbers = [SOL_SOCKET, SCM_CREDENTIALS, maker.process, maker.user, maker.group];
            for (place, number) in (WORD_BYTES..).step_by(4).zip(numbers) {
                put(header.0[4].wrapping_add(place), &number.to_le_bytes())?;
            }
            before = (head + MAKER_BYTES as u64).next_multiple_of(WORD_BYTES).min(room);
        } else {
            told |= message::CONTROL_CUT;
        }
    }
    let control = header.0[4].wrapping_add(before);
    let (control, is_cut) = put_files(files, control, room - before, close_on_exec)?;
    let control = before + control;
    told |= if is_cut { message::CONTROL_CUT } else { 0 };
    if header.0[0] != 0 {
        let name_room = usize::try_from(header.0[1] as i32).map_err(|_| Errno::EINVAL)?;
        let length = match &from {
            Some(_) => local::put_some(from.as_ref(), header.0[0], name_room)?,
            None => 0,
        };
        put(at + WORD_BYTES, &(length as u32).to_le_bytes())?;
    }
    put_word(at + 5 * WORD_BYTES, control)?;
    put(at + 6 * WORD_BYTES, &(told as u32).to_le_bytes())?;
    Ok(result)
}

pub(crate) fn shutdown(number: u64, how: u64) -> SysResult {
    let socket = socket_of(file(number)?)?;
    match how as u32 {
        0 => socket.shut(true, false),
        1 => socket.shut(false, true),
        2 => socket.shut(true, true),
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// The one call that i386 had for all of these: its arguments lie in memory.
#[cfg(target_pointer_width = "32")]
pub(crate) fn call(number: u64, at: u64) -> SysResult {
    let argument = |count: usize| -> Result<[u64; 6], Errno> {
        let mut all = [0; 6];
        for (i, one) in all.iter_mut().enumerate().take(count) {
            [*one] = get_numbers(at.wrapping_add(WORD_BYTES * i as u64), abi::WORD)?;
        }
        Ok(all)
    };
    match number as u32 {
        1 => argument(3)
            .and_then(|[domain, kind, protocol, ..]| local::socket(domain, kind, protocol)),
        2 => argument(3).and_then(|[fd, at, length, ..]| local::bind(fd, at, length)),
        3 => argument(3).and_then(|[fd, at, length, ..]| local::connect(fd, at, length)),
        4 => argument(2).and_then(|[fd, backlog, ..]| local::listen(fd, backlog)),
        5 => argument(3).and_then(|[fd, at, length, ..]| local::accept([fd, at, length, 0])),
        18 => argument(4)
            .and_then(|[fd, at, length, flags, ..]| local::accept([fd, at, length, flags])),
        6 | 7 => argument(3)
            .and_then(|[fd, to, length, ..]| local::name(fd, to, length, number as u32 == 7)),
        8 => argument(4)
            .and_then(|[domain, kind, protocol, to, ..]| socketpair(domain, kind, protocol, to)),
        9 => argument(4)
            .and_then(|[fd, from, length, flags, ..]| send([fd, from, length, flags, 0, 0])),
        10 => argument(4)
            .and_then(|[fd, to, length, flags, ..]| receive([fd, to, length, flags, 0, 0])),
        11 => argument(6).and_then(send),
        12 => argument(6).and_then(receive),
        13 => argument(2).and_then(|[fd, how, ..]| shutdown(fd, how)),
        14 => argument(5)
            .and_then(|[fd, level, name, at, length, _]| set_option([fd, level, name, at, length])),
        15 => argument(5)
            .and_then(|[fd, level, name, to, length, _]| get_option(fd, level, name, to, length)),
        16 => argument(3).and_then(|[fd, at, flags, ..]| send_message(fd, at, flags)),
        17 => argument(3).and_then(|[fd, at, flags, ..]| receive_message(fd, at, flags)),
        _ => Err(Errno::EINVAL),
    }
}
