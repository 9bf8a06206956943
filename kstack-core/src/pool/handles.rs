//! What one holds of a stack: its name, the right to run on it, or the right to read it.
//!
//! The two rights cannot be copied. Only the pool makes them, and each ends where it is handed back.

use crate::arena::SlotIndex;
use crate::lifetime::{Borrow, Generation};

/// A stack in one of its lives: enough to ask for it ([`Pool::borrow`](super::Pool::borrow)), not to keep it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StackRef {
    /// The slot.
    pub slot: SlotIndex,
    /// The life.
    pub generation: Generation,
}

/// A stack in use: the right to run on it, which only [`Pool::acquire`](super::Pool::acquire) gives and which ends with [`Pool::release`](super::Pool::release). It cannot be copied, so
/// a stack is not let go of twice.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "a stack that is not released is lost"]
pub struct LiveStack(pub(super) StackRef);

impl LiveStack {
    /// Which stack it is, for those who only ask for it.
    #[inline(always)]
    pub const fn as_ref(&self) -> StackRef {
        self.0
    }

    /// The slot.
    #[inline(always)]
    pub const fn slot(&self) -> SlotIndex {
        self.0.slot
    }
}

/// A stack kept alive by a reader; ends with [`Pool::give_back`](super::Pool::give_back).
#[derive(PartialEq, Eq, Debug)]
#[must_use = "a borrow that is not given back leaks the stack"]
pub struct BorrowedStack {
    pub(super) slot: SlotIndex,
    pub(super) borrow: Borrow,
}

impl BorrowedStack {
    /// Which slot.
    pub const fn slot(&self) -> SlotIndex {
        self.slot
    }

    /// Which life of it.
    pub const fn generation(&self) -> Generation {
        self.borrow.generation()
    }
}
