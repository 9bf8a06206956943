//! Pipes: bytes on their way from writers to readers.
//!
//! What is written in one piece of at most [`ATOMIC`] bytes lies in the pipe in one piece
//! (pipe(7)): a writer waits for room for all of it. More is written as there is room.

use super::notices::{Notice, Notices};
use super::object::{Caller, How, Named, Object};
use super::readiness::{Readiness, event};
use crate::abi::Stat;
use crate::error::{Errno, SysResult};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;

/// `PIPE_BUF`.
pub(crate) const ATOMIC: usize = 4096;
/// Bytes a pipe holds when it is made, and at most: what Linux lets a program have.
const PIPE_BYTES: usize = 64 << 10;
const MAX_PIPE_BYTES: usize = 1 << 20;

static NEXT_INODE: AtomicU64 = AtomicU64::new(1);

/// What readers and writers share.
#[derive(Debug)]
struct Inner {
    bytes: VecDeque<u8>,
    capacity: usize,
    readers: u32,
    writers: u32,
    /// How often each kind of end was opened: who waits for the other one of a named pipe sees that
    /// it came, though it may have gone.
    readers_ever: u64,
    writers_ever: u64,
}

/// See the module's head.
#[derive(Debug)]
pub struct Pipe {
    inner: SpinLock<Inner>,
    readiness: Readiness,
    /// Readers that are told of input by a signal, and writers of room.
    to_readers: Notices,
    to_writers: Notices,
    inode: u64,
}

/// An end, or both: what an open file leads to.
#[derive(Debug)]
pub(crate) struct PipeEnd {
    pub(crate) pipe: Arc<Pipe>,
    reads: bool,
    writes: bool,
    /// What `stat` tells of a named one.
    pub(crate) named: Option<Arc<dyn Named>>,
}

/// The ends of the other kind, at the moment in which an end was counted: what comes and goes later
/// shows by `ever`.
#[derive(Debug, Clone, Copy)]
struct Others {
    are_there: bool,
    ever: u64,
}

impl Pipe {
    pub(crate) fn new() -> Result<Arc<Self>, Errno> {
        let inner = Inner {
            bytes: VecDeque::new(),
            capacity: PIPE_BYTES,
            readers: 0,
            writers: 0,
            readers_ever: 0,
            writers_ever: 0,
        };
        let inode = NEXT_INODE.fetch_add(1, Ordering::Relaxed);
        let readiness = Readiness::new();
        let inner = SpinLock::new(inner);
        let (to_readers, to_writers) = (Notices::new(), Notices::new());
        Ok(fallible::shared(Self { inner, readiness, to_readers, to_writers, inode })?)
    }

    /// A pipe's two ends: read, write.
    pub(crate) fn ends() -> Result<[Arc<PipeEnd>; 2], Errno> {
        let pipe = Self::new()?;
        let (reader, _) = PipeEnd::new(pipe.clone(), true, false, None)?;
        let (writer, _) = PipeEnd::new(pipe, false, true, None)?;
        Ok([reader, writer])
    }

    /// Opens a pipe that is there: waits for the other end, unless the caller does not want to.
    pub(crate) fn open_named(
        named: Option<Arc<dyn Named>>,
        pipe: &Arc<Self>,
        reads: bool,
        writes: bool,
        nonblocking: bool,
    ) -> Result<Arc<PipeEnd>, Errno> {
        // Only one with a name is opened before its other end is there.
        let has_name = named.is_some();
        if has_name && writes && !reads && nonblocking && pipe.inner.lock().readers == 0 {
            return Err(Errno::ENXIO);
        }
        let (end, others) = PipeEnd::new(pipe.clone(), reads, writes, named)?;
        pipe.readiness.wake();
        if reads && writes || nonblocking || !has_name || others.are_there {
            return Ok(end);
        }
        pipe.readiness.wait(false, || {
            let inner = pipe.inner.lock();
            let ever = if reads { inner.writers_ever } else { inner.readers_ever };
            ever != others.ever
        })?;
        Ok(end)
    }

    /// How many bytes it holds.
    pub(crate) fn capacity(&self) -> u64 {
        self.inner.lock().capacity as u64
    }

    /// Bytes in it.
    fn waiting(&self) -> usize {
        self.inner.lock().bytes.len()
    }

    /// F_SETPIPE_SZ: a power of two, at least a page.
    pub(crate) fn set_capacity(&self, wanted: u64) -> SysResult {
        let wanted = usize::try_from(wanted).ok().filter(|&wanted| wanted <= 1 << 31);
        let capacity = wanted.ok_or(Errno::EINVAL)?.max(4096).next_power_of_two();
        if capacity > MAX_PIPE_BYTES {
            return Err(Errno::EPERM);
        }
        let mut inner = self.inner.lock();
        if inner.bytes.len() > capacity {
            return Err(Errno::EBUSY);
        }
        inner.capacity = capacity;
        drop(inner);
        self.readiness.wake();
        Ok(capacity as u64)
    }

    fn read(&self, to: &mut [u8], how: How) -> Result<usize, Errno> {
        if to.is_empty() {
            return Ok(0);
        }
        let mut read = 0;
        self.readiness.wait(how.nonblocking, || {
            let mut inner = self.inner.lock();
            read = take(&mut inner.bytes, to);
            read > 0 || inner.writers == 0
        })?;
        if read > 0 {
            self.has_room();
        }
        Ok(read)
    }

    fn write(&self, from: &[u8], how: How) -> Result<usize, Errno> {
        let mut written = 0;
        while written < from.len() {
            let rest = &from[written..];
            let mut result = Ok(0);
            let waited = self.readiness.wait(how.nonblocking, || {
                let mut inner = self.inner.lock();
                if inner.readers == 0 {
                    result = Err(Errno::EPIPE);
                    return true;
                }
                let room = inner.capacity - inner.bytes.len().min(inner.capacity);
                let piece = room.min(rest.len());
                if piece == 0 || piece < rest.len() && from.len() <= ATOMIC {
                    return false;
                }
                result = match inner.bytes.try_reserve(piece) {
                    // CANNOT FAIL: reserved right here.
                    Ok(()) => {
                        inner.bytes.extend(&rest[..piece]);
                        Ok(piece)
                    }
                    Err(_) => Err(Errno::ENOMEM),
                };
                true
            });
            match waited.and(result) {
                Ok(piece) => written += piece,
                Err(_) if written > 0 => break,
                Err(error) => return Err(error),
            }
            self.has_input();
        }
        Ok(written)
    }
}

impl Pipe {
    fn has_input(&self) {
        self.readiness.wake();
        self.to_readers.tell(Notice::Input);
    }

    fn has_room(&self) {
        self.readiness.wake();
        self.to_writers.tell(Notice::Room);
    }

    /// Waits until there is something to read, and copies it without taking it; 0: no writer is
    /// left.
    pub(crate) fn look(&self, to: &mut [u8], how: How) -> Result<usize, Errno> {
        let mut count = 0;
        self.readiness.wait(how.nonblocking, || {
            let inner = self.inner.lock();
            count = inner.bytes.len().min(to.len());
            for (place, byte) in to.iter_mut().zip(&inner.bytes) {
                *place = *byte;
            }
            count > 0 || inner.writers == 0
        })?;
        Ok(count)
    }

    /// Takes out what was looked at.
    pub(crate) fn discard(&self, count: usize) {
        {
            let mut inner = self.inner.lock();
            let count = count.min(inner.bytes.len());
            inner.bytes.drain(..count);
        }
        self.has_room();
    }

    /// Waits until there is room; how much. `EPIPE`: no reader is left.
    pub(crate) fn wait_for_room(&self, how: How) -> Result<usize, Errno> {
        let mut room = 0;
        let mut is_unread = false;
        self.readiness.wait(how.nonblocking, || {
            let inner = self.inner.lock();
            is_unread = inner.readers == 0;
            room = inner.capacity.saturating_sub(inner.bytes.len());
            room > 0 || is_unread
        })?;
        if is_unread { Err(Errno::EPIPE) } else { Ok(room) }
    }

    /// Writes as much as there is room for at once.
    pub(crate) fn write_now(&self, from: &[u8]) -> Result<usize, Errno> {
        let written = {
            let mut inner = self.inner.lock();
            if inner.readers == 0 {
                return Err(Errno::EPIPE);
            }
            let room = inner.capacity.saturating_sub(inner.bytes.len());
            let piece = room.min(from.len());
            inner.bytes.try_reserve(piece).map_err(|_| Errno::ENOMEM)?;
            // CANNOT FAIL: reserved right here.
            inner.bytes.extend(&from[..piece]);
            piece
        };
        self.has_input();
        Ok(written)
    }
}

/// Moves bytes from the front of a queue: as many as there are and fit.
pub(super) fn take(from: &mut VecDeque<u8>, to: &mut [u8]) -> usize {
    let count = from.len().min(to.len());
    let (first, second) = from.as_slices();
    let of_first = first.len().min(count);
    to[..of_first].copy_from_slice(&first[..of_first]);
    to[of_first..count].copy_from_slice(&second[..count - of_first]);
    from.drain(..count);
    count
}

impl PipeEnd {
    /// An end, counted: it takes itself off the count when it goes. Says also what there was of the
    /// other kind when it was counted.
    fn new(
        pipe: Arc<Pipe>,
        reads: bool,
        writes: bool,
        named: Option<Arc<dyn Named>>,
    ) -> Result<(Arc<Self>, Others), Errno> {
        let others = {
            let mut inner = pipe.inner.lock();
            let (count, ever) = if reads {
                (inner.writers, inner.writers_ever)
            } else {
                (inner.readers, inner.readers_ever)
            };
            inner.readers += u32::from(reads);
            inner.readers_ever += u64::from(reads);
            inner.writers += u32::from(writes);
            inner.writers_ever += u64::from(writes);
            Others { are_there: count > 0, ever }
        };
        // Where there is no memory for it, it is dropped, which takes it off the count.
        Ok((fallible::shared(Self { pipe, reads, writes, named })?, others))
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let unread = {
            let mut inner = self.pipe.inner.lock();
            inner.readers -= u32::from(self.reads);
            inner.writers -= u32::from(self.writes);
            // A named pipe keeps nothing when all have gone.
            let unused = inner.readers == 0 && inner.writers == 0;
            if unused { core::mem::take(&mut inner.bytes) } else { VecDeque::new() }
        };
        drop(unread);
        self.pipe.has_input();
        self.pipe.has_room();
    }
}

impl Object for PipeEnd {
    fn read(&self, to: &mut [u8], how: How) -> Result<usize, Errno> {
        self.pipe.read(to, how)
    }

    fn write(&self, from: &[u8], how: How) -> Result<usize, Errno> {
        self.pipe.write(from, how)
    }

    fn events(&self) -> u32 {
        let inner = self.pipe.inner.lock();
        let mut events = 0;
        if self.reads {
            if !inner.bytes.is_empty() {
                events |= event::READABLE;
            }
            if inner.writers == 0 && (self.named.is_none() || inner.writers_ever > 0) {
                events |= event::HUP;
            }
        }
        if self.writes {
            if inner.capacity.saturating_sub(inner.bytes.len()) >= ATOMIC {
                events |= event::WRITABLE;
            }
            if inner.readers == 0 {
                events |= event::ERR;
            }
        }
        events
    }

    fn readiness(&self) -> Option<&Readiness> {
        Some(&self.pipe.readiness)
    }

    fn notices(&self) -> [Option<&Notices>; 2] {
        let pipe = &*self.pipe;
        [self.reads.then_some(&pipe.to_readers), self.writes.then_some(&pipe.to_writers)]
    }

    fn ioctl(&self, request: u32, argument: u64, caller: &dyn Caller) -> SysResult {
        const FIONREAD: u32 = 0x541b;
        if request != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let waiting = self.pipe.waiting() as u32;
        caller.put(argument, &waiting.to_le_bytes())?;
        Ok(0)
    }

    fn stat(&self) -> Stat {
        match &self.named {
            Some(node) => node.named_stat(),
            None => Stat { inode: self.pipe.inode, mode: 0o010600, links: 1, ..Stat::default() },
        }
    }

    fn label(&self) -> &'static str {
        "pipe"
    }
}
