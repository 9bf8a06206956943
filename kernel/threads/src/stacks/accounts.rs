//! Who pays for stacks: the groups of this kernel, and each CPU's stock of charged pages.
//!
//! ```text
//!   a stack from the cache        the CPU's stock: one exchange
//!   the stock is of another       the tree of groups, and 32 pages more for the stock
//!   a group is at its limit       all stocks are emptied, one caller at a time; then it counts
//! ```
//!
//! What the system has in all is the root's: `KernelStack` in /proc/meminfo.
//!
//! # Invariant
//!
//! Whatever changes both the tree and a stock is between two changes of [`MOVING`], with interrupts
//! off: in between, pages are in both or in neither. Who asks what stacks have waits until nothing
//! is on its way.

use core::hint::spin_loop;
use core::iter::Map;
use core::slice::Iter;
use core::sync::atomic::{AtomicU32, Ordering, fence};
use kstack::addr::PAGE_BYTES;
use kstack::groups::{Group, Groups, NotCharged, UNLIMITED};
use kstack::pool::OverLimit;
use kstack::record::AccountId;
use kstack::stock::{Accounts, Stock};
use machine::arch::cpu;
use machine::cpus::{self, Cpu};
use machine::spin::SpinLock;

/// The stocks of all CPUs.
type Stocks = Map<Iter<'static, Cpu>, fn(&'static Cpu) -> &'static Stock>;

static GROUPS: [Group; Groups::MOST] = {
    let mut places = [const { Group::free() }; Groups::MOST];
    places[0] = Group::root();
    places
};

static ACCOUNTS: Accounts<'static, fn() -> Stocks> = Accounts::new(Groups::over(&GROUPS), stocks);

/// Held by the one who charges the last pages.
static LAST: SpinLock<()> = SpinLock::new(());

/// How many move pages between the tree and stocks now, and how many have done so.
static MOVING: AtomicU32 = AtomicU32::new(0);
static MOVED: AtomicU32 = AtomicU32::new(0);
/// Looks at what stacks have, until one is of a moment when nothing was moved. Not without end: it
/// may be asked where what was interrupted is moving some.
const MAX_LOOKS: usize = 100_000;

/// Moves pages between the tree and stocks.
fn moving<R>(body: impl FnOnce() -> R) -> R {
    cpu::without_interrupts(|| {
        MOVING.fetch_add(1, Ordering::AcqRel);
        let result = body();
        MOVED.fetch_add(1, Ordering::AcqRel);
        MOVING.fetch_sub(1, Ordering::AcqRel);
        result
    })
}

fn stocks() -> Stocks {
    cpus::all().map(|cpu| &cpu.stock)
}

/// All groups.
pub const fn groups() -> Groups<'static> {
    Groups::over(&GROUPS)
}

/// Charges pages. A thread may be moved to another CPU meanwhile: it takes from the stock of the
/// one that it was on, which is as good.
#[inline(always)]
pub(super) fn charge(account: AccountId, pages: u32) -> Result<(), OverLimit> {
    if cpus::this().stock.take(account, pages) { Ok(()) } else { charge_tree(account, pages) }
}

#[cold]
#[inline(never)]
fn charge_tree(account: AccountId, pages: u32) -> Result<(), OverLimit> {
    match moving(|| ACCOUNTS.charge(&cpus::this().stock, account, pages)) {
        Ok(()) => Ok(()),
        // It was moved, and its group removed: the caller looks where it is now.
        Err(NotCharged::Gone) => Err(OverLimit),
        Err(_) => {
            let _alone = LAST.lock();
            moving(|| ACCOUNTS.charge_last(account, pages)).map_err(|_| OverLimit)
        }
    }
}

/// Ends a charge; in an interrupt handler, too.
#[inline(always)]
pub(super) fn uncharge(account: AccountId, pages: u32) {
    if !cpus::this().stock.give(account, pages) {
        uncharge_tree(account, pages);
    }
}

#[cold]
#[inline(never)]
fn uncharge_tree(account: AccountId, pages: u32) {
    moving(|| ACCOUNTS.uncharge(&cpus::this().stock, account, pages));
}

/// Gives back what all CPUs have in stock, so that the numbers of removed groups are free again.
pub fn drain() {
    let _alone = LAST.lock();
    moving(|| ACCOUNTS.drain());
}

/// Sets how many pages of stacks a group may have; says how many it has, `None` if it is gone.
pub fn set_group_limit(account: AccountId, pages: u32) -> Option<u32> {
    let _alone = LAST.lock();
    moving(|| ACCOUNTS.set_limit(account, pages))
}

/// Bytes of stacks that a group and those below it have now.
pub fn used_bytes(account: AccountId) -> usize {
    for _ in 0..MAX_LOOKS {
        let moved = MOVED.load(Ordering::Acquire);
        if MOVING.load(Ordering::Acquire) == 0 {
            let used = ACCOUNTS.used(account);
            fence(Ordering::Acquire);
            let is_still = MOVING.load(Ordering::Acquire) == 0;
            if is_still && MOVED.load(Ordering::Acquire) == moved {
                return used as usize * PAGE_BYTES;
            }
        }
        spin_loop();
    }
    ACCOUNTS.used(account) as usize * PAGE_BYTES
}

/// Bytes of all stacks in use: what `KernelStack` in /proc/meminfo says.
pub fn charged_bytes() -> usize {
    used_bytes(AccountId::SYSTEM)
}

/// Sets the most that all stacks may have; 0: no limit. Returns the old limit.
pub fn set_limit(bytes: usize) -> usize {
    let old = groups().limit(AccountId::SYSTEM);
    let pages = if bytes == 0 { UNLIMITED } else { (bytes / PAGE_BYTES) as u32 };
    let _used = set_group_limit(AccountId::SYSTEM, pages);
    if old == UNLIMITED { 0 } else { old as usize * PAGE_BYTES }
}
