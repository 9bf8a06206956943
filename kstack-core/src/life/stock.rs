//! A stock of charged pages per CPU, so that a stack from the cache is charged without a walk
//! through the tree of groups.
//!
//! ```text
//!   CPU 0: account 5, 28 pages      take 4 ──▶ 24        the tree is not looked at
//!   CPU 1: account 0, 60 pages      give 4 ──▶ over 63: half of it goes back to the tree
//!   CPU 2: account 0, 12 pages      give 4 to account 5 ──▶ the 12 go back, the 4 are its stock
//! ```
//!
//! The word of a stock, for which one subtraction and one comparison say whether the account is the
//! right one *and* there are enough pages, and one addition whether there is room:
//!
//! ```text
//!   31              7  6  5        0
//!   |    account      | 1 |  pages  |       pages below 0 or above 63 change bit 6
//! ```
//!
//! Invariants:
//!
//! 1. what is in a stock is charged to its account and to all above it: [`Accounts::used`], without
//!    the stocks, is what stacks have;
//! 2. a stock is never filled where a group would come within [`SPARED`] pages of its limit, no
//!    charge is refused before all stocks were emptied, and a limit is set by emptying them: what
//!    one CPU has in stock is not missing on another, and passes no limit;
//! 3. every change is a compare and exchange: any CPU may empty another's, and a thread that is
//!    moved to another CPU meanwhile takes from the one that it was on.
//!
//! What a kernel's `Backing::charge` does:
//!
//! ```
//! use kstack_core::groups::{Group, Groups};
//! use kstack_core::record::AccountId;
//! use kstack_core::stock::{Accounts, Stock};
//!
//! static PLACES: [Group; 3] = [Group::root(), Group::free(), Group::free()];
//! static STOCKS: [Stock; 4] = [const { Stock::new() }; 4];
//! let accounts = Accounts::new(Groups::over(&PLACES), || STOCKS.iter());
//! let group = Groups::over(&PLACES).create(AccountId::SYSTEM).expect("a place");
//! assert_eq!(accounts.set_limit(group, 8), Some(0));
//!
//! // The stock of the CPU that this runs on.
//! let own = &STOCKS[0];
//! let charge = |pages| {
//!     own.take(group, pages)
//!         || accounts.charge(own, group, pages).is_ok()
//!         // Under a lock: one caller at a time.
//!         || accounts.charge_last(group, pages).is_ok()
//! };
//! assert!(charge(4) && charge(4) && !charge(4));
//! assert_eq!(accounts.used(group), 8);
//! ```
//!
//! Neighbours: [`crate::groups`].

use crate::groups::{ACCOUNT_BITS, Groups, NotCharged};
use crate::record::AccountId;
#[cfg(not(all(test, loom)))]
use core::sync::atomic::{AtomicU32, Ordering};
#[cfg(all(test, loom))]
use loom::sync::atomic::{AtomicU32, Ordering};

const PAGE_BITS: u32 = 6;
const GUARD: u32 = 1 << PAGE_BITS;
const PAGES: u32 = GUARD - 1;
const _: () = assert!(ACCOUNT_BITS + 1 + PAGE_BITS == u32::BITS);

/// Pages that a stock is filled with.
const BATCH: u32 = GUARD / 2;

/// Pages below a limit within which no stock is filled.
pub const SPARED: u32 = 64;

/// Reads until two say the same.
const MAX_LOOKS: usize = 16;

/// What one CPU has in stock.
#[derive(Debug)]
#[repr(transparent)]
pub struct Stock(AtomicU32);

impl Default for Stock {
    fn default() -> Self {
        Self::new()
    }
}

/// The word of an account with so many pages.
#[inline(always)]
const fn word(account: AccountId, pages: u32) -> u32 {
    account.get() << (PAGE_BITS + 1) | GUARD | pages
}

/// Whether a word is of this account, with no fewer pages than 0 and no more than [`PAGES`].
#[inline(always)]
const fn is_of(word: u32, account: AccountId) -> bool {
    word >> PAGE_BITS == (account.get() << 1 | 1)
}

impl Stock {
    /// Nothing.
    #[cfg(not(all(test, loom)))]
    pub const fn new() -> Self {
        Self(AtomicU32::new(word(AccountId::SYSTEM, 0)))
    }

    /// The same for the models, whose atomics are made at run time.
    #[cfg(all(test, loom))]
    pub fn new() -> Self {
        Self(AtomicU32::new(word(AccountId::SYSTEM, 0)))
    }

    /// Takes pages for an account out, at most half a stock; whether it had them. No more than a
    /// load, a subtraction, a comparison and an exchange.
    #[inline(always)]
    pub fn take(&self, account: AccountId, pages: u32) -> bool {
        pages <= BATCH && self.step(account, |before| before.wrapping_sub(pages))
    }

    /// Puts pages of an account back, at most half a stock; whether there was room for them.
    #[inline(always)]
    pub fn give(&self, account: AccountId, pages: u32) -> bool {
        pages <= BATCH && self.step(account, |before| before.wrapping_add(pages))
    }

    #[inline(always)]
    fn step(&self, account: AccountId, next: impl Fn(u32) -> u32) -> bool {
        let before = self.0.load(Ordering::Relaxed);
        let next = next(before);
        is_of(next, account)
            && self.0.compare_exchange(before, next, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Which account, and how many pages.
    fn read(&self) -> (AccountId, u32) {
        Self::parts(self.0.load(Ordering::Acquire))
    }

    const fn parts(word: u32) -> (AccountId, u32) {
        (AccountId::new(word >> (PAGE_BITS + 1)), word & PAGES)
    }

    /// Puts another stock in its place; what it was.
    pub(crate) fn replace(&self, account: AccountId, pages: u32) -> (AccountId, u32) {
        Self::parts(self.0.swap(word(account, pages), Ordering::AcqRel))
    }
}

/// The tree of groups with the stocks of all CPUs.
#[derive(Clone, Copy, Debug)]
pub struct Accounts<'g, S> {
    groups: Groups<'g>,
    stocks: S,
}

impl<'g, 's, I, S> Accounts<'g, S>
where
    S: Fn() -> I,
    I: Iterator<Item = &'s Stock>,
{
    /// The groups, and what gives out each CPU's stock.
    pub const fn new(groups: Groups<'g>, stocks: S) -> Self {
        Self { groups, stocks }
    }

    /// Charges pages to an account where [`Stock::take`] had none for it, and fills the stock if
    /// there is plenty. For where waiting is allowed.
    ///
    /// # Errors
    ///
    /// As [`Groups::charge`]. Before it is said that a limit is reached,
    /// [`Accounts::charge_last`] must have been tried.
    pub fn charge(&self, own: &Stock, account: AccountId, pages: u32) -> Result<(), NotCharged> {
        if self.groups.charge_sparing(account, pages + BATCH, SPARED).is_ok() {
            self.put(own, account, BATCH);
            return Ok(());
        }
        self.groups.charge(account, pages)
    }

    /// Empties all stocks and tries once more; counts a refusal. One caller at a time: the pages
    /// that another one has just taken out of a stock are not back in the tree yet.
    ///
    /// # Errors
    ///
    /// As [`Groups::charge`].
    pub fn charge_last(&self, account: AccountId, pages: u32) -> Result<(), NotCharged> {
        self.drain();
        let charged = self.groups.charge(account, pages);
        if let Err(NotCharged::OverLimit(at)) = charged {
            self.groups.count_refusal(at);
        }
        charged
    }

    /// Ends a charge where [`Stock::give`] had no room for it. Never fails, takes no lock.
    pub fn uncharge(&self, own: &Stock, account: AccountId, pages: u32) {
        // A whole stock is halved, so that the next ones find room.
        if own.take(account, BATCH) {
            self.groups.uncharge(account, BATCH);
            if own.give(account, pages) {
                return;
            }
        }
        // What was removed wants its number free.
        if pages > BATCH || !self.groups.is_live(account) {
            self.groups.uncharge(account, pages);
            return;
        }
        self.put(own, account, pages);
    }

    /// Makes charged pages a stock; what it was goes back.
    fn put(&self, own: &Stock, account: AccountId, pages: u32) {
        if own.give(account, pages) {
            return;
        }
        let (other, left) = own.replace(account, pages);
        if left != 0 {
            self.groups.uncharge(other, left);
        }
    }

    /// Sets how many pages a group may have; says how many its stacks have now, which may be more.
    /// `None`: it is gone. What is in stock was charged before, and would pass the limit: the
    /// stocks are emptied. One that another CPU is about to fill has pages that fitted before.
    pub fn set_limit(&self, account: AccountId, pages: u32) -> Option<u32> {
        self.groups.set_limit(account, pages)?;
        self.drain();
        Some(self.used(account))
    }

    /// Empties the stocks of all CPUs.
    pub fn drain(&self) {
        for stock in (self.stocks)() {
            let (account, pages) = stock.replace(AccountId::SYSTEM, 0);
            if pages != 0 {
                self.groups.uncharge(account, pages);
            }
        }
    }

    /// Pages that stacks of a group and of those below it have: what is charged, without what is in
    /// stock. Exact when nothing is charged or uncharged meanwhile; reads again until nothing was,
    /// a few times.
    pub fn used(&self, account: AccountId) -> u32 {
        let read = || {
            let in_stock = (self.stocks)()
                .map(Stock::read)
                .filter(|&(other, pages)| pages != 0 && self.groups.is_within(other, account));
            let stocked: u32 = in_stock.map(|(_, pages)| pages).sum();
            (self.groups.charged(account), stocked)
        };
        let mut found = read();
        for _ in 0..MAX_LOOKS {
            let again = read();
            if again == found {
                break;
            }
            found = again;
        }
        found.0.saturating_sub(found.1)
    }
}
