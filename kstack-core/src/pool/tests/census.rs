//! What the pool says of itself: how many stacks are where, and whose they are.

use super::super::*;
use super::machine::{Machine, thread_request};
use crate::cache::CpuCache;

/// Tests of "nothing is lost" compare these counts: a count that stays zero would hide every loss.
#[test]
fn t11_n9_each_slot_is_counted_once_where_it_is() {
    let machine = Machine::new(12, 1, ErasePolicy::Dirtied);
    let (mut cpu, mut cache) = (machine.cpu(0), CpuCache::new(CpuId::new(0)));
    let mut take = || cpu.acquire(&thread_request(), &mut cache).expect("there is room");
    let slots: [SlotIndex; 9] = core::array::from_fn(|_| take());
    let borrows = [0, 1].map(|at| {
        let generation = machine.pool.record(slots[at]).life().generation();
        machine.pool.borrow(slots[at], generation).expect("the owner is there")
    });
    for (at, slot) in slots.iter().enumerate().take(6) {
        let fate = if at < 2 { Fate::StillBorrowed } else { Fate::Cached };
        assert_eq!(cpu.release(*slot, &mut cache), fate);
    }
    let pages = machine.pool.arena().geometry().body().in_pages() as u64;
    let expected = Census {
        free: 3,
        parked: 4,
        live: 3,
        ending: 2,
        mapped_pages: 9 * pages,
        used_pages: 5 * pages,
    };
    assert_eq!(machine.pool.census(), expected);
    for borrow in borrows {
        assert_eq!(cpu.give_back(borrow, &mut cache), Fate::Cached);
    }
    let after = Census { parked: 6, ending: 0, used_pages: 3 * pages, ..expected };
    assert_eq!(machine.pool.census(), after);
}

/// Red if a report names another thread, or charges another account, than the one that was given.
#[test]
fn t7_n9_owners_and_accounts_keep_their_numbers() {
    for number in [0, 1, 7, 1000] {
        assert_eq!(OwnerId::new(number).get(), number);
        assert_eq!(AccountId::new(number as u32).get(), number as u32);
    }
    assert_eq!((OwnerId::NONE.get(), AccountId::SYSTEM.get()), (0, 0));
}
