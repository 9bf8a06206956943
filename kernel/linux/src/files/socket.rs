//! Local sockets (unix(7)): pairs of two ends, each with an inbox. A socket that is made alone is
//! the first end of a pair, whose second one goes to who accepts it: `local`.
//!
//! What is written to one end lies in the other's inbox: as messages, which a stream runs into each
//! other, and which may carry open files. Both ends tell of changes in one place.
//!
//! An open file that lies in an inbox of its own pair, of which nothing else knows any more, is not
//! found again: Linux collects such circles, this does not. What one inbox can hold is bounded by
//! [`MAX_MESSAGES`].

use super::notices::{Notice, Notices};
use super::object::{Caller, How, Object};
use super::open_file::OpenFile;
use super::readiness::{Readiness, event};
use super::socket_bounds::{Bounds, OWN_BYTES, USUAL_BYTES};
use crate::abi::Stat;
use crate::error::{Errno, SysResult};
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;

/// What stands in `sun_path`, up to the end of a path.
pub(crate) type Name = Arc<Vec<u8>>;

/// Who made an end: what SO_PEERCRED tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Maker {
    pub(crate) process: u32,
    pub(crate) user: u32,
    pub(crate) group: u32,
}

/// What a pair has besides its inboxes.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) names: [Option<Name>; 2],
    pub(super) makers: [Maker; 2],
    /// What waits to be accepted; `None`: it does not listen.
    pub(super) queue: Option<VecDeque<Arc<Socket>>>,
    pub(super) backlog: usize,
}

impl Ends {
    fn of(maker: Maker) -> Self {
        Self { names: [None, None], makers: [maker; 2], queue: None, backlog: 0 }
    }
}

/// How far a socket has come.
#[derive(Debug)]
pub(super) struct Stage(pub(super) SpinLock<At>);

#[derive(Debug)]
pub(super) enum At {
    /// It has its other end itself.
    Alone(Arc<Socket>),
    /// Another thread connects it at this moment.
    Connecting,
    Connected,
    Listening,
    /// A socket for datagrams, and whom it sends them to.
    Datagrams(Option<Arc<Pair>>),
}

impl Stage {
    const fn connected() -> Self {
        Self(SpinLock::new(At::Connected))
    }

    pub(super) fn set(&self, at: At) {
        let before = core::mem::replace(&mut *self.0.lock(), at);
        drop(before);
    }
}

/// Names that are not in the tree.
pub(super) static ABSTRACT: SpinLock<Vec<(Name, Weak<Pair>)>> = SpinLock::new(Vec::new());
/// Messages in an inbox.
const MAX_MESSAGES: usize = 1024;
/// Messages of a stream that one read takes.
const MAX_AT_ONCE: usize = 16;
/// Bytes of a stream that are one message.
const PIECE: usize = 16 << 10;

static NEXT_INODE: AtomicU64 = AtomicU64::new(1 << 20);

/// How messages are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Stream = 1,
    Datagram = 2,
    Packets = 5,
}

#[derive(Debug)]
struct Message {
    bytes: Vec<u8>,
    /// How many of them have been read.
    read: usize,
    files: Vec<Arc<OpenFile>>,
    /// What the socket is called that sent it, and who did.
    from: Option<Name>,
    maker: Maker,
}

#[derive(Debug)]
struct Inbox {
    messages: VecDeque<Message>,
    bytes: usize,
    /// Nothing more comes: the other end was shut for writing, or has gone.
    is_ended: bool,
    /// Nothing more is taken: this end was shut for reading, or has gone.
    is_shut: bool,
}

/// Two ends.
#[derive(Debug)]
pub struct Pair {
    inboxes: [SpinLock<Inbox>; 2],
    pub(super) readiness: Readiness,
    /// Who is told by a signal of what comes to each end.
    notices: [Notices; 2],
    pub(super) kind: Kind,
    pub(super) ends: SpinLock<Ends>,
}

/// An end.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(super) pair: Arc<Pair>,
    /// Which inbox is its own.
    pub(super) mine: usize,
    pub(crate) kind: Kind,
    inode: u64,
    pub(super) stage: Stage,
    /// Switches of setsockopt, by their numbers.
    pub(crate) options: AtomicU32,
    pub(crate) bounds: Bounds,
}

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) bytes: usize,
    /// Of the whole message.
    pub(crate) whole: usize,
    pub(crate) files: Vec<Arc<OpenFile>>,
    pub(crate) from: Option<Name>,
    pub(crate) maker: Maker,
}

impl Socket {
    /// Whether a switch of setsockopt is on.
    pub(crate) fn has(&self, switch: u32) -> bool {
        self.options.load(Ordering::Relaxed) & 1 << switch != 0
    }

    pub(crate) fn switch(&self, switch: u32, is_on: bool) {
        match is_on {
            true => self.options.fetch_or(1 << switch, Ordering::Relaxed),
            false => self.options.fetch_and(!(1 << switch), Ordering::Relaxed),
        };
    }

    /// Two ends that are connected.
    pub(crate) fn pair(kind: Kind, maker: Maker) -> Result<[Arc<Self>; 2], Errno> {
        let inbox = || {
            let messages = VecDeque::new();
            SpinLock::new(Inbox { messages, bytes: 0, is_ended: false, is_shut: false })
        };
        let inboxes = [inbox(), inbox()];
        let pair = fallible::shared(Pair {
            inboxes,
            readiness: Readiness::new(),
            notices: [const { Notices::new() }; 2],
            kind,
            ends: SpinLock::new(Ends::of(maker)),
        })?;
        let end = |mine| {
            let inode = NEXT_INODE.fetch_add(1, Ordering::Relaxed);
            let (stage, options) = (Stage::connected(), AtomicU32::new(0));
            let bounds = Bounds::usual();
            fallible::shared(Self { pair: pair.clone(), mine, kind, inode, stage, options, bounds })
        };
        Ok([end(0)?, end(1)?])
    }

    fn inbox(&self) -> &SpinLock<Inbox> {
        &self.pair.inboxes[self.mine]
    }

    fn outbox(&self) -> &SpinLock<Inbox> {
        &self.pair.inboxes[1 - self.mine]
    }

    /// Bytes that it may have on their way.
    fn most(&self) -> usize {
        self.bounds.send_bytes.load(Ordering::Relaxed) as usize
    }

    /// Bytes of the longest message that it can send; of a stream, those that go at once.
    pub(crate) fn longest(&self) -> usize {
        match self.kind {
            Kind::Stream => PIECE.min(self.most() / 2 - 2 * OWN_BYTES),
            _ => self.most() - OWN_BYTES,
        }
    }

    /// Puts bytes, with open files, into the other end's inbox, or into that of a socket that is
    /// named. `maker`: who sends it, if not who made the socket.
    pub(crate) fn send(
        &self,
        from: &[u8],
        files: Vec<Arc<OpenFile>>,
        nonblocking: bool,
        to: Option<&Arc<Pair>>,
        maker: Option<Maker>,
    ) -> Result<usize, Errno> {
        let (to, inbox) = self.way(to)?;
        let maker = maker.unwrap_or_else(|| self.maker());
        let send_one =
            |from: &[u8], files| self.send_one(&to, inbox, from, files, nonblocking, maker);
        let longest = self.longest();
        if self.kind != Kind::Stream {
            if from.len() > longest {
                return Err(Errno::EMSGSIZE);
            }
            return send_one(from, files);
        }
        let mut sent = 0;
        let mut files = Some(files);
        while sent < from.len() {
            let piece = &from[sent..from.len().min(sent + longest)];
            match send_one(piece, files.take().unwrap_or_default()) {
                Ok(more) => sent += more,
                Err(_) if sent > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    fn send_one(
        &self,
        to: &Pair,
        inbox: usize,
        from: &[u8],
        files: Vec<Arc<OpenFile>>,
        nonblocking: bool,
        maker: Maker,
    ) -> Result<usize, Errno> {
        let name = if self.kind == Kind::Datagram { self.names()[0].take() } else { None };
        let bytes = fallible::bytes(from)?;
        let mut message = Some(Message { bytes, read: 0, files, from: name, maker });
        let mut result = Ok(());
        // An inbox for many has room for each of them.
        let is_own = core::ptr::eq(to, &*self.pair);
        let least = if is_own { 0 } else { USUAL_BYTES as usize };
        let time = self.bounds.send_time.load(Ordering::Relaxed);
        let waited = to.readiness.wait_at_most(nonblocking, time, || {
            let mut outbox = to.inboxes[inbox].lock();
            if outbox.is_shut {
                let is_gone = self.kind == Kind::Datagram;
                result = Err(if is_gone { Errno::ECONNREFUSED } else { Errno::EPIPE });
                return true;
            }
            if outbox.is_ended {
                result = Err(Errno::EPIPE);
                return true;
            }
            let most = self.most().max(least);
            if outbox.bytes + from.len() > most || outbox.messages.len() >= MAX_MESSAGES {
                return false;
            }
            if outbox.messages.try_reserve(1).is_err() {
                result = Err(Errno::ENOMEM);
                return true;
            }
            outbox.bytes += from.len();
            // CANNOT FAIL: reserved right here.
            outbox.messages.extend(message.take());
            true
        });
        waited.and(result)?;
        to.readiness.wake();
        to.notices[inbox].tell(Notice::Input);
        Ok(from.len())
    }

    /// Takes bytes out of its inbox: of a stream as many as fit, up to the next open files; else
    /// one message. `peek`: they stay.
    pub(crate) fn receive(
        &self,
        to: &mut [u8],
        nonblocking: bool,
        peek: bool,
    ) -> Result<Received, Errno> {
        self.may_receive()?;
        let mut received = Received::default();
        let mut used = Vec::new();
        used.try_reserve_exact(MAX_AT_ONCE).map_err(|_| Errno::ENOMEM)?;
        let time = self.bounds.receive_time.load(Ordering::Relaxed);
        self.pair.readiness.wait_at_most(nonblocking, time, || {
            let mut inbox = self.inbox().lock();
            if inbox.messages.is_empty() {
                return inbox.is_ended || inbox.is_shut;
            }
            if peek {
                received = look(&inbox, to, self.kind);
            } else {
                received = take(&mut inbox, to, self.kind, &mut used);
            }
            true
        })?;
        // Without the lock.
        drop(used);
        if !peek {
            self.pair.readiness.wake();
        }
        Ok(received)
    }

    /// shutdown: nothing more is read, or written, or both.
    pub(crate) fn shut(&self, reading: bool, writing: bool) {
        if reading {
            self.end_listening();
            self.inbox().lock().is_shut = true;
            if self.kind != Kind::Datagram {
                self.inbox().lock().is_ended = true;
            }
        }
        if writing {
            self.outbox().lock().is_ended = true;
        }
        self.pair.readiness.wake();
        match (reading, writing) {
            (true, true) => self.tell_other(Notice::HangUp),
            (false, true) => self.tell_other(Notice::Input),
            _ => {}
        }
    }

    /// There may be more room: who waits for some looks again.
    pub(crate) fn room_changed(&self) {
        self.pair.readiness.wake();
    }

    fn tell_other(&self, notice: Notice) {
        self.pair.notices[1 - self.mine].tell(notice);
    }
}

/// Copies what is there, and leaves it.
fn look(inbox: &Inbox, to: &mut [u8], kind: Kind) -> Received {
    let mut received = Received::default();
    for message in &inbox.messages {
        let bytes = &message.bytes[message.read..];
        let count = bytes.len().min(to.len() - received.bytes);
        to[received.bytes..received.bytes + count].copy_from_slice(&bytes[..count]);
        received.bytes += count;
        received.whole += bytes.len();
        (received.from, received.maker) = (message.from.clone(), message.maker);
        if kind != Kind::Stream || received.bytes == to.len() || !message.files.is_empty() {
            break;
        }
    }
    received
}

/// Takes what is there. `used`: the messages that were read to their ends, to be dropped without
/// the lock.
fn take(inbox: &mut Inbox, to: &mut [u8], kind: Kind, used: &mut Vec<Message>) -> Received {
    let mut received = Received::default();
    while let Some(message) = inbox.messages.front_mut() {
        if received.bytes > 0 && !message.files.is_empty() {
            break;
        }
        let bytes = &message.bytes[message.read..];
        let count = bytes.len().min(to.len() - received.bytes);
        to[received.bytes..received.bytes + count].copy_from_slice(&bytes[..count]);
        received.bytes += count;
        received.whole += bytes.len();
        (received.from, received.maker) = (message.from.clone(), message.maker);
        let had_files = !message.files.is_empty();
        if had_files {
            received.files = core::mem::take(&mut message.files);
        }
        if kind == Kind::Stream && count < bytes.len() {
            message.read += count;
            inbox.bytes -= count;
            break;
        }
        inbox.bytes -= bytes.len();
        // CANNOT FAIL: there is a place for one more.
        used.extend(inbox.messages.pop_front());
        if kind != Kind::Stream || received.bytes == to.len() || had_files {
            break;
        }
        if used.len() == MAX_AT_ONCE {
            break;
        }
    }
    received
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.end_listening();
        forget(self);
        let unread = {
            let mut inbox = self.inbox().lock();
            inbox.is_shut = true;
            inbox.bytes = 0;
            core::mem::take(&mut inbox.messages)
        };
        drop(unread);
        if self.kind != Kind::Datagram {
            self.outbox().lock().is_ended = true;
        }
        self.pair.readiness.wake();
        if self.kind != Kind::Datagram {
            self.tell_other(Notice::HangUp);
        }
    }
}

impl Object for Socket {
    fn is_gathered(&self) -> bool {
        true
    }

    fn read(&self, to: &mut [u8], how: How) -> Result<usize, Errno> {
        if to.is_empty() && self.kind == Kind::Stream {
            return Ok(0);
        }
        Ok(self.receive(to, how.nonblocking, false)?.bytes)
    }

    fn write(&self, from: &[u8], how: How) -> Result<usize, Errno> {
        self.send(from, Vec::new(), how.nonblocking, None, None)
    }

    fn events(&self) -> u32 {
        if let Some(events) = self.events_alone() {
            return events;
        }
        let (has_messages, is_ended) = {
            let inbox = self.inbox().lock();
            (!inbox.messages.is_empty(), inbox.is_ended)
        };
        let (has_room, is_gone) = {
            let outbox = self.outbox().lock();
            let has_room = outbox.bytes <= self.most() / 4 && outbox.messages.len() < MAX_MESSAGES;
            (has_room, outbox.is_ended || outbox.is_shut)
        };
        let mut events = 0;
        if has_messages || is_ended {
            events |= event::READABLE;
        }
        if is_ended {
            events |= event::READ_HUP;
        }
        if is_ended && is_gone {
            events |= event::HUP;
        }
        if has_room {
            events |= event::WRITABLE | event::WRITE_BAND;
        }
        events
    }

    fn notices(&self) -> [Option<&Notices>; 2] {
        [Some(&self.pair.notices[self.mine]), None]
    }

    fn readiness(&self) -> Option<&Readiness> {
        Some(&self.pair.readiness)
    }

    fn ioctl(&self, request: u32, argument: u64, caller: &dyn Caller) -> SysResult {
        const FIONREAD: u32 = 0x541b;
        if request != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let waiting = {
            let inbox = self.inbox().lock();
            match (self.kind, inbox.messages.front()) {
                (Kind::Stream, _) | (_, None) => inbox.bytes,
                (_, Some(first)) => first.bytes.len(),
            }
        };
        caller.put(argument, &(waiting as u32).to_le_bytes())?;
        Ok(0)
    }

    fn stat(&self) -> Stat {
        Stat { inode: self.inode, mode: 0o140777, links: 1, ..Stat::default() }
    }

    fn label(&self) -> &'static str {
        "socket"
    }
}

/// A socket has gone, and so has its name.
fn forget(socket: &Socket) {
    let name = socket.pair.ends.lock().names[socket.mine].clone();
    if name.is_none_or(|name| name.first() != Some(&0)) {
        return;
    }
    let mut taken = None;
    {
        let mut names = ABSTRACT.lock();
        let pair = Arc::as_ptr(&socket.pair);
        if let Some(at) = names.iter().position(|(_, other)| other.as_ptr() == pair) {
            taken = Some(names.swap_remove(at));
        }
    }
    drop(taken);
}

impl Socket {
    fn maker(&self) -> Maker {
        self.pair.ends.lock().makers[self.mine]
    }

    /// Only the first end can have listened: the second one goes as the first one begins to.
    fn end_listening(&self) {
        if self.mine != 0 {
            return;
        }
        let queue = self.pair.ends.lock().queue.take();
        if queue.is_some() {
            self.pair.readiness.wake();
        }
        drop(queue);
    }

    /// Where what it sends goes: a pair, and which inbox of it.
    fn way(&self, to: Option<&Arc<Pair>>) -> Result<(Arc<Pair>, usize), Errno> {
        let stage = self.stage.0.lock();
        match (to, &*stage) {
            (Some(to), _) if to.kind != self.kind => Err(Errno::EPROTOTYPE),
            (Some(to), _) => Ok((to.clone(), 0)),
            (None, At::Connected) => Ok((self.pair.clone(), 1 - self.mine)),
            (None, At::Datagrams(Some(to))) => Ok((to.clone(), 0)),
            _ => Err(Errno::ENOTCONN),
        }
    }

    fn may_receive(&self) -> Result<(), Errno> {
        match *self.stage.0.lock() {
            At::Connected | At::Datagrams(_) => Ok(()),
            _ if self.kind == Kind::Stream => Err(Errno::EINVAL),
            _ => Err(Errno::ENOTCONN),
        }
    }

    /// What one is ready for that has no other end.
    fn events_alone(&self) -> Option<u32> {
        match *self.stage.0.lock() {
            At::Connected | At::Datagrams(_) => return None,
            At::Alone(_) | At::Connecting => {
                return Some(event::WRITABLE | event::WRITE_BAND | event::HUP);
            }
            At::Listening => {}
        }
        let ends = self.pair.ends.lock();
        let has_one = ends.queue.as_ref().is_some_and(|queue| !queue.is_empty());
        Some(if has_one { event::READABLE } else { 0 })
    }
}
