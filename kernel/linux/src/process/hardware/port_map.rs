//! Which I/O ports a thread may use, as its task keeps it. What is done with it is in
//! [`ports`](super::ports).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

/// A map, up to its last word that permits a port.
#[derive(Debug)]
pub(crate) struct Map {
    pub(in crate::process) words: Vec<u32>,
    pub(super) sequence: u64,
}

impl Map {
    pub(in crate::process) fn new(words: Vec<u32>) -> Self {
        static SEQUENCE: AtomicU64 = AtomicU64::new(1);
        Self { words, sequence: SEQUENCE.fetch_add(1, Ordering::Relaxed) }
    }
}

/// What a thread may use.
#[derive(Debug, Clone, Default)]
pub(crate) struct TaskPorts {
    pub(in crate::process) map: Option<Arc<Map>>,
    /// That of `iopl`.
    pub(in crate::process) level: u8,
}
