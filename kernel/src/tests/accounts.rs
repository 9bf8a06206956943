//! Groups with limits: who pays for a stack, from its first page to its last reader.

use super::support::{on_every_cpu, until};
use super::{Outcome, check};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use kstack::groups::{GroupError, UNLIMITED};
use kstack::record::AccountId;
use kstack::stacks::ThreadId;
use machine::memory::frames;
use machine::spin::SpinLock;
use threads::sched;
use threads::stacks::accounts::{self, groups};
use threads::stacks::{self, OwnedStack, StackError, pages};

/// Two groups, one below the other; removed when the test is over.
struct Pair {
    above: AccountId,
    below: AccountId,
}

impl Pair {
    fn new() -> Result<Self, String> {
        let create = |above| groups().create(above).map_err(|error| format!("{error}"));
        let above = create(AccountId::SYSTEM)?;
        Ok(Self { above, below: create(above)? })
    }

    /// Bytes of both.
    fn used(&self) -> [usize; 2] {
        [self.above, self.below].map(accounts::used_bytes)
    }

    fn acquire(&self) -> Result<OwnedStack, StackError> {
        stacks::acquire_charged(ThreadId::NONE, self.below)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _gone_already = groups().remove(self.below);
        let _gone_already = groups().remove(self.above);
        accounts::drain();
    }
}

fn body() -> usize {
    stacks::arena().geometry().body().get()
}

fn text(error: impl core::fmt::Debug) -> String {
    format!("{error:?}")
}

/// Mapped anew, from the cache, from the depot, and borrowed beyond its owner: it is charged once
/// all along, to its group and to the one above, and to neither afterwards. Red if a stack keeps
/// the account of the owner before, or if a borrow ends the charge.
pub fn t7_t8_a_charge_follows_the_stack_through_cache_depot_and_borrow() -> Outcome {
    let pair = Pair::new()?;
    let before = pages::charged_bytes();
    let check_used = |what: &str, number: usize| -> Outcome {
        let (used, all) = (pair.used(), pages::charged_bytes());
        check!(used == [number * body(); 2], "{what}: {used:?}");
        check!(all == before + number * body(), "{what}: {all} in all, {before} before");
        Ok(())
    };
    check_used("nothing yet", 0)?;
    stacks::drain_this_cpu();
    stacks::reclaim(u32::MAX);
    // Mapped anew, the most of them.
    let many: Result<Vec<_>, _> = (0..20).map(|_| pair.acquire()).collect();
    let many = many.map_err(text)?;
    check_used("taken", 20)?;
    drop(many);
    check_used("given back", 0)?;
    // The same ones, to the system: nothing of the group is left on them.
    let again: Result<Vec<_>, _> =
        (0..20).map(|_| stacks::acquire_thread(ThreadId::NONE)).collect();
    let again = again.map_err(text)?;
    check!(pair.used() == [0; 2], "others' stacks are the group's: {:?}", pair.used());
    drop(again);
    let cached = pair.acquire().map_err(text)?;
    check_used("from the cache", 1)?;
    let borrowed = cached.stacks().borrow(cached.as_ref()).ok_or("no borrow")?;
    drop(cached);
    check_used("borrowed", 1)?;
    drop(borrowed);
    check_used("no longer borrowed", 0)
}

/// The frames for a group's stack fail one after the other: nothing is charged, at either level,
/// and the last attempt is. Red if the charge stays when a page is missing.
pub fn t7_t11_a_stack_that_cannot_be_mapped_is_charged_to_no_group() -> Outcome {
    let pair = Pair::new()?;
    on_every_cpu(|_| {
        stacks::drain_this_cpu();
        Ok(())
    })?;
    until("nothing is parked", || {
        stacks::reclaim(u32::MAX);
        stacks::census().parked == 0
    })?;
    let before = pages::charged_bytes();
    let mut held = Vec::new();
    let mut failures = 0;
    for _ in 0..20 {
        for failing in 0.. {
            frames::fail_after(failing);
            let stack = pair.acquire();
            frames::stop_failing();
            let number = held.len() + usize::from(stack.is_ok());
            check!(pair.used() == [number * body(); 2], "frame {failing}: {:?}", pair.used());
            let all = pages::charged_bytes();
            check!(all == before + number * body(), "frame {failing}: {all}, {before} before");
            match stack {
                Ok(stack) => {
                    held.push(stack);
                    break;
                }
                Err(StackError::NoMemory | StackError::NoPageTable) => failures += 1,
                Err(other) => return Err(format!("frame {failing}: {other:?}")),
            }
        }
    }
    drop(held);
    check!(failures > 20, "{failures} frames failed");
    check!(pair.used() == [0; 2], "{:?} left", pair.used());
    Ok(())
}

/// A group above is at its limit, by stacks from each CPU's stock: those below it are refused,
/// others are not, and one that is given back is enough for the next. Red if a stock is left full
/// while a group is refused, or one refusal stays charged below.
pub fn t7_t11_over_a_groups_limit_creation_fails_and_charges_nothing() -> Outcome {
    let pair = Pair::new()?;
    let other = groups().create(pair.above).map_err(text)?;
    let outcome = (|| {
        // Leaves pages in stock.
        drop(pair.acquire().map_err(text)?);
        let limit = (3 * body() / frames::FRAME_BYTES as usize) as u32;
        check!(accounts::set_group_limit(pair.above, limit).is_some(), "the group is gone");
        let refused = groups().refusals(pair.above);
        let first = pair.acquire().map_err(text)?;
        let second = stacks::acquire_charged(ThreadId::NONE, other).map_err(text)?;
        let third = pair.acquire().map_err(text)?;
        for round in 1..=3 {
            let fourth = pair.acquire().map(|_| ());
            check!(fourth == Err(StackError::OverLimit), "{fourth:?}");
            check!(pair.used() == [3 * body(), 2 * body()], "{:?}", pair.used());
            let counted = groups().refusals(pair.above);
            check!(counted == (refused.0 + round, refused.1 + round), "{counted:?}");
            drop(stacks::acquire_thread(ThreadId::NONE).map_err(text)?);
        }
        drop(second);
        let fourth = pair.acquire().map_err(text)?;
        drop((first, third, fourth));
        check!(accounts::set_group_limit(pair.above, UNLIMITED) == Some(0), "pages are left");
        Ok(())
    })();
    let _used = groups().remove(other);
    outcome
}

/// A group is removed while a stack of it lives on: its number is not given out before that is
/// back, on another CPU, and then it is. Red if removing frees the place at once, or a stock keeps
/// it.
pub fn t7_a_number_is_not_reused_while_a_stack_may_still_be_uncharged() -> Outcome {
    static LEFT: SpinLock<Option<OwnedStack>> = SpinLock::new(None);
    let place = |account: AccountId| account.get() % 1024;
    let pair = Pair::new()?;
    *LEFT.lock() = Some(pair.acquire().map_err(text)?);
    let taken = place(pair.below);
    check!(groups().remove(pair.above) == Err(GroupError::HasChildren), "it has one below");
    check!(groups().remove(pair.below).is_ok() && groups().remove(pair.above).is_ok(), "removed");
    accounts::drain();
    let refused = pair.acquire().map(|_| ());
    check!(refused == Err(StackError::OverLimit), "charged to a group that is gone: {refused:?}");
    let make_many = || -> Vec<AccountId> {
        (0..16).filter_map(|_| groups().create(AccountId::SYSTEM).ok()).collect()
    };
    let has_it = |made: &[AccountId]| made.iter().any(|&one| place(one) == taken);
    let made = make_many();
    let early = has_it(&made);
    let giver = sched::spawn_kernel("giving", |_| drop(LEFT.lock().take()), 0).map_err(text)?;
    giver.join();
    let more = make_many();
    let late = has_it(&more);
    let used: usize = made.iter().chain(&more).map(|&one| accounts::used_bytes(one)).sum();
    made.iter().chain(&more).for_each(|&one| {
        let _removed = groups().remove(one);
    });
    check!(!early, "place {taken} has a new group while a stack of the old one lives");
    check!(late, "place {taken} is still kept");
    check!(used == 0, "{used} bytes are charged to new groups");
    Ok(())
}

/// Makers on all CPUs, each with one stack at a time and a group of its own: at every moment what
/// is charged lies between none and all of them, and what is left at the end is nothing. Red if a
/// stock is counted as used, or twice.
pub fn t7_what_all_stacks_have_is_right_while_groups_take_and_give() -> Outcome {
    const MAKERS: usize = 4;
    static STOP: AtomicBool = AtomicBool::new(false);
    static ROUNDS: AtomicU32 = AtomicU32::new(0);
    static ACCOUNTS: SpinLock<Vec<AccountId>> = SpinLock::new(Vec::new());
    fn make(number: usize) {
        let account = ACCOUNTS.lock()[number];
        while !STOP.load(Ordering::Relaxed) {
            let _refused = stacks::acquire_charged(ThreadId::NONE, account).map(drop);
            ROUNDS.fetch_add(1, Ordering::Relaxed);
        }
    }
    STOP.store(false, Ordering::Relaxed);
    ROUNDS.store(0, Ordering::Relaxed);
    let made: Result<Vec<_>, _> = (0..MAKERS).map(|_| groups().create(AccountId::SYSTEM)).collect();
    let made = made.map_err(text)?;
    *ACCOUNTS.lock() = made.clone();
    let before = pages::charged_bytes();
    let makers: Result<Vec<_>, _> =
        (0..MAKERS).map(|number| sched::spawn_kernel("making", make, number)).collect();
    let makers = makers.map_err(text)?;
    let mut wrong = None;
    let seen = until("they have made many", || {
        let now = pages::charged_bytes();
        // The makers' own stacks, and one more of each.
        if !(before + MAKERS * body()..=before + 2 * MAKERS * body()).contains(&now) {
            wrong = Some(now);
        }
        ROUNDS.load(Ordering::Relaxed) > 20_000
    });
    STOP.store(true, Ordering::Relaxed);
    for maker in makers {
        maker.join();
    }
    let left: Vec<usize> = made.iter().map(|&one| accounts::used_bytes(one)).collect();
    accounts::drain();
    let charged: Vec<u32> = made.iter().map(|&one| groups().charged(one)).collect();
    made.iter().for_each(|&one| {
        let _removed = groups().remove(one);
    });
    seen?;
    check!(wrong.is_none(), "{wrong:?} bytes at one moment, {before} before");
    check!(left == [0; MAKERS] && charged == [0; MAKERS], "left: {left:?}, {charged:?}");
    let after = pages::charged_bytes();
    check!(after == before, "{after} bytes, {before} before");
    Ok(())
}
