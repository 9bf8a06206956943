//! What a program's thread has in the CPU besides its saved registers and its floating point, where
//! that is the base of its thread-local storage, or nothing.

pub use super::based::Based;
use crate::arch::user;
use core::sync::atomic::{AtomicU64, Ordering};

/// What the thread has of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bases {
    /// Of its thread-local storage, where that is not among the saved registers; as the thread's
    /// structure keeps it.
    pub tls: u64,
}

impl Bases {
    /// Those of the running thread. Interrupts off.
    pub fn read(kept: &AtomicU64) -> Self {
        user::save_tls(kept);
        Self { tls: kept.load(Ordering::Relaxed) }
    }

    /// Makes them those of the running thread. Interrupts off.
    pub fn load(&self, kept: &AtomicU64) {
        if kept.swap(self.tls, Ordering::Relaxed) != self.tls {
            user::load_tls(kept);
        }
    }

    /// The base of such a segment: there is none.
    pub const fn get(&self, _which: Based) -> Option<u64> {
        None
    }

    /// Sets it. Says whether there is one.
    pub const fn set(&mut self, _which: Based, _base: u64) -> bool {
        false
    }

    /// Whether a switch of threads has more to move than the thread-local storage.
    pub const fn are_extras(&self) -> bool {
        false
    }
}
