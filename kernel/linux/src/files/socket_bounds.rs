//! What a socket may have, how long its calls wait, and what else is kept of it.

use core::sync::atomic::{AtomicU32, AtomicU64};

/// Bytes that an end may have on their way, if it says nothing else (`wmem_default`).
pub(super) const USUAL_BYTES: u32 = 212_992;
/// The most that one may ask for, without a right to more: twice `wmem_max`.
pub(crate) const MAX_BYTES: usize = 2 * USUAL_BYTES as usize;
/// What Linux has of each message for itself.
pub(super) const OWN_BYTES: usize = 32;
/// The switch of who wants to know who has sent a message.
pub(crate) const PASS_CREDENTIALS: u32 = 16;

/// What a socket may have, and how long its calls wait.
#[derive(Debug)]
pub(crate) struct Bounds {
    /// Bytes on their way to the other end (SO_SNDBUF), and to this one: that is the other one's
    /// to say, so it is only told (SO_RCVBUF).
    pub(crate) send_bytes: AtomicU32,
    pub(crate) receive_bytes: AtomicU32,
    /// Nanoseconds; 0: as long as it takes.
    pub(crate) send_time: AtomicU64,
    pub(crate) receive_time: AtomicU64,
    /// Seconds of SO_LINGER, and SO_PRIORITY: of networks, and kept.
    pub(crate) linger: AtomicU32,
    pub(crate) priority: AtomicU32,
}

impl Bounds {
    pub(super) const fn usual() -> Self {
        Self {
            send_bytes: AtomicU32::new(USUAL_BYTES),
            receive_bytes: AtomicU32::new(USUAL_BYTES),
            send_time: AtomicU64::new(0),
            receive_time: AtomicU64::new(0),
            linger: AtomicU32::new(0),
            priority: AtomicU32::new(0),
        }
    }
}
