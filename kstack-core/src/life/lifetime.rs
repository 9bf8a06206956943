//! When a stack may be taken back: one word that counts who still needs it.
//!
//! A thread stack has one *owner* (the thread) and any number of *borrows* (another CPU reading it
//! for a backtrace). The last holder to let go takes the stack back, on its own CPU, at once: there
//! is no grace period. A borrow names the *generation* it means, so a reader that kept the number
//! of a slot for too long is refused instead of being shown another owner's stack.
//!
//! ```text
//!                make_live                     release_owner, not borrowed
//!   Free ───────────────────────▶ Live ─────────────────────────────────────────▶ Recycling ──▶ Parked
//!    ▲                           ▲  │ ▲ │ try_borrow, release_borrow                ▲    │
//!    │ set_free                  │  │ └─┘                                           │    └──▶ (set_free) Free
//!    │                           │  │ release_owner, borrowed                       │
//!    └─────────── Parked ────────┘  └──────────▶ Ending ─────────────────────────▶──┘
//!                     make_live                         last release_borrow
//! ```
//!
//! The word, from the highest bit:
//! `generation | phase (2 bits) | owner (1 bit) | borrows (10 bits)`.
//!
//! Invariants:
//!
//! 1. exactly one call per life answers [`Released::Last`], and after it no other party touches the
//!    stack until it is live again;
//! 2. `Life::try_borrow` succeeds only while the owner holds the stack and only for the current
//!    generation;
//! 3. while the phase is Free, Parked or Recycling only one party writes the word (the one that
//!    holds the slot, by the cache, the depot or the free list), so those transitions are plain
//!    stores;
//! 4. every transition is a function of the word alone (`Word`), which is what the model check
//!    explores.
//!
//! The generation has 51 bits where a word has 64, and 19 where it has 32: there, a reader that
//! keeps a number while the same slot is re-used exactly 2^19 times is not recognised as stale.
//!
//! Only the pool makes transitions: a life that any caller could end would take the stack from
//! under its owner.
//!
//! Neighbours: [`crate::record`] holds one [`Life`] per slot, [`crate::pool`] acts on the answers.

use core::fmt;
#[cfg(not(all(test, loom)))]
use core::sync::atomic::{AtomicUsize, Ordering};
#[cfg(all(test, loom))]
use loom::sync::atomic::{AtomicUsize, Ordering};

const BORROW_ONE: usize = 1;
const BORROW_MASK: usize = (1 << 10) - 1;
const OWNER: usize = 1 << 10;
const PHASE_SHIFT: u32 = 11;
const PHASE_MASK: usize = 0b11 << PHASE_SHIFT;
const GENERATION_SHIFT: u32 = 13;

const PHASE_FREE: usize = 0;
const PHASE_PARKED: usize = 1 << PHASE_SHIFT;
const PHASE_USED: usize = 2 << PHASE_SHIFT;

/// Which use of a slot is meant. Two uses of the same slot never have the same generation (see the
/// module's caveat for machines of 32 bits).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct Generation(usize);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Generation {
    /// The number, for messages.
    #[inline(always)]
    pub const fn get(self) -> usize {
        self.0
    }
}

/// Where a slot is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(clippy::exhaustive_enums, reason = "all states of the word")]
pub enum LifeState {
    /// Nothing is mapped.
    Free,
    /// Mapped and clean, waiting in a cache or in the depot.
    Parked,
    /// Owned.
    Live,
    /// Its owner is gone, and it is still borrowed.
    Ending,
    /// No longer held; the last holder to let go is cleaning it.
    Recycling,
}

/// What a release leaves to the caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "whoever released last must take the stack back"]
#[expect(clippy::exhaustive_enums, reason = "the pool does something for each of them")]
pub enum Released {
    /// The stack is still held, and the last holder will take it back.
    StillBorrowed,
    /// The stack is no longer held: the caller takes it back.
    Last,
}

/// The right to read another owner's stack. Given back with `Life::release_borrow`; dropping it
/// keeps the stack alive indefinitely.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "a borrow that is not given back leaks the stack"]
pub struct Borrow {
    generation: Generation,
}

impl Borrow {
    /// The generation that is borrowed.
    #[inline(always)]
    pub const fn generation(&self) -> Generation {
        self.generation
    }
}

/// The word as a value: all decisions, no atomics.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Word(usize);

impl Word {
    const fn generation(self) -> Generation {
        Generation(self.0 >> GENERATION_SHIFT)
    }

    const fn state(self) -> LifeState {
        match (self.0 & PHASE_MASK, self.0 & OWNER, self.0 & BORROW_MASK) {
            (PHASE_FREE, ..) => LifeState::Free,
            (PHASE_PARKED, ..) => LifeState::Parked,
            (_, OWNER, _) => LifeState::Live,
            (_, _, 0) => LifeState::Recycling,
            _ => LifeState::Ending,
        }
    }

    /// The word of the next life: owned, not borrowed, one generation on.
    #[inline(always)]
    const fn begun(self) -> Self {
        let generation = (self.0 >> GENERATION_SHIFT).wrapping_add(1);
        Self((generation << GENERATION_SHIFT) | PHASE_USED | OWNER)
    }

    /// The same slot resting in `phase`, not held.
    #[inline(always)]
    const fn resting(self, phase: usize) -> Self {
        Self((self.0 >> GENERATION_SHIFT << GENERATION_SHIFT) | phase)
    }

    /// With one more borrow, if the life meant is the present one and its owner is there.
    const fn borrowed(self, generation: Generation) -> Option<Self> {
        let owned = self.0 & OWNER != 0;
        let room = self.0 & BORROW_MASK != BORROW_MASK;
        if owned && room && self.generation().0 == generation.0 {
            Some(Self(self.0 + BORROW_ONE))
        } else {
            None
        }
    }

    /// What taking the owner away from this word means.
    #[inline(always)]
    const fn owner_released(self) -> Released {
        if self.0 & BORROW_MASK == 0 { Released::Last } else { Released::StillBorrowed }
    }

    /// What taking one borrow away from this word means.
    #[inline(always)]
    const fn borrow_released(self) -> Released {
        if self.0 & (OWNER | BORROW_MASK) == BORROW_ONE {
            Released::Last
        } else {
            Released::StillBorrowed
        }
    }
}

/// The life of one slot.
#[derive(Debug)]
#[repr(transparent)]
pub struct Life(AtomicUsize);

impl Default for Life {
    fn default() -> Self {
        Self::new()
    }
}

impl Life {
    /// A slot that was never used: free, generation 0.
    #[cfg(not(all(test, loom)))]
    pub const fn new() -> Self {
        Self(AtomicUsize::new(PHASE_FREE))
    }

    /// The same for the models, whose atomics are made at run time.
    #[cfg(all(test, loom))]
    pub fn new() -> Self {
        Self(AtomicUsize::new(PHASE_FREE))
    }

    #[inline(always)]
    fn word(&self, order: Ordering) -> Word {
        Word(self.0.load(order))
    }

    /// Where the slot is in its life, as of now.
    #[inline(always)]
    pub fn state(&self) -> LifeState {
        self.word(Ordering::Acquire).state()
    }

    /// The current generation: what a reader must present to borrow.
    #[inline(always)]
    pub fn generation(&self) -> Generation {
        self.word(Ordering::Acquire).generation()
    }

    /// State and generation read at one instant.
    #[inline(always)]
    pub fn state_and_generation(&self) -> (LifeState, Generation) {
        let word = self.word(Ordering::Acquire);
        (word.state(), word.generation())
    }

    /// Hands the slot to an owner. The caller holds the slot (it came from a cache, the depot or
    /// the free list), so no other party writes the word: a plain store. All of the record is
    /// written before and visible to a borrower.
    #[inline(always)]
    pub(crate) fn make_live(&self) -> Generation {
        let word = self.word(Ordering::Relaxed);
        debug_assert!(matches!(word.state(), LifeState::Free | LifeState::Parked));
        let next = word.begun();
        self.0.store(next.0, Ordering::Release);
        next.generation()
    }

    /// Borrows the stack if `generation` is its present life and its owner still has it.
    pub(crate) fn try_borrow(&self, generation: Generation) -> Option<Borrow> {
        let mut word = self.word(Ordering::Relaxed);
        loop {
            let next = word.borrowed(generation)?;
            match self.0.compare_exchange_weak(word.0, next.0, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return Some(Borrow { generation }),
                Err(now) => word = Word(now),
            }
        }
    }

    /// The owner lets go. On [`Released::Last`] the caller takes the stack back.
    #[inline(always)]
    pub(crate) fn release_owner(&self) -> Released {
        // One subtraction decides: a borrow that came before it is in the value returned, one that
        // comes after it finds no owner and fails.
        let before = Word(self.0.fetch_sub(OWNER, Ordering::AcqRel));
        debug_assert!(before.state() == LifeState::Live);
        before.owner_released()
    }

    /// A borrower lets go. On [`Released::Last`] the caller takes the stack back.
    pub(crate) fn release_borrow(&self, borrow: Borrow) -> Released {
        let before = Word(self.0.fetch_sub(BORROW_ONE, Ordering::AcqRel));
        debug_assert!(before.generation() == borrow.generation);
        before.borrow_released()
    }

    /// The recycler is done: mapped, clean, about to go to a cache or the depot. Plain store by the
    /// only holder.
    #[inline(always)]
    pub(crate) fn park(&self) {
        let word = self.word(Ordering::Relaxed);
        debug_assert!(matches!(word.state(), LifeState::Recycling | LifeState::Free));
        self.0.store(word.resting(PHASE_PARKED).0, Ordering::Release);
    }

    /// Nothing is mapped any more. Plain store by the only holder.
    pub(crate) fn set_free(&self) {
        let word = self.word(Ordering::Relaxed);
        debug_assert!(!matches!(word.state(), LifeState::Live | LifeState::Ending));
        self.0.store(word.resting(PHASE_FREE).0, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
