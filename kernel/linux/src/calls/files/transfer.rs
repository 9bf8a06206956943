//! Bytes between programs and files, and where a file stands.

use super::at::{HERE, file, place_at};
use super::background::not_in_background;
use super::leases;
use crate::abi;
use crate::abi::signals::{Fields, Info, Signal, code};
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::files::attributes::file_flag;
use crate::files::inotify::{self, bit};
use crate::files::open::{OpenFile, Target, flag};
use crate::files::pipe::ATOMIC;
use crate::files::readiness::event;
use crate::files::tree::{Content, Node, Special};
use crate::limits::{INFINITE, Resource};
use crate::memory::cut;
use crate::process::identity::permissions;
use crate::process::sending::send;
use crate::process::time::moved::{count_read, count_write};
use crate::process::user_memory::{WORD_BYTES, get, get_numbers, put};
use crate::process::walk::Place;
use crate::process::{current, current_task};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use threads::sched;

/// Bytes moved between program and file at a time: they lie on the kernel stack.
const PIECE: usize = 512;
/// Bytes that Linux moves in one call, at most.
pub(super) const MAX_LENGTH: u64 = 0x7fff_f000;

pub(crate) fn read(number: u64, to: u64, length: u64) -> SysResult {
    count_read(read_from(file(number)?, to, length, None))
}

pub(crate) fn write(number: u64, from: u64, length: u64) -> SysResult {
    count_write(write_to(file(number)?, from, length, None))
}

/// Where bytes come from or go to: where the file stands, or an offset.
pub(crate) type Offset = Option<u64>;

/// Bytes of all pieces of a vector: what a signed word of the program counts.
const MAX_VECTOR: u64 = match abi::WORD {
    WordSize::Four => i32::MAX as u64,
    WordSize::Eight => i64::MAX as u64,
};
/// Pieces of a vector.
const MAX_PIECES: u64 = 1024;
/// Bytes moved for a pipe or its like at a time.
const MAX_PIECE: u64 = 64 << 10;

/// Calls `body` with room for up to `length` bytes: on the stack, if they are few.
pub(super) fn with_room<R>(
    length: u64,
    body: impl FnOnce(&mut [u8]) -> Result<R, Errno>,
) -> Result<R, Errno> {
    if length <= PIECE as u64 {
        let mut piece = [0; PIECE];
        return body(&mut piece[..length as usize]);
    }
    let mut wanted = length.min(MAX_PIECE) as usize;
    let mut room = current_task().room.lock();
    // Less where the heap has no block of that size; what must be in one piece is no longer than
    // this.
    while room.try_reserve_exact(wanted).is_err() {
        wanted = if wanted > ATOMIC { ATOMIC } else { return Err(Errno::ENOMEM) };
    }
    room.resize(wanted, 0);
    let result = body(&mut room);
    *room = Vec::new();
    result
}

pub(crate) fn read_from(file: &OpenFile, to: u64, length: u64, offset: Offset) -> SysResult {
    if !file.can_read() {
        return Err(Errno::EBADF);
    }
    if file.is_object() {
        not_in_background(file, Signal::TTIN)?;
        return with_room(length, |room| {
            let read = file.read(room)?;
            put(to, &room[..read])?;
            Ok(read as u64)
        });
    }
    if length == 0 {
        return file.read_at(0, &mut []).map(|_| 0);
    }
    transfer(length, |done, piece| {
        let read = match offset {
            Some(offset) => file.read_at(offset.saturating_add(done), piece)?,
            None => file.read(piece)?,
        };
        put(to.checked_add(done).ok_or(Errno::EFAULT)?, &piece[..read])?;
        Ok(read)
    })
}

/// A file in which bytes have places, and an offset that is one.
fn check_offset(file: &OpenFile, offset: u64) -> Result<(), Errno> {
    if (offset as i64) < 0 {
        return Err(Errno::EINVAL);
    }
    if file.is_stream() { Err(Errno::ESPIPE) } else { Ok(()) }
}

pub(crate) fn pread(number: u64, to: u64, length: u64, offset: u64) -> SysResult {
    let file = file(number)?;
    check_offset(file, offset)?;
    count_read(read_from(file, to, length, Some(offset)))
}

pub(crate) fn pwrite(number: u64, from: u64, length: u64, offset: u64) -> SysResult {
    let file = file(number)?;
    check_offset(file, offset)?;
    count_write(write_to(file, from, length, Some(offset)))
}

/// Reads the program's memory.
pub(super) fn take(from: u64, to: &mut [u8]) -> Result<(), Errno> {
    let memory = current().memory().ok_or(Errno::EFAULT)?;
    let read = memory.lock().read(from, to);
    Ok(read?)
}

pub(crate) fn write_to(file: &OpenFile, from: u64, length: u64, offset: Offset) -> SysResult {
    if !file.can_write() {
        return Err(Errno::EBADF);
    }
    let result = if file.is_object() {
        write_object(file, from, length.min(MAX_LENGTH))
    } else {
        transfer(writable(file, length, offset)?, |done, piece| {
            take(from.checked_add(done).ok_or(Errno::EFAULT)?, piece)?;
            match offset {
                // As Linux has it: a file that is appended to knows no other place.
                Some(_) if file.flags() & flag::APPEND != 0 => file.write(piece),
                Some(offset) => file.write_at(offset.saturating_add(done), piece),
                None => file.write(piece),
            }
        })
    };
    if result == Err(Errno::EPIPE) {
        broken_pipe()?;
    }
    result
}

/// How many bytes may be written to a file, by the limit of its size.
fn writable(file: &OpenFile, length: u64, offset: Offset) -> Result<u64, Errno> {
    let Target::Node(node, _) = &file.target else { return Ok(length) };
    if length == 0 || !matches!(node.content, Content::File(_)) {
        return Ok(length);
    }
    let limit = current().limits.soft(Resource::FileSize);
    if limit == INFINITE {
        return Ok(length);
    }
    let is_appended = file.flags() & flag::APPEND != 0;
    let here = || file.position.load(Ordering::Relaxed);
    let position = if is_appended { node.bytes() } else { offset.unwrap_or_else(here) };
    if position >= limit { Err(too_large()) } else { Ok(length.min(limit - position)) }
}

/// Whether a file may have this length, by the same limit: what is not longer than before always
/// may.
pub(super) fn may_have_length(node: &Node, length: u64) -> Result<(), Errno> {
    let limit = current().limits.soft(Resource::FileSize);
    let is_plain = matches!(node.content, Content::File(_));
    if is_plain && length > limit && length > node.bytes() { Err(too_large()) } else { Ok(()) }
}

/// Tells the caller by a signal, too, that a file would become larger than its limit.
fn too_large() -> Errno {
    // One that ends has no use for it.
    let _ended = send_to_self(Signal::XFSZ);
    Errno::EFBIG
}

/// The caller wrote where no reader is left.
pub(super) fn broken_pipe() -> Result<(), Errno> {
    send_to_self(Signal::PIPE)
}

/// Sends the caller a signal, as from itself.
fn send_to_self(signal: Signal) -> Result<(), Errno> {
    let process = current();
    let user = current_task().credentials().user.real;
    let fields = Fields::Sender { process: process.local as u32, user };
    let info = Info { signal, code: code::USER, fields };
    send::to_thread(process, &sched::current_arc(), info).map(|_sent| ())
}

fn write_object(file: &OpenFile, from: u64, length: u64) -> SysResult {
    not_in_background(file, Signal::TTOU)?;
    with_room(length, |room| {
        written(length, room, |done, piece| {
            take(from.checked_add(done).ok_or(Errno::EFAULT)?, piece)?;
            file.write(piece)
        })
    })
}

/// Writes `length` bytes by way of `room`, as much at a time as fits there; `step` is told how many
/// are written. Ends early where less was. What was written counts more than an error later on.
fn written(
    length: u64,
    room: &mut [u8],
    mut step: impl FnMut(u64, &mut [u8]) -> Result<usize, Errno>,
) -> SysResult {
    let mut done = 0;
    loop {
        let piece = (length - done).min(room.len() as u64) as usize;
        match step(done, &mut room[..piece]) {
            Ok(moved) => {
                done += moved as u64;
                if done >= length || moved < piece {
                    return Ok(done);
                }
            }
            Err(error) if done == 0 => return Err(error),
            Err(_) => return Ok(done),
        }
    }
}

/// Moves up to `length` bytes in pieces; ends early where a piece falls short. What was moved
/// counts more than an error later on.
fn transfer(
    length: u64,
    mut step: impl FnMut(u64, &mut [u8]) -> Result<usize, Errno>,
) -> SysResult {
    let length = length.min(MAX_LENGTH);
    let mut piece = [0; PIECE];
    let mut done = 0;
    while done < length {
        // From a file without an end to one that takes everything, this is long.
        if sched::current().has_attention() {
            return if done == 0 { Err(Errno::ERESTARTSYS) } else { Ok(done) };
        }
        let wanted = (length - done).min(PIECE as u64) as usize;
        match step(done, &mut piece[..wanted]) {
            Ok(moved) => {
                done += moved as u64;
                if moved < wanted {
                    break;
                }
            }
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// Which way bytes go: to the program, or from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// readv, writev and their like: the pieces of a vector, one after the other.
pub(crate) fn vectored(
    number: u64,
    vector: u64,
    count: u64,
    offset: Offset,
    direction: Direction,
) -> SysResult {
    let moved = move_pieces(file(number)?, vector, count, offset, direction);
    match direction {
        Direction::Read => count_read(moved),
        Direction::Write => count_write(moved),
    }
}

fn move_pieces(
    file: &OpenFile,
    vector: u64,
    count: u64,
    offset: Offset,
    direction: Direction,
) -> SysResult {
    if count > MAX_PIECES {
        return Err(Errno::EINVAL);
    }
    if let Some(offset) = offset {
        check_offset(file, offset)?;
    }
    // All lengths are looked at before anything moves.
    let mut whole: u64 = 0;
    for i in 0..count {
        let [_, length] = piece_of(vector, i)?;
        let fits = length <= MAX_VECTOR && whole + length <= MAX_VECTOR;
        whole = if fits { whole + length } else { return Err(Errno::EINVAL) };
    }
    if count > 1 && file.object().is_some_and(|object| object.is_gathered()) {
        return gathered(file, [vector, count, whole.min(MAX_LENGTH)], direction);
    }
    let mut done = 0;
    for i in 0..count {
        let [base, length] = piece_of(vector, i)?;
        if length == 0 && count > 1 {
            continue;
        }
        let offset = offset.map(|offset| offset.saturating_add(done));
        let moved = match direction {
            Direction::Read => read_from(file, base, length, offset),
            Direction::Write => write_to(file, base, length, offset),
        };
        match moved {
            Ok(moved) => {
                done += moved;
                if moved < length {
                    break;
                }
                // What comes in pieces may have no more for now.
                let is_read = direction == Direction::Read && file.is_object();
                if is_read && file.events() & event::IN == 0 {
                    break;
                }
            }
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// The same by way of one piece of memory, for what a call reads or writes at once.
fn gathered(file: &OpenFile, [vector, count, whole]: [u64; 3], direction: Direction) -> SysResult {
    let may = match direction {
        Direction::Read => file.can_read(),
        Direction::Write => file.can_write(),
    };
    if !may {
        return Err(Errno::EBADF);
    }
    // Nothing is not even a message.
    if whole == 0 {
        return Ok(0);
    }
    let result = with_room(whole, |room| match direction {
        Direction::Read => {
            not_in_background(file, Signal::TTIN)?;
            let read = file.read(room)?;
            spread([vector, count, 0], &mut room[..read], direction)?;
            Ok(read as u64)
        }
        Direction::Write => {
            not_in_background(file, Signal::TTOU)?;
            written(whole, room, |done, piece| {
                spread([vector, count, done], piece, direction)?;
                file.write(piece)
            })
        }
    });
    if result == Err(Errno::EPIPE) {
        broken_pipe()?;
    }
    result
}

/// Moves bytes between a piece of memory and the pieces of a vector, from a place in all of them
/// on.
fn spread(
    [vector, count, from]: [u64; 3],
    memory: &mut [u8],
    direction: Direction,
) -> Result<(), Errno> {
    let (mut before, mut done) = (from, 0);
    for i in 0..count {
        let [base, length] = piece_of(vector, i)?;
        let left = &mut memory[done..];
        let bytes = length.saturating_sub(before).min(left.len() as u64) as usize;
        if bytes > 0 {
            let at = base.checked_add(before).ok_or(Errno::EFAULT)?;
            match direction {
                Direction::Read => put(at, &left[..bytes])?,
                Direction::Write => take(at, &mut left[..bytes])?,
            }
        }
        done += bytes;
        before = before.saturating_sub(length);
    }
    // Less is there than when it was counted.
    if done < memory.len() { Err(Errno::EFAULT) } else { Ok(()) }
}

pub(super) fn piece_of(vector: u64, i: u64) -> Result<[u64; 2], Errno> {
    let entry = vector.checked_add(2 * WORD_BYTES * i).ok_or(Errno::EFAULT)?;
    get_numbers(entry, abi::WORD)
}

/// preadv2, pwritev2: an offset of -1 is where the file stands. None of the flags has a meaning
/// here but "as always".
pub(crate) fn vectored_with_flags(
    number: u64,
    vector: u64,
    count: u64,
    offset: u64,
    flags: u64,
    direction: Direction,
) -> SysResult {
    const HIGH_PRIORITY: u64 = 1;
    const SYNC: u64 = 6;
    if flags & 0xffff_ffff & !(HIGH_PRIORITY | SYNC) != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let offset = (offset != u64::MAX).then_some(offset);
    vectored(number, vector, count, offset, direction)
}

/// Copies within the kernel. `offset`: where the place to read from lies, and how large it is; 0:
/// where the file stands.
pub(crate) fn sendfile(to: u64, from: u64, offset: u64, size: WordSize, length: u64) -> SysResult {
    let (to, from) = (file(to)?, file(from)?);
    if !from.can_read() || !to.can_write() {
        return Err(Errno::EBADF);
    }
    if from.is_stream() && offset != 0 {
        return Err(Errno::ESPIPE);
    }
    if from.is_stream() || to.flags() & flag::APPEND != 0 {
        return Err(Errno::EINVAL);
    }
    let start = match offset {
        0 => None,
        at => Some(get_numbers::<1>(at, size)?[0]),
    };
    if start.is_some_and(|start| (start as i64) < 0) {
        return Err(Errno::EINVAL);
    }
    let copied = transfer(length, |done, piece| {
        let place = start.unwrap_or_else(|| from.position.load(Ordering::Relaxed));
        let place = if start.is_some() { place.saturating_add(done) } else { place };
        let read = from.read_at(place, piece)?;
        let written = if read == 0 { 0 } else { to.write(&piece[..read])? };
        if start.is_none() {
            from.position.store(place + written as u64, Ordering::Relaxed);
        }
        Ok(written)
    });
    let copied = count_write(count_read(copied));
    if copied == Err(Errno::EPIPE) {
        broken_pipe()?;
    }
    if let (Some(start), Ok(copied)) = (start, copied) {
        put(offset, &(start + copied).to_le_bytes()[..size.bytes()])?;
    }
    copied
}

/// Copies between plain files. The offsets: as for [`sendfile`].
pub(crate) fn copy_file_range(
    [from, from_offset, to, to_offset, length, flags]: [u64; 6],
) -> SysResult {
    let (from, to) = (file(from)?, file(to)?);
    if flags & 0xffff_ffff != 0 {
        return Err(Errno::EINVAL);
    }
    if !from.can_read() || !to.can_write() || to.flags() & flag::APPEND != 0 {
        return Err(Errno::EBADF);
    }
    for file in [from, to] {
        if file.stat().mode & 0o170000 == 0o040000 {
            return Err(Errno::EISDIR);
        }
        if !file.is_plain() {
            return Err(Errno::EINVAL);
        }
    }
    if to.stat().flags & file_flag::IMMUTABLE != 0 {
        return Err(Errno::EPERM);
    }
    let start = |file: &OpenFile, at: u64| match at {
        0 => Ok::<u64, Errno>(file.position.load(Ordering::Relaxed)),
        at => Ok(u64::from_le_bytes(get(at)?)),
    };
    let (first, second) = (start(from, from_offset)?, start(to, to_offset)?);
    if (first as i64) < 0 || (second as i64) < 0 {
        return Err(Errno::EINVAL);
    }
    if from.stat().inode == to.stat().inode && first.abs_diff(second) < length {
        return Err(Errno::EINVAL);
    }
    let copied = transfer(length, |done, piece| {
        let read = from.read_at(first.saturating_add(done), piece)?;
        if read == 0 { Ok(0) } else { to.write_at(second.saturating_add(done), &piece[..read]) }
    })?;
    for (file, at, start) in [(from, from_offset, first), (to, to_offset, second)] {
        match at {
            0 => file.position.store(start + copied, Ordering::Relaxed),
            at => put(at, &(start + copied).to_le_bytes())?,
        }
    }
    Ok(copied)
}

pub(crate) fn seek(number: u64, offset: i64, whence: u64) -> SysResult {
    const DATA: u64 = 3;
    const HOLE: u64 = 4;
    let file = file(number)?;
    if file.flags() & flag::PATH != 0 {
        return Err(Errno::EBADF);
    }
    let top = match &file.target {
        Target::Node(node, _) => node.bytes(),
        Target::Made(made) if made.has_bytes() => return seek_in_memory(file, offset, whence),
        // What is there by its place has no end to be found.
        Target::Made(made) if whence as u32 == 2 && made.path().ends_with("/pagemap") => {
            return Err(Errno::EINVAL);
        }
        // It has no length before it is read.
        Target::Made(_) => 0,
        _ => return Err(Errno::ESPIPE),
    };
    if let Target::Node(node, _) = &file.target
        && matches!(node.content, Content::Special(Special::Null | Special::Zero | Special::Full))
    {
        // They have no places (null_lseek).
        file.position.store(0, Ordering::Relaxed);
        return Ok(0);
    }
    let base = match whence & 0xffff_ffff {
        0 => 0,
        1 => file.position.load(Ordering::Relaxed),
        2 => top,
        // A file is one piece of data, with a hole behind it: as a file system has it that does not
        // know of holes.
        DATA | HOLE => {
            let start = u64::try_from(offset).ok().filter(|&start| start < top);
            let start = start.ok_or(Errno::ENXIO)?;
            let position = if whence == DATA { start } else { top };
            file.position.store(position, Ordering::Relaxed);
            return Ok(position);
        }
        _ => return Err(Errno::EINVAL),
    };
    let position = base.checked_add_signed(offset).filter(|&to| to <= i64::MAX as u64);
    let position = position.ok_or(Errno::EINVAL)?;
    file.position.store(position, Ordering::Relaxed);
    Ok(position)
}

/// The same where every number is a place, the highest ones too (`mem_lseek`).
fn seek_in_memory(file: &OpenFile, offset: i64, whence: u64) -> SysResult {
    let base = match whence & 0xffff_ffff {
        0 => 0,
        1 => file.position.load(Ordering::Relaxed),
        _ => return Err(Errno::EINVAL),
    };
    let position = base.wrapping_add_signed(offset);
    file.position.store(position, Ordering::Relaxed);
    Ok(position)
}

/// The same for a program whose words are too small for the result: it goes to memory.
pub(crate) fn long_seek(number: u64, offset: u64, to: u64, whence: u64) -> SysResult {
    let position = seek(number, offset as i64, whence)?;
    put(to, &position.to_le_bytes())?;
    Ok(0)
}

pub(crate) fn truncate(number: u64, length: u64) -> SysResult {
    if (length as i64) < 0 {
        return Err(Errno::EINVAL);
    }
    let file = file(number)?;
    let Target::Node(node, _) = &file.target else { return Err(Errno::EINVAL) };
    if !file.can_write() {
        return Err(Errno::EINVAL);
    }
    node.attributes.has_none_of(file_flag::APPEND)?;
    may_have_length(node, length)?;
    cut::set_length(node, length)?;
    file.tell(bit::MODIFY);
    Ok(0)
}

/// The same by name.
pub(crate) fn truncate_path(at: u64, length: u64) -> SysResult {
    let place = place_at(HERE, at, true)?;
    if (length as i64) < 0 {
        return Err(Errno::EINVAL);
    }
    let Place::Node(node, lies) = place else { return Err(Errno::EINVAL) };
    permissions::check(&node.stat(), permissions::WRITE)?;
    node.attributes.has_none_of(file_flag::APPEND)?;
    may_have_length(&node, length)?;
    node.attributes.begin_writing()?;
    let cut = leases::broken_by(&node, true, true).and_then(|()| cut::set_length(&node, length));
    node.attributes.end_writing();
    cut?;
    inotify::tell_at(&node, &lies, bit::MODIFY);
    Ok(0)
}
