//! The rule of groups and stocks, one caller after another; `models` has them at once.

use super::{Group, GroupError, Groups, NotCharged, UNLIMITED};
use crate::record::AccountId;
use crate::stock::{Accounts, Stock};
use std::vec::Vec;

const ROOT: AccountId = AccountId::SYSTEM;

fn places(count: usize) -> Vec<Group> {
    let mut all = std::vec![Group::root()];
    all.resize_with(count, Group::free);
    all
}

/// Red if what a group refuses stays charged below it.
#[test]
fn t7_t11_a_charge_that_is_refused_further_up_leaves_nothing() {
    let places = places(8);
    let groups = Groups::over(&places);
    let a = groups.create(ROOT).expect("room");
    let b = groups.create(a).expect("room");
    let c = groups.create(b).expect("room");
    assert_eq!(groups.set_limit(a, 10), Some(0));
    assert_eq!(groups.set_limit(c, 100), Some(0));
    assert_eq!(groups.charge(c, 8), Ok(()));
    assert_eq!(groups.charge(c, 4), Err(NotCharged::OverLimit(a)));
    assert_eq!([c, b, a, ROOT].map(|one| groups.charged(one)), [8; 4]);
    assert_eq!(groups.charge(c, 2), Ok(()));
    groups.uncharge(c, 10);
    assert_eq!([c, b, a, ROOT].map(|one| groups.charged(one)), [0; 4]);
}

/// Red if the limit of the root counts for nothing, or one page too many or few.
#[test]
fn t7_a_limit_is_exact_at_each_level() {
    let places = places(4);
    let groups = Groups::over(&places);
    let a = groups.create(ROOT).expect("room");
    let b = groups.create(a).expect("room");
    for (at, limit) in [(ROOT, 5), (a, 4), (b, 3)] {
        assert_eq!(groups.limit(at), UNLIMITED);
        let _used = groups.set_limit(at, limit);
        assert_eq!(groups.charge(b, limit + 1), Err(NotCharged::OverLimit(at)));
        assert_eq!(groups.charge(b, limit), Ok(()));
        groups.uncharge(b, limit);
    }
    assert_eq!(groups.charge(a, u32::MAX), Err(NotCharged::OverLimit(a)));
    assert_eq!(groups.set_limit(a, UNLIMITED), Some(0));
    assert_eq!(groups.set_limit(ROOT, UNLIMITED), Some(0));
    // No sum wraps.
    assert_eq!(groups.charge(a, u32::MAX), Ok(()));
    assert_eq!(groups.charge(a, 1), Err(NotCharged::OverLimit(a)));
}

/// Red if a place is free as soon as its group is removed.
#[test]
fn t7_a_number_is_not_given_out_again_while_pages_are_charged_to_it() {
    let places = places(2);
    let groups = Groups::over(&places);
    let a = groups.create(ROOT).expect("room");
    assert_eq!(groups.create(ROOT), Err(GroupError::NoRoom));
    assert_eq!(groups.charge(a, 4), Ok(()));
    assert_eq!(groups.remove(a), Ok(()));
    assert_eq!(groups.remove(a), Err(GroupError::Gone));
    assert_eq!(groups.charge(a, 1), Err(NotCharged::Gone), "it has ended");
    assert_eq!(groups.set_limit(a, 1), None);
    assert_eq!(groups.create(ROOT), Err(GroupError::NoRoom), "four pages hold the number");
    assert_eq!(groups.charged(ROOT), 4);
    groups.uncharge(a, 4);
    assert_eq!(groups.charged(ROOT), 0);
    let b = groups.create(ROOT).expect("nothing holds it");
    assert!(a != b, "another life");
    assert_eq!(groups.charge(a, 1), Err(NotCharged::Gone), "the number of the one before");
    assert_eq!((groups.charged(b), groups.limit(b)), (0, UNLIMITED));
    assert!(!groups.is_live(a) && groups.is_live(b));
}

/// Red if a group is removed from above others, or a group that could not be made stays counted.
#[test]
fn t7_t11_a_group_with_children_stays() {
    let places = places(3);
    let groups = Groups::over(&places);
    let a = groups.create(ROOT).expect("room");
    let b = groups.create(a).expect("room");
    assert_eq!(groups.create(b), Err(GroupError::NoRoom));
    assert_eq!(groups.remove(a), Err(GroupError::HasChildren));
    assert_eq!(groups.remove(ROOT), Err(GroupError::HasChildren));
    assert_eq!(groups.remove(b), Ok(()));
    assert_eq!(groups.create(b), Err(GroupError::Gone));
    assert_eq!(groups.remove(a), Ok(()));
    assert!(!groups.is_live(a) && groups.is_live(ROOT));
    let far = AccountId::new(77);
    assert_eq!(groups.create(far), Err(GroupError::Gone));
    assert_eq!(groups.remove(far), Err(GroupError::Gone));
}

/// Red if a removed child lets what is above it go before its last page: the page would be taken
/// from another group.
#[test]
fn t7_a_late_uncharge_finds_all_that_was_above() {
    let places = places(3);
    let groups = Groups::over(&places);
    let a = groups.create(ROOT).expect("room");
    let b = groups.create(a).expect("room");
    assert_eq!(groups.charge(b, 4), Ok(()));
    assert_eq!((groups.remove(b), groups.remove(a)), (Ok(()), Ok(())));
    assert_eq!(groups.create(ROOT), Err(GroupError::NoRoom));
    assert!(groups.is_within(b, a) && groups.is_within(b, ROOT) && !groups.is_within(a, b));
    groups.uncharge(b, 4);
    let (c, d) = (groups.create(ROOT), groups.create(ROOT));
    assert_eq!([c, d].map(|made| made.map(|made| groups.charged(made))), [Ok(0); 2]);
}

/// A life that wraps is a life: red if a place is lost with its last one.
#[test]
fn t7_a_place_has_more_groups_than_it_has_lives() {
    let places = places(2);
    let groups = Groups::over(&places);
    for _ in 0..70_000 {
        let a = groups.create(ROOT).expect("room");
        assert!(a != ROOT && groups.is_live(a));
        assert_eq!(groups.remove(a), Ok(()));
    }
}

/// Red if a stock answers for another account, with pages it has not, or takes in what it has no
/// room for: also where a neighbour's number differs in one bit.
#[test]
fn t7_a_stock_is_of_one_account_and_has_what_it_was_given() {
    let (mine, next) = (AccountId::new(6), AccountId::new(7));
    let stock = Stock::new();
    assert!(stock.take(ROOT, 0) && !stock.take(ROOT, 1), "it is empty");
    assert!(!stock.give(mine, 1), "it is the root's");
    assert_eq!(stock.replace(mine, 0), (ROOT, 0));
    for other in [ROOT, AccountId::new(5), next] {
        assert!(!stock.take(other, 1) && !stock.take(other, 0), "{other}");
    }
    let mut has = 0;
    for pages in [32, 31] {
        assert!(stock.give(mine, pages));
        has += pages;
    }
    for pages in 1..=32 {
        assert!(!stock.give(mine, pages), "there is no room");
    }
    while has >= 4 {
        assert!(stock.take(mine, 4));
        has -= 4;
    }
    assert!(stock.take(mine, 3) && !stock.take(mine, 1));
    assert!(!stock.take(next, 1) && !stock.take(AccountId::new(5), 1));
    assert!(!stock.give(mine, 33) && !stock.take(mine, 33), "more than half a stock");
}

/// At random, over four stocks, against a plain sum: what is used is what was taken and not given
/// back, in each group; no limit is passed, and none is felt early once all stocks were emptied.
/// Red if a stock is forgotten, counted for a group beside its own, or filled near a limit.
#[test]
fn t7_t11_stocks_change_nothing_of_what_is_used_or_refused() {
    let places = places(16);
    let groups = Groups::over(&places);
    let stocks: Vec<Stock> = (0..4).map(|_| Stock::new()).collect();
    let accounts = Accounts::new(groups, || stocks.iter());
    let a = groups.create(ROOT).expect("room");
    let b = groups.create(a).expect("room");
    let c = groups.create(a).expect("room");
    let d = groups.create(ROOT).expect("room");
    let tree = [(ROOT, None), (a, Some(0)), (b, Some(1)), (c, Some(1)), (d, Some(0))];
    let limits = [UNLIMITED, 300, 150, UNLIMITED, 40];
    for ((account, _), limit) in tree.iter().zip(limits) {
        let _used = groups.set_limit(*account, limit);
    }
    let mut used = [0_u32; 5];
    let mut held: Vec<(usize, u32)> = Vec::new();
    let mut random = 1_u64;
    let mut refused = 0;
    for _ in 0..60_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        let dice = (random >> 33) as usize;
        let own = &stocks[dice % 4];
        let above = |mut at: usize| {
            let mut all = std::vec![at];
            while let Some(next) = tree[at].1 {
                all.push(next);
                at = next;
            }
            all
        };
        if dice % 128 < 70 || held.is_empty() {
            let (whose, pages) = (dice / 128 % 5, if dice % 9 == 0 { 1 } else { 4 });
            let account = tree[whose].0;
            let fits = above(whose).iter().all(|&at| used[at] + pages <= limits[at]);
            let done = own.take(account, pages)
                || accounts.charge(own, account, pages).is_ok()
                || accounts.charge_last(account, pages).is_ok();
            assert_eq!(done, fits, "{pages} pages to {whose}: {used:?}");
            if done {
                above(whose).into_iter().for_each(|at| used[at] += pages);
                held.push((whose, pages));
            } else {
                refused += 1;
            }
        } else {
            let (whose, pages) = held.swap_remove(dice / 128 % held.len());
            if !own.give(tree[whose].0, pages) {
                accounts.uncharge(own, tree[whose].0, pages);
            }
            above(whose).into_iter().for_each(|at| used[at] -= pages);
        }
        assert_eq!(tree.map(|(account, _)| accounts.used(account)), used);
        let charged = groups.charged(a);
        assert!(charged <= 300, "{charged} pages with the stocks");
    }
    assert!(refused > 100, "{refused} refusals: the limits were never met");
    assert!(groups.refusals(a).0 > groups.refusals(a).1, "those below count above");
    assert_eq!(groups.refusals(ROOT).0 as usize, refused);
    for (whose, pages) in held {
        accounts.uncharge(&stocks[0], tree[whose].0, pages);
    }
    accounts.drain();
    assert_eq!(tree.map(|(account, _)| groups.charged(account)), [0; 5]);
}

/// Red if a limit is set without emptying the stocks: what is in them would pass it.
#[test]
fn t7_what_is_in_stock_passes_no_limit_that_was_set_before() {
    let places = places(4);
    let groups = Groups::over(&places);
    let stock = Stock::new();
    let accounts = Accounts::new(groups, || core::iter::once(&stock));
    let a = groups.create(ROOT).expect("room");
    assert_eq!(accounts.charge(&stock, a, 4), Ok(()));
    assert_eq!(accounts.set_limit(a, 6), Some(4));
    assert!(!stock.take(a, 4));
    assert_eq!(accounts.charge(&stock, a, 4), Err(NotCharged::OverLimit(a)));
    assert_eq!(accounts.charge(&stock, a, 2), Ok(()));
    accounts.uncharge(&stock, a, 6);
    assert_eq!(accounts.set_limit(a, UNLIMITED), Some(0));
    assert_eq!(groups.charged(ROOT), 0);
}

/// Red if a stock is used at all near a limit, or not used where there is plenty.
#[test]
fn t7_a_hit_does_not_look_at_the_tree() {
    let places = places(4);
    let groups = Groups::over(&places);
    let stock = Stock::new();
    let accounts = Accounts::new(groups, || core::iter::once(&stock));
    let a = groups.create(ROOT).expect("room");
    assert_eq!(accounts.charge(&stock, a, 4), Ok(()));
    let charged = groups.charged(a);
    assert!(stock.take(a, 4) && stock.take(a, 4), "the next ones come from the stock");
    assert_eq!((groups.charged(a), accounts.used(a)), (charged, 12));
    // Pages in stock keep a group that is removed until they are back in the tree.
    accounts.uncharge(&stock, a, 12);
    assert_eq!(groups.remove(a), Ok(()));
    accounts.drain();
    assert_eq!(groups.charged(ROOT), 0);
    let b = groups.create(ROOT).expect("room");
    assert_eq!(groups.charge(b, 4), Ok(()));
    assert_eq!(groups.remove(b), Ok(()));
    accounts.uncharge(&stock, b, 4);
    assert_eq!(groups.charged(ROOT), 0, "a removed group is not kept in a stock");
}
