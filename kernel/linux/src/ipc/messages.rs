//! Queues of messages with types (msgop(2)).
//!
//! # Invariants
//!
//! 1. Messages stand in the order of sending.
//! 2. A queue that was removed is in the table no more, and says so to those who wait for it.
//! 3. The queue's lock is a leaf, but for the table's, which may be held while it is taken.

use super::table::{Access, Kept, Table};
use crate::error::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched::WaitQueue;

/// Queues, bytes of one message, and bytes that a queue may hold, at most
/// (`kernel.msgmni`, `msgmax`, `msgmnb`).
pub(crate) static MAX_QUEUES: AtomicU64 = AtomicU64::new(32_000);
pub(crate) static MAX_BYTES: AtomicU64 = AtomicU64::new(8192);
pub(crate) static MAX_IN_QUEUE: AtomicU64 = AtomicU64::new(16_384);

/// A message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) kind: i64,
    pub(crate) bytes: Vec<u8>,
}

/// Which message is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted {
    First,
    OfKind(i64),
    /// Of any other.
    NotOf(i64),
    /// The lowest, if it is not above this one.
    Lowest(i64),
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) access: Access,
    messages: Vec<Message>,
    pub(crate) bytes: u64,
    pub(crate) most_bytes: u64,
    /// When something was sent and received last, in seconds of the day, and by which process.
    pub(crate) times: [u64; 2],
    pub(crate) processes: [u64; 2],
    is_removed: bool,
}

/// A queue.
#[derive(Debug)]
pub(crate) struct Queue {
    state: SpinLock<State>,
    changed: WaitQueue,
}

/// A queue in the table: what tells it from others is there, too.
#[derive(Debug)]
struct Row {
    access: Access,
    queue: Arc<Queue>,
}

impl Kept for Row {
    fn access(&self) -> &Access {
        &self.access
    }

    fn set_number(&mut self, number: i32) {
        self.access.number = number;
        self.queue.state.lock().access.number = number;
    }
}

static TABLE: SpinLock<Table<Row>> = SpinLock::new(Table::new(&MAX_QUEUES));

/// The number of the queue with a key, in a namespace.
pub(crate) fn find(space: u64, key: i32) -> Option<i32> {
    TABLE.lock().find(space, key)
}

/// The first one of a namespace at this place of the table or behind it, and where.
pub(crate) fn from(space: u64, place: usize) -> Option<(usize, Arc<Queue>)> {
    TABLE.lock().next_in(space, place).map(|(at, row)| (at, row.queue.clone()))
}

/// A namespace has ended: what is in it goes.
pub(crate) fn space_ends(space: u64) {
    let mut place = 0;
    while let Some((at, queue)) = from(space, place) {
        place = at + 1;
        let _removed_by_another = queue.remove(|_| Ok(()));
    }
}

/// The number of the one of a namespace at a place of the table.
pub(crate) fn at_place(space: u64, place: usize) -> Option<i32> {
    TABLE.lock().at_place(space, place)
}

/// The queue of a namespace with this number.
pub(crate) fn get(space: u64, number: i32) -> Result<Arc<Queue>, Errno> {
    Ok(TABLE.lock().get_in(space, number)?.queue.clone())
}

/// Makes one.
pub(crate) fn make(access: Access) -> Result<i32, Errno> {
    let state = State {
        access: access.clone(),
        messages: Vec::new(),
        bytes: 0,
        most_bytes: MAX_IN_QUEUE.load(Ordering::Relaxed),
        times: [0, 0],
        processes: [0, 0],
        is_removed: false,
    };
    let queue = fallible::shared(Queue { state: SpinLock::new(state), changed: WaitQueue::new() })?;
    TABLE.lock().add(Row { access, queue })
}

/// The number that the next queue is to have; -1: any.
pub(crate) fn next() -> i32 {
    TABLE.lock().next()
}

/// Asks for that.
pub(crate) fn set_next(number: i32) {
    TABLE.lock().set_next(number);
}

/// What there is of all queues.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) queues: usize,
    /// The last place that is taken.
    pub(crate) highest: usize,
    pub(crate) messages: usize,
    pub(crate) bytes: u64,
}

/// See [`Totals`].
pub(crate) fn totals(space: u64) -> Totals {
    let table = TABLE.lock();
    let (queues, highest) = table.count(space);
    let mut totals = Totals { queues, highest, ..Totals::default() };
    for row in table.iter_in(space) {
        let state = row.queue.state.lock();
        totals.messages += state.messages.len();
        totals.bytes += state.bytes;
    }
    totals
}

impl State {
    /// How many messages there are.
    pub(crate) fn count(&self) -> usize {
        self.messages.len()
    }

    fn place_of(&self, wanted: Wanted) -> Option<usize> {
        let first = |is_it: &dyn Fn(i64) -> bool| {
            self.messages.iter().position(|message| is_it(message.kind))
        };
        match wanted {
            Wanted::First => first(&|_| true),
            Wanted::OfKind(kind) => first(&|other| other == kind),
            Wanted::NotOf(kind) => first(&|other| other != kind),
            Wanted::Lowest(most) => {
                let lowest = self.messages.iter().map(|message| message.kind).min()?;
                first(&|other| other == lowest && lowest <= most)
            }
        }
    }

    fn has_room(&self, more: usize) -> bool {
        // Empty messages count, too.
        self.bytes + more as u64 <= self.most_bytes
            && (self.messages.len() as u64) < self.most_bytes
    }
}

/// A message, or as much of it as fits.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) message: Message,
    pub(crate) length: usize,
}

/// How one is received.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    pub(crate) wanted: Wanted,
    /// Bytes that there is room for.
    pub(crate) room: usize,
    /// What does not fit is lost.
    pub(crate) cuts: bool,
    pub(crate) nonblocking: bool,
}

impl Queue {
    /// Looks at the queue. `EIDRM`: it was removed.
    pub(crate) fn with<R>(
        &self,
        body: impl FnOnce(&State) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        let state = self.state.lock();
        if state.is_removed { Err(Errno::EIDRM) } else { body(&state) }
    }

    /// Changes the queue; who waits looks again.
    pub(crate) fn change<R>(
        &self,
        body: impl FnOnce(&mut State) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        let result = {
            let mut state = self.state.lock();
            if state.is_removed { Err(Errno::EIDRM) } else { body(&mut state) }
        };
        self.changed.wake_all();
        result
    }

    /// Tries until it has come to something. A signal ends it: it is never made again (signal(7)).
    fn until<R>(
        &self,
        mut attempt: impl FnMut(&mut State) -> Option<Result<R, Errno>>,
    ) -> Result<R, Errno> {
        let mut result = None;
        let waited = self.changed.wait_until(|| {
            let mut state = self.state.lock();
            result = if state.is_removed { Some(Err(Errno::EIDRM)) } else { attempt(&mut state) };
            result.is_some()
        });
        waited.map_err(|_| Errno::EINTR)?;
        self.changed.wake_all();
        result.unwrap_or(Err(Errno::EINTR))
    }

    /// Sends a message; waits for room.
    pub(crate) fn send(
        &self,
        message: Message,
        nonblocking: bool,
        process: u64,
        now: impl Fn() -> u64,
    ) -> Result<(), Errno> {
        let mut message = Some(message);
        self.until(|state| {
            let length = message.as_ref().map_or(0, |message| message.bytes.len());
            if !state.has_room(length) {
                return nonblocking.then_some(Err(Errno::EAGAIN));
            }
            if state.messages.try_reserve(1).is_err() {
                return Some(Err(Errno::ENOMEM));
            }
            // CANNOT FAIL: reserved above.
            state.messages.extend(message.take());
            state.bytes += length as u64;
            (state.times[0], state.processes[0]) = (now(), process);
            Some(Ok(()))
        })
    }

    /// Takes a message; waits for one.
    pub(crate) fn receive(
        &self,
        how: How,
        process: u64,
        now: impl Fn() -> u64,
    ) -> Result<Received, Errno> {
        self.until(|state| {
            let Some(place) = state.place_of(how.wanted) else {
                return how.nonblocking.then_some(Err(Errno::ENOMSG));
            };
            let length = state.messages[place].bytes.len();
            if length > how.room && !how.cuts {
                return Some(Err(Errno::E2BIG));
            }
            let message = state.messages.remove(place);
            state.bytes -= length as u64;
            (state.times[1], state.processes[1]) = (now(), process);
            Some(Ok(Received { message, length: length.min(how.room) }))
        })
    }

    /// A copy of the message at a place, which stays there (`MSG_COPY`).
    pub(crate) fn copy(&self, place: usize, room: usize, cuts: bool) -> Result<Received, Errno> {
        let state = self.state.lock();
        if state.is_removed {
            return Err(Errno::EIDRM);
        }
        let Message { kind, bytes } = state.messages.get(place).ok_or(Errno::ENOMSG)?;
        if bytes.len() > room && !cuts {
            return Err(Errno::E2BIG);
        }
        let bytes = fallible::bytes(&bytes[..bytes.len().min(room)])?;
        let length = bytes.len();
        Ok(Received { message: Message { kind: *kind, bytes }, length })
    }

    /// Removes the queue, if `may` says so.
    pub(crate) fn remove(
        &self,
        may: impl FnOnce(&Access) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let (number, messages) = self.change(|state| {
            may(&state.access)?;
            state.is_removed = true;
            Ok((state.access.number, core::mem::take(&mut state.messages)))
        })?;
        drop(messages);
        let gone = TABLE.lock().take_number(number);
        drop(gone);
        Ok(())
    }
}
