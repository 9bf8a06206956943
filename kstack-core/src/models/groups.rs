//! Groups and stocks at once on several CPUs: see [`crate::groups`].

use super::model;
use crate::groups::{Group, GroupError, Groups, NotCharged};
use crate::record::AccountId;
use crate::stock::{Accounts, Stock};
use loom::sync::Arc;
use loom::thread;

const ROOT: AccountId = AccountId::SYSTEM;

type Places = Arc<[Group; 3]>;

fn places() -> Places {
    Arc::new([Group::root(), Group::free(), Group::free()])
}

/// Runs `body` on another thread with the same places.
fn beside<R: 'static>(
    places: &Places,
    body: impl FnOnce(Groups<'_>) -> R + 'static,
) -> thread::JoinHandle<R> {
    let places = places.clone();
    thread::spawn(move || body(Groups::over(&*places)))
}

/// Red if a charge does not look at the limit behind its change of the word, or `set_limit` reads
/// the word without changing it: the limit is passed, and who set it was told otherwise.
#[test]
fn t7_no_charge_passes_a_limit_that_was_set_before() {
    model(|| {
        let places = places();
        let groups = Groups::over(&*places);
        let a = groups.create(ROOT).expect("room");
        let charging = beside(&places, move |groups| groups.charge(a, 4));
        let seen = groups.set_limit(a, 2).expect("it is there");
        let charged = charging.join().expect("no panic");
        match charged {
            Ok(()) => assert_eq!(seen, 4, "a charge that is there was seen"),
            Err(error) => assert_eq!(error, NotCharged::OverLimit(a)),
        }
        let left = if charged.is_ok() { 4 } else { 0 };
        assert_eq!([a, ROOT].map(|one| groups.charged(one)), [left; 2]);
    });
}

/// Red if the limit and the sum are not compared in the step that charges: both fit, or none.
#[test]
fn t7_of_two_that_charge_the_last_pages_one_has_them() {
    model(|| {
        let places = places();
        let groups = Groups::over(&*places);
        let a = groups.create(ROOT).expect("room");
        assert_eq!(groups.set_limit(a, 4), Some(0));
        let other = beside(&places, move |groups| groups.charge(a, 4).is_ok());
        let mine = groups.charge(a, 4).is_ok();
        assert!(mine != other.join().expect("no panic"), "one of the two");
        assert_eq!([a, ROOT].map(|one| groups.charged(one)), [4; 2]);
    });
}

/// Red if removal and the last page are not one word, or if what is above is asked for when the
/// place may have another group already.
#[test]
fn t7_a_late_uncharge_meets_the_removal_of_its_group() {
    model(|| {
        let places = places();
        let groups = Groups::over(&*places);
        let a = groups.create(ROOT).expect("room");
        let b = groups.create(a).expect("room");
        assert_eq!(groups.charge(b, 4), Ok(()));
        let other = beside(&places, move |groups| groups.uncharge(b, 4));
        assert_eq!(groups.remove(b), Ok(()));
        assert_eq!(groups.remove(a), Ok(()));
        // The places may be had again as soon as nothing holds them, and no sooner.
        let again = groups.create(ROOT);
        if let Ok(again) = again {
            assert_eq!((groups.charged(again), groups.above(again)), (0, Some(ROOT)));
            assert_eq!(groups.charge(again, 1), Ok(()));
        } else {
            assert_eq!(again, Err(GroupError::NoRoom));
        }
        other.join().expect("no panic");
        assert_eq!(groups.charged(ROOT), u32::from(again.is_ok()));
        if let Ok(again) = again {
            assert_eq!(groups.charged(again), 1, "nothing of it was taken away");
        }
        assert!(groups.create(ROOT).is_ok(), "nothing holds the other place");
    });
}

/// Red if a charge takes a number of an earlier life, or leaves a page in a place that is free.
#[test]
fn t7_a_charge_meets_the_removal_of_its_group() {
    model(|| {
        let places = places();
        let groups = Groups::over(&*places);
        let a = groups.create(ROOT).expect("room");
        let other = beside(&places, move |groups| groups.charge(a, 4));
        assert_eq!(groups.remove(a), Ok(()));
        let b = groups.create(ROOT).expect("two places");
        let charged = other.join().expect("no panic");
        assert_eq!(groups.charged(b), 0);
        if charged.is_ok() {
            assert_eq!([a, ROOT].map(|one| groups.charged(one)), [4; 2]);
            groups.uncharge(a, 4);
        } else {
            assert_eq!(charged, Err(NotCharged::Gone));
        }
        assert_eq!(groups.charged(ROOT), 0);
    });
}

/// Red if pages that one CPU takes from its stock go back to the tree from another: they would be
/// uncharged twice.
#[test]
fn t7_a_stock_that_is_used_and_emptied_at_once_loses_no_page() {
    model(|| {
        let shared = Arc::new(([Group::root(), Group::free(), Group::free()], Stock::new()));
        let groups = Groups::over(&shared.0);
        let a = groups.create(ROOT).expect("room");
        let accounts = Accounts::new(groups, || core::iter::once(&shared.1));
        assert_eq!(accounts.charge(&shared.1, a, 4), Ok(()));
        let other = {
            let shared = shared.clone();
            thread::spawn(move || {
                let groups = Groups::over(&shared.0);
                Accounts::new(groups, || core::iter::once(&shared.1)).drain();
            })
        };
        let taken = shared.1.take(a, 4);
        if !shared.1.give(a, 4) {
            accounts.uncharge(&shared.1, a, 4);
        }
        other.join().expect("no panic");
        let left = if taken { 4 } else { 0 };
        assert_eq!(accounts.used(a), left);
        accounts.uncharge(&shared.1, a, left);
        accounts.drain();
        assert_eq!([a, ROOT].map(|one| groups.charged(one)), [0; 2]);
    });
}
