//! Bytes between a pipe and another file without the program between them: splice, tee and
//! vmsplice. They are copied.
//!
//! What is taken from a pipe leaves it only when it has arrived: a destination that fails loses
//! nothing.

use super::at::file;
use super::transfer::{Direction, broken_pipe, piece_of, take, with_room};
use crate::error::{Errno, SysResult};
use crate::files::object::How;
use crate::files::open::{OpenFile, flag};
use crate::files::pipe::{Maker, PipeEnd};
use crate::process::current_task;
use crate::process::identity::credentials::capability;
use crate::process::user_memory::{get, put};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

const NONBLOCK: u32 = 2;
/// `SPLICE_F_MOVE`, `NONBLOCK`, `MORE` and `GIFT`.
const KNOWN: u32 = 0xf;

/// How many bytes one call moves at most.
const MOST: u64 = 0x7fff_f000;

/// The end of a pipe that a file is.
pub(super) fn pipe_of(file: &OpenFile) -> Option<&PipeEnd> {
    file.object().and_then(|object| object.of_kind())
}

fn how(file: &OpenFile, flags: u32) -> How {
    let nonblocking = flags & NONBLOCK != 0 || file.flags() & flag::NONBLOCK != 0;
    How { nonblocking, packets: false }
}

/// SIGPIPE for one who writes where no reader is left.
fn finished(result: SysResult) -> SysResult {
    if result == Err(Errno::EPIPE) {
        broken_pipe()?;
    }
    result
}

/// Where a file that is no pipe is read or written: at an offset of the program, or where the file
/// stands.
struct Offset {
    at: u64,
    value: u64,
}

impl Offset {
    fn of(file: &OpenFile, at: u64) -> Result<Self, Errno> {
        if at == 0 {
            return Ok(Self { at, value: file.position.load(Ordering::Relaxed) });
        }
        if file.is_stream() {
            return Err(Errno::EINVAL);
        }
        let value = u64::from_le_bytes(get(at)?);
        if (value as i64) < 0 {
            return Err(Errno::EINVAL);
        }
        Ok(Self { at, value })
    }

    fn advance(&mut self, file: &OpenFile, by: u64) -> Result<(), Errno> {
        self.value += by;
        match self.at {
            0 if file.is_stream() => Ok(()),
            0 => {
                file.position.store(self.value, Ordering::Relaxed);
                Ok(())
            }
            at => put(at, &self.value.to_le_bytes()),
        }
    }
}

/// splice: from a pipe, to a pipe, or both.
pub(crate) fn splice([from, from_at, to, to_at, length, flags]: [u64; 6]) -> SysResult {
    let flags = flags as u32;
    if flags & !KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    let length = length.min(MOST);
    if length == 0 {
        return Ok(0);
    }
    let (from, to) = (file(from)?, file(to)?);
    if !from.can_read() || !to.can_write() {
        return Err(Errno::EBADF);
    }
    finished(match (pipe_of(from), pipe_of(to)) {
        (None, None) => Err(Errno::EINVAL),
        (Some(_), _) if from_at != 0 => Err(Errno::ESPIPE),
        (_, Some(_)) if to_at != 0 => Err(Errno::ESPIPE),
        (Some(source), Some(sink)) => {
            between(source, sink, length, [how(from, flags), how(to, flags)], true)
        }
        (Some(source), None) => {
            if to.flags() & flag::APPEND != 0 || to.stat().mode & 0o170000 == 0o040000 {
                return Err(Errno::EINVAL);
            }
            let mut offset = Offset::of(to, to_at)?;
            out_of_pipe(source, to, &mut offset, length, how(from, flags))
        }
        (None, Some(sink)) => {
            if from.stat().mode & 0o170000 == 0o040000 {
                return Err(Errno::EINVAL);
            }
            let mut offset = Offset::of(from, from_at)?;
            let room = sink.pipe.wait_for_room(how(to, flags))? as u64;
            with_room(length.min(room), |room| {
                let read = match from.is_stream() {
                    true => from.read(room)?,
                    false => from.read_at(offset.value, room)?,
                };
                let written = sink.pipe.write_now(&room[..read])?;
                offset.advance(from, written as u64)?;
                Ok(written as u64)
            })
        }
    })
}

/// From a pipe to another kind of file: all that is there, and once that has come, no more is
/// waited for.
fn out_of_pipe(
    source: &PipeEnd,
    to: &OpenFile,
    offset: &mut Offset,
    length: u64,
    how: How,
) -> SysResult {
    let mut done = 0;
    while done < length {
        let how = How { nonblocking: how.nonblocking || done > 0, ..how };
        let moved = with_room(length - done, |room| {
            let there = source.pipe.look(room, how)?;
            let written = match to.is_stream() {
                true => to.write(&room[..there])?,
                false => to.write_at(offset.value, &room[..there])?,
            };
            source.pipe.discard(written);
            offset.advance(to, written as u64)?;
            Ok(written as u64)
        });
        match moved {
            Ok(0) => break,
            Ok(moved) => done += moved,
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// From one pipe to another: what is there and has room.
fn between(source: &PipeEnd, sink: &PipeEnd, length: u64, how: [How; 2], takes: bool) -> SysResult {
    if Arc::ptr_eq(&source.pipe, &sink.pipe) {
        return Err(Errno::EINVAL);
    }
    let room = sink.pipe.wait_for_room(how[1])? as u64;
    with_room(length.min(room), |room| {
        let there = source.pipe.look(room, how[0])?;
        let written = sink.pipe.write_now(&room[..there])?;
        if takes {
            source.pipe.discard(written);
        }
        Ok(written as u64)
    })
}

/// tee: a copy of what is in one pipe, which keeps it.
pub(crate) fn tee(from: u64, to: u64, length: u64, flags: u64) -> SysResult {
    let flags = flags as u32;
    if flags & !KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    if length == 0 {
        return Ok(0);
    }
    let (from, to) = (file(from)?, file(to)?);
    if !from.can_read() || !to.can_write() {
        return Err(Errno::EBADF);
    }
    let (Some(source), Some(sink)) = (pipe_of(from), pipe_of(to)) else {
        return Err(Errno::EINVAL);
    };
    let how = [how(from, flags), how(to, flags)];
    finished(between(source, sink, length.min(MOST), how, false))
}

/// vmsplice: between the pieces of a vector and a pipe, whichever way that goes.
pub(crate) fn vmsplice(number: u64, vector: u64, count: u64, flags: u64) -> SysResult {
    const MAX_PIECES: u64 = 1024;
    let flags = flags as u32;
    if flags & !KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    let file = file(number)?;
    let end = pipe_of(file).ok_or(Errno::EBADF)?;
    if count > MAX_PIECES {
        return Err(Errno::EINVAL);
    }
    let direction = if file.can_write() { Direction::Write } else { Direction::Read };
    let how = how(file, flags);
    let mut done = 0;
    'pieces: for i in 0..count {
        let [base, length] = piece_of(vector, i)?;
        let mut of_piece = 0;
        while of_piece < length {
            let how = How { nonblocking: how.nonblocking || done > 0, ..how };
            let at = base.checked_add(of_piece).ok_or(Errno::EFAULT)?;
            let moved = match direction {
                Direction::Write => into_pipe(end, at, length - of_piece, how),
                Direction::Read => with_room(length - of_piece, |room| {
                    let there = end.pipe.look(room, how)?;
                    put(at, &room[..there])?;
                    end.pipe.discard(there);
                    Ok(there as u64)
                }),
            };
            match moved {
                Ok(0) => break 'pieces,
                Ok(moved) => (of_piece, done) = (of_piece + moved, done + moved),
                Err(error) if done == 0 => return finished(Err(error)),
                Err(_) => break 'pieces,
            }
        }
    }
    Ok(done)
}

fn into_pipe(end: &PipeEnd, from: u64, length: u64, how: How) -> SysResult {
    let room = end.pipe.wait_for_room(how)? as u64;
    with_room(length.min(room), |room| {
        take(from, room)?;
        Ok(end.pipe.write_now(room)? as u64)
    })
}

/// The caller, as one that makes pipes.
pub(super) fn pipe_maker() -> Maker {
    let all = current_task().credentials();
    let has_resources = all.can(capability::SYS_RESOURCE);
    let has_no_limits = has_resources || all.can(capability::SYS_ADMIN);
    Maker { user: all.user.real, has_resources, has_no_limits }
}
