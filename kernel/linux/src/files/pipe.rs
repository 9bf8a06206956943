//! Pipes: bytes on their way from writers to readers.
//!
//! What is written in one piece of at most [`ATOMIC`] bytes lies in the pipe in one piece
//! (pipe(7)): a writer waits for room for all of it. More is written as there is room.
//!
//! A writer with `O_DIRECT` writes packets: each is read by itself, and what a reader has no room
//! for of one is lost.
//!
//! # Invariant
//!
//! Where there are pieces, all bytes are in one: their lengths are together the number of bytes.

use super::notices::{Notice, Notices};
use super::object::{Caller, How, Named, Object};
use super::readiness::{Readiness, event};
use crate::abi::Stat;
use crate::error::{Errno, SysResult};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;

/// `PIPE_BUF`.
pub(crate) const ATOMIC: usize = 4096;
/// Bytes a pipe holds when it is made, and at most: what Linux lets a program have.
const PIPE_BYTES: usize = 64 << 10;
static MAX_PIPE_BYTES: AtomicUsize = AtomicUsize::new(1 << 20);
/// What one whose resources have no limits (CAP_SYS_RESOURCE) may ask for: what is in a pipe is on
/// the heap.
const MAX_PRIVILEGED_BYTES: usize = 16 << 20;

/// Pages of one user's pipes beyond which new ones are small and none grows, and beyond which there
/// are no new ones (`fs.pipe-user-pages-soft`, `-hard`); 0: without end. Those with names are not
/// counted.
pub(crate) static SOFT_PAGES: AtomicU64 = AtomicU64::new(16_384);
pub(crate) static HARD_PAGES: AtomicU64 = AtomicU64::new(0);
/// What a pipe holds of a user who has that many.
const SMALL_BYTES: usize = 2 * ATOMIC;
/// Pages of each user's pipes.
static USERS: SpinLock<Vec<(u32, u64)>> = SpinLock::new(Vec::new());

/// Who makes a pipe, or changes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Maker {
    pub(crate) user: u32,
    /// One may have pipes of any size, another as many as it wants.
    pub(crate) has_resources: bool,
    pub(crate) has_no_limits: bool,
}

/// A user's pipes have other pages from now on: how many those are.
fn account(user: u32, less: usize, more: usize) -> Result<u64, Errno> {
    let (less, more) = ((less / ATOMIC) as u64, (more / ATOMIC) as u64);
    let mut users = USERS.lock();
    let at = match users.iter().position(|(other, _)| *other == user) {
        Some(at) => at,
        None => {
            fallible::push(&mut users, (user, 0))?;
            users.len() - 1
        }
    };
    let pages = (users[at].1 + more).saturating_sub(less);
    users[at].1 = pages;
    if pages == 0 {
        users.swap_remove(at);
    }
    Ok(pages)
}

fn is_beyond(pages: u64, limit: &AtomicU64) -> bool {
    let limit = limit.load(Ordering::Relaxed);
    limit != 0 && pages > limit
}

/// How large one without privileges may make a pipe (`fs.pipe-max-size`).
pub(crate) fn most() -> usize {
    MAX_PIPE_BYTES.load(Ordering::Relaxed)
}

/// Sets that, in whole pages, as pipes have them.
pub(crate) fn set_most(to: u64) -> Result<(), Errno> {
    let to = usize::try_from(to).ok().filter(|&to| to <= 1 << 31).ok_or(Errno::EINVAL)?;
    MAX_PIPE_BYTES.store(rounded(to), Ordering::Relaxed);
    Ok(())
}

/// What a pipe holds of which so much is asked for.
const fn rounded(bytes: usize) -> usize {
    if bytes < ATOMIC { ATOMIC } else { bytes.next_power_of_two() }
}

static NEXT_INODE: AtomicU64 = AtomicU64::new(1);

/// Bytes that lie together: a packet, or what was written without packets.
#[derive(Debug, Clone, Copy)]
struct Piece {
    bytes: usize,
    is_packet: bool,
}

/// What readers and writers share.
#[derive(Debug)]
struct Inner {
    bytes: VecDeque<u8>,
    /// None as long as no packet was written.
    pieces: VecDeque<Piece>,
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
    /// Whom its pages count for.
    user: Option<u32>,
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
    /// One with a name.
    pub(crate) fn new() -> Result<Arc<Self>, Errno> {
        Self::of_user(None, PIPE_BYTES)
    }

    fn of_user(user: Option<u32>, capacity: usize) -> Result<Arc<Self>, Errno> {
        let inner = Inner {
            bytes: VecDeque::new(),
            pieces: VecDeque::new(),
            capacity,
            readers: 0,
            writers: 0,
            readers_ever: 0,
            writers_ever: 0,
        };
        let inode = NEXT_INODE.fetch_add(1, Ordering::Relaxed);
        let readiness = Readiness::new();
        let inner = SpinLock::new(inner);
        let (to_readers, to_writers) = (Notices::new(), Notices::new());
        Ok(fallible::shared(Self { inner, readiness, to_readers, to_writers, inode, user })?)
    }

    /// A pipe's two ends: read, write. `ENFILE`: its maker has too many.
    pub(crate) fn ends(maker: Maker) -> Result<[Arc<PipeEnd>; 2], Errno> {
        let most = if maker.has_resources { PIPE_BYTES } else { most() };
        let mut capacity = PIPE_BYTES.min(most);
        let mut pages = account(maker.user, 0, capacity)?;
        if is_beyond(pages, &SOFT_PAGES) && !maker.has_no_limits {
            pages = account(maker.user, capacity, SMALL_BYTES)?;
            capacity = SMALL_BYTES;
        }
        let made = match is_beyond(pages, &HARD_PAGES) && !maker.has_no_limits {
            true => Err(Errno::ENFILE),
            false => Self::of_user(Some(maker.user), capacity),
        };
        let pipe = made.inspect_err(|_| {
            let _less = account(maker.user, capacity, 0);
        })?;
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
    pub(crate) fn set_capacity(&self, wanted: u64, by: Maker) -> SysResult {
        let wanted = usize::try_from(wanted).ok().filter(|&wanted| wanted <= 1 << 31);
        let capacity = rounded(wanted.ok_or(Errno::EINVAL)?);
        let mut inner = self.inner.lock();
        if capacity > most().max(inner.capacity) && !by.has_resources {
            return Err(Errno::EPERM);
        }
        if capacity > MAX_PRIVILEGED_BYTES {
            return Err(Errno::ENOMEM);
        }
        if inner.bytes.len() > capacity || inner.pieces.len() > capacity / ATOMIC {
            return Err(Errno::EBUSY);
        }
        if let Some(user) = self.user {
            let before = inner.capacity;
            let pages = account(user, before, capacity)?;
            let is_too_much = is_beyond(pages, &HARD_PAGES) || is_beyond(pages, &SOFT_PAGES);
            if capacity > before && is_too_much && !by.has_no_limits {
                account(user, capacity, before)?;
                return Err(Errno::EPERM);
            }
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
            read = inner.take(to);
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
                let room = inner.room();
                let piece = if how.packets { rest.len().min(ATOMIC) } else { room.min(rest.len()) };
                let is_whole = how.packets || from.len() <= ATOMIC;
                if piece == 0 || room < piece || piece < rest.len() && is_whole && !how.packets {
                    return false;
                }
                result = inner.put(&rest[..piece], how.packets).map(|()| piece);
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
            let mut rest = count;
            while let Some(piece) = inner.pieces.front_mut().filter(|_| rest > 0) {
                let of_it = piece.bytes.min(rest);
                (piece.bytes, rest) = (piece.bytes - of_it, rest - of_it);
                if piece.bytes == 0 {
                    inner.pieces.pop_front();
                }
            }
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
            room = inner.room();
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
            let piece = inner.room().min(from.len());
            inner.put(&from[..piece], false)?;
            piece
        };
        self.has_input();
        Ok(written)
    }
}

impl Inner {
    /// Bytes that there is room for: none where as many packets are as Linux has pages for.
    fn room(&self) -> usize {
        let packets = self.pieces.len();
        if packets > 0 && packets >= self.capacity / ATOMIC {
            return 0;
        }
        self.capacity.saturating_sub(self.bytes.len())
    }

    /// Appends bytes.
    fn put(&mut self, from: &[u8], is_packet: bool) -> Result<(), Errno> {
        if from.is_empty() {
            return Ok(());
        }
        self.bytes.try_reserve(from.len()).map_err(|_| Errno::ENOMEM)?;
        // Linux fills the page up that bytes were begun in, whatever comes then.
        let plain = match self.pieces.back() {
            Some(last) if last.is_packet => 0,
            Some(last) => last.bytes,
            None => self.bytes.len(),
        };
        let is_begun = !plain.is_multiple_of(ATOMIC) && plain % ATOMIC + from.len() <= ATOMIC;
        let is_packet = is_packet && !is_begun;
        if is_packet || !self.pieces.is_empty() {
            self.pieces.try_reserve(2).map_err(|_| Errno::ENOMEM)?;
            // CANNOT FAIL: what is pushed below was reserved right here.
            if self.pieces.is_empty() && !self.bytes.is_empty() {
                self.pieces.push_back(Piece { bytes: self.bytes.len(), is_packet: false });
            }
            match self.pieces.back_mut().filter(|last| !last.is_packet && !is_packet) {
                Some(last) => last.bytes += from.len(),
                None => self.pieces.push_back(Piece { bytes: from.len(), is_packet }),
            }
        }
        // CANNOT FAIL: reserved above.
        self.bytes.extend(from);
        Ok(())
    }

    /// Takes bytes out: as many as there are and fit, and no more than to the end of a packet.
    fn take(&mut self, to: &mut [u8]) -> usize {
        if self.pieces.is_empty() {
            return take(&mut self.bytes, to);
        }
        let mut done = 0;
        while let Some(piece) = self.pieces.front_mut().filter(|_| done < to.len()) {
            let count = piece.bytes.min(to.len() - done);
            done += take(&mut self.bytes, &mut to[done..done + count]);
            piece.bytes -= count;
            let rest = *piece;
            if rest.is_packet {
                // Lost: what the reader had no room for.
                self.bytes.drain(..rest.bytes);
            }
            if rest.is_packet || rest.bytes == 0 {
                self.pieces.pop_front();
            }
            if rest.is_packet {
                break;
            }
        }
        done
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

impl Drop for Pipe {
    fn drop(&mut self) {
        if let Some(user) = self.user {
            // They were counted: there is a place for them.
            let _less = account(user, self.inner.lock().capacity, 0);
        }
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
            if unused {
                (core::mem::take(&mut inner.bytes), core::mem::take(&mut inner.pieces))
            } else {
                (VecDeque::new(), VecDeque::new())
            }
        };
        drop(unread);
        self.pipe.has_input();
        self.pipe.has_room();
    }
}

impl Object for PipeEnd {
    fn is_gathered(&self) -> bool {
        true
    }

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
            if inner.room() >= ATOMIC {
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
