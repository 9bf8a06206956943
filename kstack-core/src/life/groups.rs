//! Groups with limits, as a tree: who pays for a stack, and whether there may be one more.
//!
//! ```text
//!   root  limit none, usage 36 ──┬── a  limit 40, usage 36 ──┬── b  limit 8,  usage 4
//!                                │                           └── c  limit 32, usage 32
//!                                └── d  limit 16, usage 0
//!
//!   four pages charged to b: b 8, then a 40, then root 40
//!   four more: b refuses, and nothing has changed
//! ```
//!
//! A group is known by its [`AccountId`]: a place in the kernel's array, and which life of that
//! place is meant. All that decides is in one word per group:
//!
//! ```text
//!   63         49 48    47 46        32 31             0
//!   |   life     |  state  | children  |  pages charged  |
//! ```
//!
//! Invariants:
//!
//! 1. pages are charged to a group and to all above it, or to none of them: a charge that a group
//!    refuses is taken back from those below;
//! 2. a number is given out again only when its group was removed *and* nothing is charged to it:
//!    the pages of a stack hold the number that will be uncharged, whatever became of who made it.
//!    So no count of references is kept anywhere, and none is lost with a frame that an overflow
//!    gives up;
//! 3. a number of an earlier life charges nothing (`NotCharged::Gone`): who forked while it was
//!    moved to another group asks again with that one's number;
//! 4. a group with children is not removed, so what lies above a charge is there until that has
//!    ended;
//! 5. after [`Groups::set_limit`] has said how much is charged, no charge passes the limit;
//! 6. [`Groups::uncharge`] cannot fail and takes no lock: usable in an interrupt handler.
//!
//! Two who charge at once below one group near its limit may both be refused, where one after the
//! other would fit: each saw pages that the other gave back a moment later, refused further up.
//!
//! A life has 15 bits: a number that is kept while its place has exactly 2^15 later groups is not
//! recognised as stale.
//!
//! Neighbours: [`crate::stock`] keeps a hit from walking the tree; [`crate::pool`] says when a
//! stack is charged, [`crate::record`] keeps to whom.

use crate::record::AccountId;
use crate::sentences::sentences;
#[cfg(not(all(test, loom)))]
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(all(test, loom))]
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Bits of an [`AccountId`] that say which place.
const PLACE_BITS: u32 = 10;
/// Bits that say which life of it.
const LIFE_BITS: u32 = 15;
const LIFE_MASK: u32 = (1 << LIFE_BITS) - 1;

/// Bits of the number of an account of [`Groups`].
pub(crate) const ACCOUNT_BITS: u32 = PLACE_BITS + LIFE_BITS;

/// No limit.
pub const UNLIMITED: u32 = u32::MAX;

/// Why nothing was charged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NotCharged {
    /// This group would be over its limit: the one that was asked for, or one above.
    OverLimit(AccountId),
    /// There is no such group any more.
    Gone,
}

impl core::fmt::Display for NotCharged {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::OverLimit(group) => write!(f, "group {group} would be over its limit"),
            Self::Gone => f.write_str("the group is gone"),
        }
    }
}

impl core::error::Error for NotCharged {}

/// Why a group was not made or not removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum GroupError {
    /// Every place is in use, or held by pages of a group that was removed.
    NoRoom,
    /// The group, or the one above it, is gone.
    Gone,
    /// There are groups below.
    HasChildren,
}

sentences!(GroupError {
    NoRoom => "every place for a group is in use",
    Gone => "the group is gone",
    HasChildren => "there are groups below this one",
});

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// May be given out.
    Free,
    /// Is being made.
    Claimed,
    Live,
    /// Removed; pages are charged to it still.
    Removed,
}

/// The word as a value: all decisions, no atomics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Word(u64);

const CHILD_ONE: u64 = 1 << 32;
const CHILD_MASK: u64 = 0x7fff << 32;
const STATE_SHIFT: u32 = 47;
const LIFE_SHIFT: u32 = 49;

impl Word {
    const fn of(life: u32, state: State) -> Self {
        Self((life as u64) << LIFE_SHIFT | (state as u64) << STATE_SHIFT)
    }

    const fn life(self) -> u32 {
        (self.0 >> LIFE_SHIFT) as u32
    }

    const fn state(self) -> State {
        match self.0 >> STATE_SHIFT & 3 {
            0 => State::Free,
            1 => State::Claimed,
            2 => State::Live,
            _ => State::Removed,
        }
    }

    const fn pages(self) -> u32 {
        self.0 as u32
    }

    const fn has_children(self) -> bool {
        self.0 & CHILD_MASK != 0
    }

    const fn is_live(self, life: u32) -> bool {
        self.life() == life && matches!(self.state(), State::Live)
    }

    /// With more pages, if that is no more than `most`.
    fn charged(self, pages: u32, most: u32) -> Option<Self> {
        let sum = self.pages().checked_add(pages).filter(|&sum| sum <= most)?;
        Some(Self(self.0 - u64::from(self.pages()) + u64::from(sum)))
    }

    /// With fewer pages; one that was removed and has none left is free.
    const fn uncharged(self, pages: u32) -> Self {
        debug_assert!(self.pages() >= pages);
        Self(self.0 - pages as u64).settled()
    }

    /// Removed: free at once, if nothing is charged to it.
    const fn removed(self) -> Self {
        Self(self.0 | 3 << STATE_SHIFT).settled()
    }

    const fn settled(self) -> Self {
        match self.state() {
            State::Removed if self.pages() == 0 => Self::of(self.life(), State::Free),
            _ => self,
        }
    }
}

/// What is known about one place for a group.
#[derive(Debug)]
pub struct Group {
    word: AtomicU64,
    /// Pages that may be charged at most.
    limit: AtomicU32,
    /// The account above; the root's is itself.
    above: AtomicU32,
    /// Charges that this group refused, and that groups below it did.
    refusals: AtomicU32,
    own_refusals: AtomicU32,
}

impl Group {
    /// The root, which is always there: [`AccountId::SYSTEM`].
    #[cfg(not(all(test, loom)))]
    pub const fn root() -> Self {
        Self::of(Word::of(0, State::Live))
    }

    /// A place for another group.
    #[cfg(not(all(test, loom)))]
    pub const fn free() -> Self {
        Self::of(Word::of(0, State::Free))
    }

    #[cfg(not(all(test, loom)))]
    const fn of(word: Word) -> Self {
        Self {
            word: AtomicU64::new(word.0),
            limit: AtomicU32::new(UNLIMITED),
            above: AtomicU32::new(0),
            refusals: AtomicU32::new(0),
            own_refusals: AtomicU32::new(0),
        }
    }

    /// The root for the models, whose atomics are made at run time.
    #[cfg(all(test, loom))]
    pub fn root() -> Self {
        Self::of(Word::of(0, State::Live))
    }

    /// A place for the models.
    #[cfg(all(test, loom))]
    pub fn free() -> Self {
        Self::of(Word::of(0, State::Free))
    }

    #[cfg(all(test, loom))]
    fn of(word: Word) -> Self {
        Self {
            word: AtomicU64::new(word.0),
            limit: AtomicU32::new(UNLIMITED),
            above: AtomicU32::new(0),
            refusals: AtomicU32::new(0),
            own_refusals: AtomicU32::new(0),
        }
    }

    fn word(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    /// Changes the word to what `next` makes of it; `Err`: what it says instead.
    fn change<E>(&self, next: impl Fn(Word) -> Result<Word, E>) -> Result<Word, E> {
        let mut word = self.word();
        loop {
            let to = next(word)?;
            let order = (Ordering::AcqRel, Ordering::Acquire);
            match self.word.compare_exchange_weak(word.0, to.0, order.0, order.1) {
                Ok(_) => return Ok(word),
                Err(now) => word = Word(now),
            }
        }
    }
}

/// The tree, over an array that the kernel provides.
#[derive(Clone, Copy, Debug)]
pub struct Groups<'g>(&'g [Group]);

/// The place of an account, and the life of it that is meant.
const fn place_and_life(account: AccountId) -> (usize, u32) {
    let number = account.get();
    ((number & ((1 << PLACE_BITS) - 1)) as usize, number >> PLACE_BITS)
}

impl<'g> Groups<'g> {
    /// Places for so many groups at most.
    pub const MOST: usize = 1 << PLACE_BITS;

    /// The tree of these places, the first of which is [`Group::root`] and each other
    /// [`Group::free`]. Those behind the first [`Groups::MOST`] are never used.
    pub const fn over(places: &'g [Group]) -> Self {
        Self(places)
    }

    /// The place of an account, and which life is meant; `None`: no account has that number.
    fn find(&self, account: AccountId) -> Option<(&'g Group, u32)> {
        let (place, life) = place_and_life(account);
        Some((self.0.get(place)?, life))
    }

    /// Makes a group below another, without a limit. Looks through all places: for where waiting
    /// is allowed.
    ///
    /// # Errors
    ///
    /// [`GroupError::NoRoom`], or [`GroupError::Gone`] if there is no `above`.
    pub fn create(&self, above: AccountId) -> Result<AccountId, GroupError> {
        let (parent, parent_life) = self.find(above).ok_or(GroupError::Gone)?;
        // First, so that what is above stays.
        parent.change(|word| match word.is_live(parent_life) {
            true if word.0 & CHILD_MASK == CHILD_MASK => Err(GroupError::NoRoom),
            true => Ok(Word(word.0 + CHILD_ONE)),
            false => Err(GroupError::Gone),
        })?;
        for (place, group) in self.0.iter().enumerate().take(Self::MOST).skip(1) {
            let claimed = group.change(|word| match word.state() {
                State::Free => {
                    let life = word.life().wrapping_add(1) & LIFE_MASK;
                    Ok(Word::of(life, State::Claimed))
                }
                _ => Err(()),
            });
            let Ok(before) = claimed else { continue };
            let life = before.life().wrapping_add(1) & LIFE_MASK;
            // For the stores below: who sees one of them sees that the life before is over.
            fence(Ordering::Release);
            group.limit.store(UNLIMITED, Ordering::Relaxed);
            group.above.store(above.get(), Ordering::Relaxed);
            group.refusals.store(0, Ordering::Relaxed);
            group.own_refusals.store(0, Ordering::Relaxed);
            // A release: who finds it live finds all of that.
            group.word.store(Word::of(life, State::Live).0, Ordering::Release);
            return Ok(AccountId::new(life << PLACE_BITS | place as u32));
        }
        self.lose_child(above);
        Err(GroupError::NoRoom)
    }

    /// Removes a group. Its number stays in use until nothing is charged to it.
    ///
    /// # Errors
    ///
    /// [`GroupError::HasChildren`], or [`GroupError::Gone`]; the root is never removed
    /// ([`GroupError::HasChildren`]).
    pub fn remove(&self, account: AccountId) -> Result<(), GroupError> {
        if account == AccountId::SYSTEM {
            return Err(GroupError::HasChildren);
        }
        let (group, life) = self.find(account).ok_or(GroupError::Gone)?;
        // Before another group may have the place.
        let above = self.above(account).ok_or(GroupError::Gone)?;
        group.change(|word| match word.is_live(life) {
            true if word.has_children() => Err(GroupError::HasChildren),
            true => Ok(word.removed()),
            false => Err(GroupError::Gone),
        })?;
        self.lose_child(above);
        Ok(())
    }

    fn lose_child(&self, above: AccountId) {
        if let Some((parent, _)) = self.find(above) {
            // It is there as long as it has children.
            let _before = parent.change(|word| {
                debug_assert!(word.has_children());
                Ok::<_, ()>(Word(word.0 - CHILD_ONE))
            });
        }
    }

    /// Whether a group is there.
    pub fn is_live(&self, account: AccountId) -> bool {
        self.find(account).is_some_and(|(group, life)| group.word().is_live(life))
    }

    /// The group above another; `None` for the root, and for one that is gone.
    pub fn above(&self, account: AccountId) -> Option<AccountId> {
        let (group, life) = self.find(account).filter(|_| account != AccountId::SYSTEM)?;
        // The word is read behind it: a place that is claimed anew has another life by then.
        let above = AccountId::new(group.above.load(Ordering::Acquire));
        let word = group.word();
        let is_there = word.life() == life && !matches!(word.state(), State::Free | State::Claimed);
        is_there.then_some(above)
    }

    /// Whether a group is another one, or lies below it.
    pub fn is_within(&self, account: AccountId, other: AccountId) -> bool {
        let mut at = Some(account);
        while let Some(group) = at {
            if group == other {
                return true;
            }
            at = self.above(group);
        }
        false
    }

    /// Charges pages to a group and to all above it. Takes no lock; costs a few instructions for
    /// each of them.
    ///
    /// # Errors
    ///
    /// [`NotCharged`]; nothing is charged then.
    pub fn charge(&self, account: AccountId, pages: u32) -> Result<(), NotCharged> {
        self.charge_sparing(account, pages, 0)
    }

    /// The same if `spared` pages would be left to each group with a limit.
    pub(crate) fn charge_sparing(
        &self,
        account: AccountId,
        pages: u32,
        spared: u32,
    ) -> Result<(), NotCharged> {
        let mut at = account;
        loop {
            if let Err(error) = self.charge_one(at, pages, spared) {
                self.uncharge_up_to(account, at, pages);
                return Err(error);
            }
            // What was just charged holds it; there is none above the root.
            match self.above(at) {
                Some(above) => at = above,
                None => return Ok(()),
            }
        }
    }

    fn charge_one(&self, at: AccountId, pages: u32, spared: u32) -> Result<(), NotCharged> {
        let (group, life) = self.find(at).ok_or(NotCharged::Gone)?;
        let most = || match group.limit.load(Ordering::Relaxed) {
            UNLIMITED => UNLIMITED,
            limit => limit.saturating_sub(spared),
        };
        group.change(|word| match word.is_live(life) {
            true => word.charged(pages, most()).ok_or(NotCharged::OverLimit(at)),
            false => Err(NotCharged::Gone),
        })?;
        // A limit that was set meanwhile: who set it changed the word afterwards. Either that came
        // before the change above, which acquired it, or they saw these pages.
        if group.word().pages() > most() {
            self.uncharge_one(at, pages);
            return Err(NotCharged::OverLimit(at));
        }
        Ok(())
    }

    /// Ends a charge: of the group and of all above it. Never fails, takes no lock: for an
    /// interrupt handler, too.
    pub fn uncharge(&self, account: AccountId, pages: u32) {
        let mut at = Some(account);
        while let Some(group) = at {
            at = self.uncharge_one(group, pages);
        }
    }

    /// The same below `end`.
    fn uncharge_up_to(&self, account: AccountId, end: AccountId, pages: u32) {
        let mut at = account;
        while at != end {
            let Some(above) = self.uncharge_one(at, pages) else { break };
            at = above;
        }
    }

    /// Says what is above, asked before another group may have the place.
    fn uncharge_one(&self, at: AccountId, pages: u32) -> Option<AccountId> {
        let (group, _) = self.find(at)?;
        let above = self.above(at);
        let _before = group.change(|word| Ok::<_, ()>(word.uncharged(pages)));
        above
    }

    /// Sets how many pages a group may have; says how many it has now, which may be more. `None`:
    /// it is gone.
    pub fn set_limit(&self, account: AccountId, pages: u32) -> Option<u32> {
        let (group, life) = self.find(account)?;
        group.word().is_live(life).then_some(())?;
        group.limit.store(pages, Ordering::Relaxed);
        // A change of the word that changes nothing: it orders the limit against each charge.
        let before = group.change(Ok::<_, ()>);
        before.ok().filter(|word| word.is_live(life)).map(Word::pages)
    }

    /// How many pages a group may have; [`UNLIMITED`]: any number.
    pub fn limit(&self, account: AccountId) -> u32 {
        self.find(account).map_or(0, |(group, _)| group.limit.load(Ordering::Relaxed))
    }

    /// How many pages are charged to a group, with those that CPUs have in stock: see
    /// [`Accounts::used`](crate::stock::Accounts::used).
    pub fn charged(&self, account: AccountId) -> u32 {
        let found = self.find(account).map(|(group, life)| (group.word(), life));
        found.filter(|(word, life)| word.life() == *life).map_or(0, |(word, _)| word.pages())
    }

    /// Counts that a group refused: for it and for all above.
    pub(crate) fn count_refusal(&self, account: AccountId) {
        if let Some((group, _)) = self.find(account) {
            group.own_refusals.fetch_add(1, Ordering::Relaxed);
        }
        let mut at = Some(account);
        while let Some((group, _)) = at.and_then(|at| self.find(at)) {
            group.refusals.fetch_add(1, Ordering::Relaxed);
            at = at.and_then(|at| self.above(at));
        }
    }

    /// How often a group or one below it refused, and how often this one alone.
    pub fn refusals(&self, account: AccountId) -> (u32, u32) {
        self.find(account).map_or((0, 0), |(group, _)| {
            let all = group.refusals.load(Ordering::Relaxed);
            (all, group.own_refusals.load(Ordering::Relaxed))
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
