//! POSIX message queues (mq_overview(7)): messages with priorities, the highest first, equals in
//! the order of sending. They have names of their own, in no directory.
//!
//! # Invariants
//!
//! 1. Messages stand by priority, the highest first; a new one stands behind its equals.
//! 2. A queue lives for as long as it has a name or is open. What its user has of queues is counted
//!    from its making to its end.
//! 3. Receivers that wait stand by rank, equals in order of arrival, and only while there is no
//!    message: one that is sent is the first receiver's at once, and no other's.
//! 4. A process that asked to be told of a message is told once: when one comes to an empty queue
//!    in which no receiver waits.

use super::object::{How, Object};
use super::readiness::{Readiness, event};
use crate::abi::Stat;
use crate::error::Errno;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write;
use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::memory::fallible::{self, Text};
use machine::spin::SpinLock;
use threads::sched;

/// Queues of all who are not privileged (`fs.mqueue`, mq_overview(7)), and how large one may be and
/// is without a word.
pub(crate) static MAX_QUEUES: AtomicU64 = AtomicU64::new(256);
pub(crate) static DEFAULT_MESSAGES: AtomicU64 = AtomicU64::new(10);
pub(crate) static DEFAULT_BYTES: AtomicU64 = AtomicU64::new(8192);
pub(crate) static MAX_MESSAGES: AtomicU64 = AtomicU64::new(10);
pub(crate) static MAX_BYTES: AtomicU64 = AtomicU64::new(8192);
/// What these can be set to: the upper ends are the limits of the privileged.
pub(crate) const MESSAGES_RANGE: RangeInclusive<u64> = 1..=65_536;
pub(crate) const BYTES_RANGE: RangeInclusive<u64> = 128..=16 << 20;
/// What Linux counts for a message besides its bytes: its own structure, and a place in a tree.
const MESSAGE_STRUCTURES: u64 = 48 + 48;

static NEXT_INODE: AtomicU64 = AtomicU64::new(1 << 21);

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) priority: u32,
    pub(crate) bytes: Vec<u8>,
}

/// A thread that waits for a message, and the one it was given.
#[derive(Debug)]
struct Receiver {
    rank: u8,
    given: SpinLock<Option<Message>>,
}

/// Who is told of the next message, as far as files know: a process, and what it asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notified {
    pub(crate) process: u64,
    /// 0: nothing is sent, the place is only taken.
    pub(crate) signal: u32,
    pub(crate) value: u64,
}

#[derive(Debug)]
struct State {
    messages: Vec<Message>,
    bytes: u64,
    receivers: Vec<Arc<Receiver>>,
    notified: Option<Notified>,
}

/// A queue.
#[derive(Debug)]
pub(crate) struct Queue {
    state: SpinLock<State>,
    readiness: Readiness,
    pub(crate) max_messages: u64,
    pub(crate) message_bytes: u64,
    user: u32,
    group: u32,
    mode: u32,
    inode: u64,
}

/// What a queue is made with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) max_messages: u64,
    pub(crate) message_bytes: u64,
    pub(crate) mode: u32,
    /// Whose it is, and of which group.
    pub(crate) owner: [u32; 2],
    /// Bytes that its user may have in queues.
    pub(crate) most_bytes: u64,
    pub(crate) is_privileged: bool,
}

impl Terms {
    fn counted(&self) -> Option<u64> {
        counted(self.max_messages, self.message_bytes)
    }
}

/// What counts of a queue for its user.
fn counted(messages: u64, bytes: u64) -> Option<u64> {
    messages.checked_mul(bytes.checked_add(MESSAGE_STRUCTURES)?)
}

/// All that have names; and what users have in queues, named or not.
#[derive(Debug)]
struct Names {
    /// By namespace and name.
    queues: Vec<(u64, String, Arc<Queue>)>,
    used: Vec<(u32, u64)>,
}

static NAMES: SpinLock<Names> = SpinLock::new(Names { queues: Vec::new(), used: Vec::new() });

/// The queue with a name.
pub(crate) fn find(space: u64, name: &str) -> Result<Arc<Queue>, Errno> {
    let names = NAMES.lock();
    let (_, _, queue) = &names.queues[names.place_of(space, name).ok_or(Errno::ENOENT)?];
    Ok(queue.clone())
}

impl Names {
    fn place_of(&self, space: u64, name: &str) -> Option<usize> {
        self.queues.iter().position(|(of, other, _)| *of == space && other == name)
    }
}

/// Makes a queue with a name that none has.
pub(crate) fn make(space: u64, name: &str, terms: Terms) -> Result<Arc<Queue>, Errno> {
    let more = terms.counted().ok_or(Errno::EOVERFLOW)?;
    let name = fallible::text(name)?;
    let [user, group] = terms.owner;
    let state = State { messages: Vec::new(), bytes: 0, receivers: Vec::new(), notified: None };
    let mut names = NAMES.lock();
    if names.place_of(space, &name).is_some() {
        return Err(Errno::EEXIST);
    }
    if names.queues.len() as u64 >= MAX_QUEUES.load(Ordering::Relaxed) && !terms.is_privileged {
        return Err(Errno::ENOSPC);
    }
    let place = names.used.iter().position(|&(of, _)| of == user);
    let before = place.map_or(0, |place| names.used[place].1);
    if before.checked_add(more).is_none_or(|all| all > terms.most_bytes) {
        return Err(Errno::EMFILE);
    }
    let place = match place {
        Some(place) => place,
        None => {
            fallible::push(&mut names.used, (user, 0))?;
            names.used.len() - 1
        }
    };
    names.queues.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
    let queue = fallible::shared(Queue {
        state: SpinLock::new(state),
        readiness: Readiness::new(),
        max_messages: terms.max_messages,
        message_bytes: terms.message_bytes,
        user,
        group,
        mode: terms.mode,
        inode: NEXT_INODE.fetch_add(1, Ordering::Relaxed),
    })?;
    // What its end takes back: from here on there is one.
    names.used[place].1 += more;
    // CANNOT FAIL: reserved above.
    names.queues.push((space, name, queue.clone()));
    Ok(queue)
}

/// Takes a name away, if `may` says so of the queue.
pub(crate) fn unlink(
    space: u64,
    name: &str,
    may: impl FnOnce(&Queue) -> bool,
) -> Result<(), Errno> {
    let taken = {
        let mut names = NAMES.lock();
        let place = names.place_of(space, name).ok_or(Errno::ENOENT)?;
        if !may(&names.queues[place].2) {
            return Err(Errno::EPERM);
        }
        names.queues.swap_remove(place)
    };
    // Its end takes the lock.
    drop(taken);
    Ok(())
}

/// A namespace has ended: no name of it leads anywhere any more.
pub(crate) fn space_ends(space: u64) {
    loop {
        let taken = {
            let mut names = NAMES.lock();
            let place = names.queues.iter().position(|(of, _, _)| *of == space);
            place.map(|place| names.queues.swap_remove(place))
        };
        // Its end takes the lock.
        if taken.is_none() {
            break;
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let less = counted(self.max_messages, self.message_bytes).unwrap_or(0);
        let mut names = NAMES.lock();
        if let Some(place) = names.used.iter().position(|&(of, _)| of == self.user) {
            names.used[place].1 -= less;
            if names.used[place].1 == 0 {
                names.used.swap_remove(place);
            }
        }
    }
}

impl State {
    fn take_first(&mut self) -> Option<Message> {
        if self.messages.is_empty() {
            return None;
        }
        let message = self.messages.remove(0);
        self.bytes -= message.bytes.len() as u64;
        Some(message)
    }
}

impl Queue {
    /// Whose it is.
    pub(crate) fn user(&self) -> u32 {
        self.user
    }

    /// How many messages wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.state.lock().messages.len() as u64
    }

    /// Sends a message; waits for room. Who is to be told of it, if one is.
    pub(crate) fn send(
        &self,
        bytes: Vec<u8>,
        priority: u32,
        nonblocking: bool,
        deadline: Option<u64>,
    ) -> Result<Option<Notified>, Errno> {
        let mut message = Some(Message { priority, bytes });
        let mut result = Ok(None);
        let mut put = || {
            let mut state = self.state.lock();
            if state.messages.len() as u64 >= self.max_messages {
                return false;
            }
            if state.messages.try_reserve(1).is_err() {
                result = Err(Errno::ENOMEM);
                return true;
            }
            let Some(message) = message.take() else { return true };
            if !state.receivers.is_empty() {
                let first = state.receivers.remove(0);
                *first.given.lock() = Some(message);
                return true;
            }
            if state.messages.is_empty() {
                result = Ok(state.notified.take());
            }
            state.bytes += message.bytes.len() as u64;
            let at = state.messages.partition_point(|other| other.priority >= priority);
            // CANNOT FAIL: reserved above.
            state.messages.insert(at, message);
            true
        };
        self.wait(nonblocking, deadline, &mut put)?;
        self.readiness.wake();
        result
    }

    /// Takes the first message; waits for one.
    pub(crate) fn receive(
        &self,
        nonblocking: bool,
        deadline: Option<u64>,
    ) -> Result<Message, Errno> {
        let rank = sched::rank(sched::current()).0;
        let waiting = fallible::shared(Receiver { rank, given: SpinLock::new(None) })?;
        let mut taken = {
            let mut state = self.state.lock();
            let taken = state.take_first();
            if taken.is_none() && !nonblocking {
                state.receivers.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                let at = state.receivers.partition_point(|other| other.rank >= rank);
                // CANNOT FAIL: reserved right here.
                state.receivers.insert(at, waiting.clone());
            }
            taken
        };
        if taken.is_none() {
            let mut given = || {
                taken = waiting.given.lock().take();
                taken.is_some()
            };
            let waited = self.wait(nonblocking, deadline, &mut given);
            if taken.is_none() {
                // It was given one meanwhile, or is no longer among those that wait.
                self.state.lock().receivers.retain(|other| !Arc::ptr_eq(other, &waiting));
                taken = waiting.given.lock().take();
            }
            if taken.is_none() {
                waited?;
            }
        }
        self.readiness.wake();
        taken.ok_or(Errno::ETIMEDOUT)
    }

    fn wait(
        &self,
        nonblocking: bool,
        deadline: Option<u64>,
        done: &mut dyn FnMut() -> bool,
    ) -> Result<(), Errno> {
        if done() {
            return Ok(());
        }
        if nonblocking {
            return Err(Errno::EAGAIN);
        }
        let mut is_done = false;
        self.readiness.wait_deadline(
            || {
                is_done = done();
                is_done
            },
            deadline,
        )?;
        if is_done { Ok(()) } else { Err(Errno::ETIMEDOUT) }
    }

    /// Who asked to be told.
    pub(crate) fn notified(&self) -> Option<Notified> {
        self.state.lock().notified
    }

    /// Has a process be told, unless another one is; `is_there` says whether that is still there.
    pub(crate) fn notify(
        &self,
        who: Notified,
        is_there: impl FnOnce(u64) -> bool,
    ) -> Result<(), Errno> {
        let before = self.notified();
        if before.is_some_and(|before| is_there(before.process)) {
            return Err(Errno::EBUSY);
        }
        self.state.lock().notified = Some(who);
        Ok(())
    }

    /// A process does not want to be told any more.
    pub(crate) fn forget(&self, process: u64) {
        let mut state = self.state.lock();
        if state.notified.is_some_and(|notified| notified.process == process) {
            state.notified = None;
        }
    }

    /// What `stat` tells of it.
    pub(crate) fn attributes(&self) -> Stat {
        Stat {
            inode: self.inode,
            mode: 0o100000 | self.mode,
            links: 1,
            user: self.user,
            group: self.group,
            bytes: 80,
            ..Stat::default()
        }
    }
}

/// An open queue.
#[derive(Debug)]
pub(crate) struct MessageQueue(pub(crate) Arc<Queue>);

impl Object for MessageQueue {
    /// A line about it, as Linux's file has it.
    fn read(&self, to: &mut [u8], _how: How) -> Result<usize, Errno> {
        let mut text = Text::new();
        let state = self.0.state.lock();
        let (process, signal) = state.notified.map_or((0, 0), |who| (who.process, who.signal));
        let bytes = state.bytes;
        drop(state);
        writeln!(
            text,
            "QSIZE:{bytes:<10} NOTIFY:{:<5} SIGNO:{signal:<5} NOTIFY_PID:{process:<6}",
            0
        )
        .map_err(|_| Errno::ENOMEM)?;
        let text = text.into_string();
        let count = text.len().min(to.len());
        to[..count].copy_from_slice(&text.as_bytes()[..count]);
        Ok(count)
    }

    fn events(&self) -> u32 {
        let waiting = self.0.waiting();
        let mut events = 0;
        if waiting > 0 {
            events |= event::READABLE;
        }
        if waiting < self.0.max_messages {
            events |= event::WRITABLE;
        }
        events
    }

    fn readiness(&self) -> Option<&Readiness> {
        Some(&self.0.readiness)
    }

    fn stat(&self) -> Stat {
        self.0.attributes()
    }

    fn label(&self) -> &'static str {
        "/mqueue"
    }
}
