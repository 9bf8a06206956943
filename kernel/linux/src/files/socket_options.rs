//! What programs set of a socket: its switches, what it may have on its way, how long it waits.

use super::readiness::Readiness;
use crate::error::Errno;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use threads::clock;
use threads::sched::Waited;

/// The switch of who wants to know who has sent a message.
pub(crate) const PASS_CREDENTIALS: u32 = 16;
/// Bytes that a socket may have on their way, and what may be asked for (`wmem_default`,
/// `wmem_max`).
pub(crate) const MAX_BYTES: usize = 212_992;
/// The least that a socket may have on its way, and that it may be said to have in its inbox
/// (`SOCK_MIN_SNDBUF`, `SOCK_MIN_RCVBUF`).
const LEAST_SENT: u32 = 4608;
const LEAST_RECEIVED: u32 = 2304;
/// What Linux counts of a message besides its bytes, when it is held against the room for it.
const OVERHEAD: usize = 32;
/// The same of a piece of a stream, of which two must find room.
const OVERHEAD_OF_PIECE: usize = 64;

/// How long a call waits, in nanoseconds.
#[derive(Debug)]
pub(crate) struct Patience(AtomicU64);

impl Patience {
    const FOR_EVER: u64 = u64::MAX;

    const fn new() -> Self {
        Self(AtomicU64::new(Self::FOR_EVER))
    }

    /// Sets it as `struct timeval` has it. `EDOM`: that is none.
    pub(crate) fn set(&self, seconds: i64, microseconds: i64) -> Result<(), Errno> {
        if !(0..1_000_000).contains(&microseconds) {
            return Err(Errno::EDOM);
        }
        let patience = match (u64::try_from(seconds), microseconds as u64) {
            (Err(_), _) => 0,
            (Ok(0), 0) => Self::FOR_EVER,
            (Ok(seconds), more) => {
                seconds.saturating_mul(1_000_000_000).saturating_add(more * 1000)
            }
        };
        self.0.store(patience, Ordering::Relaxed);
        Ok(())
    }

    /// The same to be read: seconds and microseconds, none of either for one without an end.
    pub(crate) fn get(&self) -> [u64; 2] {
        match self.0.load(Ordering::Relaxed) {
            Self::FOR_EVER => [0; 2],
            patience => [patience / 1_000_000_000, patience % 1_000_000_000 / 1000],
        }
    }

    /// Sleeps until a condition holds. `EAGAIN`: it did not in time.
    pub(super) fn wait(
        &self,
        on: &Readiness,
        nonblocking: bool,
        condition: impl FnMut() -> bool,
    ) -> Result<(), Errno> {
        let patience = self.0.load(Ordering::Relaxed);
        if nonblocking || patience == Self::FOR_EVER {
            return on.wait(nonblocking, condition);
        }
        match on.wait_deadline(condition, Some(clock::later(patience))) {
            Ok(Waited::Holds) => Ok(()),
            Ok(Waited::TimedOut) => Err(Errno::EAGAIN),
            // A wait that would end by itself is not begun again.
            Err(Errno::ERESTARTSYS) => Err(Errno::EINTR),
            Err(error) => Err(error),
        }
    }
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Options {
    /// By their numbers.
    switches: AtomicU32,
    /// Seconds of SO_LINGER.
    pub(crate) linger: AtomicU32,
    pub(crate) priority: AtomicU32,
    sent: AtomicU32,
    received: AtomicU32,
    pub(crate) sending: Patience,
    pub(crate) receiving: Patience,
}

impl Options {
    pub(super) const fn new() -> Self {
        Self {
            switches: AtomicU32::new(0),
            linger: AtomicU32::new(0),
            priority: AtomicU32::new(0),
            sent: AtomicU32::new(MAX_BYTES as u32),
            received: AtomicU32::new(MAX_BYTES as u32),
            sending: Patience::new(),
            receiving: Patience::new(),
        }
    }

    pub(crate) fn has(&self, switch: u32) -> bool {
        self.switches.load(Ordering::Relaxed) & 1 << switch != 0
    }

    pub(crate) fn switch(&self, switch: u32, is_on: bool) {
        match is_on {
            true => self.switches.fetch_or(1 << switch, Ordering::Relaxed),
            false => self.switches.fetch_and(!(1 << switch), Ordering::Relaxed),
        };
    }

    /// Twice what is asked for, as Linux counts what it needs for itself; of more than is allowed,
    /// what is allowed.
    pub(crate) fn set_sent(&self, bytes: u32) {
        let twice = bytes.min(MAX_BYTES as u32) * 2;
        self.sent.store(twice.max(LEAST_SENT), Ordering::Relaxed);
    }

    /// The same of what comes: it is kept, and limits nothing, as in Linux.
    pub(crate) fn set_received(&self, bytes: u32) {
        let twice = bytes.min(MAX_BYTES as u32) * 2;
        self.received.store(twice.max(LEAST_RECEIVED), Ordering::Relaxed);
    }

    /// Bytes that may be on their way.
    pub(crate) fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed) as usize
    }

    pub(crate) fn received(&self) -> usize {
        self.received.load(Ordering::Relaxed) as usize
    }

    /// Bytes of one message, at most.
    pub(crate) fn largest(&self) -> usize {
        self.sent() - OVERHEAD
    }

    /// Bytes of one piece of a stream, at most.
    pub(super) fn piece(&self) -> usize {
        self.sent() / 2 - OVERHEAD_OF_PIECE
    }
}
