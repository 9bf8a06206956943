//! What goes in and out of a pool: requests, handles of live and of borrowed stacks, outcomes,
//! figures.

use crate::addr::CpuId;
use crate::arena::SlotIndex;
use crate::kind::StackKind;
use crate::lifetime::{Borrow, Generation};
use crate::record::AccountId;
use crate::stacks::ThreadId;
use core::fmt;

/// The stack that is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Request {
    /// What for.
    pub kind: StackKind,
    /// For which thread.
    pub owner: ThreadId,
    /// The CPU it belongs to, or where the thread will start.
    pub cpu: CpuId,
    /// The account that is charged.
    pub account: AccountId,
    /// How many pages; `None` for the whole body. Only whole bodies are cached.
    pub pages: Option<u8>,
}

impl Request {
    /// The stack of a thread, as large as a body, on the system's account.
    #[inline(always)]
    pub const fn thread(owner: ThreadId) -> Self {
        Self {
            kind: StackKind::Thread,
            owner,
            cpu: CpuId::new(0),
            account: AccountId::SYSTEM,
            pages: None,
        }
    }

    /// A stack that belongs to a CPU, of `pages` or as large as a body, on the system's account.
    pub const fn for_cpu(kind: StackKind, cpu: CpuId, pages: Option<u8>) -> Self {
        Self { kind, owner: ThreadId::NONE, cpu, account: AccountId::SYSTEM, pages }
    }
}

/// What became of a stack that was released.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ReleaseOutcome {
    /// Still borrowed; the last borrower takes it back.
    StillBorrowed,
    /// In this CPU's cache.
    Cached,
    /// In this CPU's cache, half of which went to the depot; `excess` stacks there wait for
    /// [`Pool::shrink`](super::Pool::shrink).
    Flushed {
        /// How many stacks wait to be unmapped.
        excess: u32,
    },
    /// In the depot of the memory node that it is of, which is not this CPU's.
    SentHome {
        /// How many stacks wait to be unmapped there.
        excess: u32,
    },
    /// Of another size: waits for [`Pool::shrink`](super::Pool::shrink).
    ToUnmap,
}

/// A stack in one of its lives: enough to ask for it ([`Pool::borrow`](super::Pool::borrow)), not
/// to keep it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a slot and a generation, for tables of a kernel's own"
)]
pub struct StackRef {
    /// The slot.
    pub slot: SlotIndex,
    /// The life.
    pub generation: Generation,
}

impl fmt::Display for StackRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot {}, life {}", self.slot, self.generation)
    }
}

/// A stack in use: the right to run on it, which only [`Pool::acquire`](super::Pool::acquire) gives
/// and which ends with [`Pool::release`](super::Pool::release). It cannot be copied, so a stack is
/// not let go of twice.
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

/// How many slots are where, and how many pages that is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Census {
    /// Slots without a mapping.
    pub free: u32,
    /// Stacks in a cache, in the depot or about to be unmapped.
    pub parked: u32,
    /// Stacks with an owner.
    pub live: u32,
    /// Stacks kept by a borrower, or being cleaned.
    pub ending: u32,
    /// Pages mapped, all in all.
    pub mapped_pages: u64,
    /// Pages mapped for stacks that are live or ending: what a system total reports.
    pub used_pages: u64,
}
