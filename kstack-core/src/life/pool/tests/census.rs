//! What the pool says of itself: how many stacks are where, and whose they are.

use super::super::*;
use super::machine::{Machine, thread_request};
use crate::cache::CpuCache;
use crate::kind::StackKind;
use crate::record::AccountId;
use crate::stacks::ThreadId;

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
        let fate = if at < 2 { ReleaseOutcome::StillBorrowed } else { ReleaseOutcome::Cached };
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
        assert_eq!(cpu.give_back(borrow, &mut cache), ReleaseOutcome::Cached);
    }
    let after = Census { parked: 6, ending: 0, used_pages: 3 * pages, ..expected };
    assert_eq!(machine.pool.census(), after);
}

/// Red if a report names another thread, or charges another account, than the one that was given.
#[test]
fn t7_n9_owners_and_accounts_keep_their_numbers() {
    for number in [0, 1, 7, 1000] {
        assert_eq!(ThreadId::new(number).get(), number);
        assert_eq!(AccountId::new(number as u32).get(), number as u32);
    }
    assert_eq!((ThreadId::NONE.get(), AccountId::SYSTEM.get()), (0, 0));
}

/// Entry code and overflow handlers name stacks by this. Red if a stack that is held has no
/// name, or one that rests has.
#[test]
fn n9_b1_a_stack_has_a_name_from_hand_out_until_the_last_one_lets_go() {
    let machine = Machine::new(2, 1, ErasePolicy::Dirtied);
    let (mut cpu, mut cache) = (machine.cpu(0), CpuCache::new(CpuId::new(0)));
    let (pool, arena) = (&machine.pool, machine.pool.arena());
    let name = |slot: SlotIndex| pool.record(slot).stack(arena, slot);
    assert_eq!(name(SlotIndex::new(0)), None, "never used");
    let request = Request { owner: ThreadId::new(7), ..thread_request() };
    let thread = cpu.acquire(&request, &mut cache).expect("there is room");
    let stack = name(thread).expect("it is live");
    assert_eq!((stack.kind, stack.cpu, stack.owner), (StackKind::Thread, None, ThreadId::new(7)));
    assert_eq!(stack.range, arena.body(thread));
    let request =
        Request { kind: StackKind::Irq, owner: ThreadId::NONE, pages: Some(1), ..request };
    let irq = cpu.acquire(&request, &mut cache).expect("there is room");
    let stack = name(irq).expect("it is live");
    assert_eq!(
        (stack.kind, stack.cpu, stack.owner),
        (StackKind::Irq, Some(request.cpu), ThreadId::NONE)
    );
    assert_eq!(stack.range.size(), ByteSize::pages(1));
    // Kept by a reader: still named, and settled; then neither.
    let generation = pool.record(thread).life().generation();
    let borrowed = pool.borrow(thread, generation).expect("the owner is there");
    assert_eq!(cpu.release(thread, &mut cache), ReleaseOutcome::StillBorrowed);
    assert!(name(thread).is_some() && pool.record(thread).snapshot().settled);
    assert_eq!(cpu.give_back(borrowed, &mut cache), ReleaseOutcome::Cached);
    assert!(name(thread).is_none() && !pool.record(thread).snapshot().settled);
}
