//! How much memory a process may have: RLIMIT_STACK, RLIMIT_AS, RLIMIT_DATA and RLIMIT_MEMLOCK, and
//! what is plainly too much.

use super::areas::Area;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::memory::frames;

/// How large the stack may become, if nothing else is said: RLIMIT_STACK.
pub const STACK_LIMIT: u64 = 8 << 20;

/// The soft values, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub stack: u64,
    pub space: u64,
    pub data: u64,
    pub locked: u64,
    /// Whether what is locked has no limit: for who may do everything.
    pub may_lock: bool,
    /// Whether anything may lie below [`USER_LOWEST`](crate::abi::USER_LOWEST).
    pub may_lie_lowest: bool,
}

impl Limits {
    pub const fn new() -> Self {
        let none = u64::MAX;
        Self {
            stack: STACK_LIMIT,
            space: none,
            data: none,
            locked: 8 << 20,
            may_lock: true,
            may_lie_lowest: false,
        }
    }

    /// Whether a stack may grow down to an address, where so many bytes are mapped in all.
    pub(super) fn may_grow(&self, area: &Area, lowest: u64, mapped: u64) -> bool {
        let more = area.lowest - lowest;
        area.top - lowest <= self.stack && mapped.saturating_add(more) <= self.space
    }
}

/// `vm.overcommit_memory`: 0: what is plainly too much is refused; 1: nothing is.
pub(crate) static OVERCOMMIT: AtomicU64 = AtomicU64::new(0);

/// Linux's "obvious overcommit" (`vm.overcommit_memory` 0): what all of memory could not hold. The
/// rest is decided page by page.
pub(crate) fn is_too_much(bytes: u64) -> bool {
    bytes / frames::FRAME_BYTES > frames::total_count() as u64
        && OVERCOMMIT.load(Ordering::Relaxed) == 0
}
