//! Every allocation failing in turn: an error that names the party, and nothing lost.

use crate::record::AccountId;
use std::vec::Vec;

use super::super::*;
use super::machine::{Machine, thread_request};
use crate::cache::CpuCache;

/// Fails the nth call that can fail, for n from 0 until the request succeeds. Answers the errors in
/// order.
fn fail_each_in_turn(
    machine: &Machine,
    request: &Request,
    cache: &mut CpuCache,
    held: &[SlotIndex],
) -> Vec<AcquireError> {
    let mut errors = Vec::new();
    let mut cpu = machine.cpu(0);
    loop {
        let before = machine.holdings();
        let (parked, census) = (cache.stacks().to_vec(), machine.pool.census());
        machine.fail_after(Some(errors.len() as u32));
        let got = cpu.acquire(request, cache);
        machine.fail_after(None);
        match got {
            Err(error) => {
                assert_eq!(machine.holdings(), before, "after {error:?} in call {}", errors.len());
                assert_eq!(machine.pool.census(), census);
                assert_eq!(cache.stacks(), parked);
                machine.check(&[cache], held);
                errors.push(error);
            }
            Ok(slot) => {
                let held: Vec<SlotIndex> = held.iter().copied().chain([slot]).collect();
                machine.check(&[cache], &held);
                let _: ReleaseOutcome = cpu.release(slot, cache);
                return errors;
            }
        }
        assert!(errors.len() < 100, "it never succeeds");
    }
}

#[test]
fn t11_each_failure_on_the_way_to_a_fresh_stack_leaks_nothing() {
    use AcquireError::{NoMemory, NoPageTable, OverLimit};
    let machine = Machine::new(4, 1, ErasePolicy::Dirtied);
    let mut cache = CpuCache::new(CpuId::new(0));
    let errors = fail_each_in_turn(&machine, &thread_request(), &mut cache, &[]);
    assert_eq!(errors, [OverLimit, NoPageTable, NoMemory, NoMemory, NoMemory, NoMemory]);
}

#[test]
fn t11_each_failure_on_the_way_to_a_stack_of_another_size_leaks_nothing() {
    use AcquireError::{NoMemory, NoPageTable, OverLimit};
    let machine = Machine::new(4, 1, ErasePolicy::Dirtied);
    let mut cache = CpuCache::new(CpuId::new(0));
    let request = Request { pages: Some(2), ..thread_request() };
    let errors = fail_each_in_turn(&machine, &request, &mut cache, &[]);
    assert_eq!(errors, [OverLimit, NoPageTable, NoMemory, NoMemory]);
}

#[test]
fn t11_t7_a_cached_stack_can_fail_only_for_its_charge_and_stays_cached() {
    let machine = Machine::new(4, 1, ErasePolicy::Dirtied);
    let (mut cpu, mut cache) = (machine.cpu(0), CpuCache::new(CpuId::new(0)));
    let slot = cpu.acquire(&thread_request(), &mut cache).expect("there is room");
    let _: ReleaseOutcome = cpu.release(slot, &mut cache);
    let errors = fail_each_in_turn(&machine, &thread_request(), &mut cache, &[]);
    assert_eq!(errors, [AcquireError::OverLimit]);
    assert_eq!(cache.stacks(), [slot]);
}

#[test]
fn t11_a_refill_from_the_depot_can_fail_only_for_its_charge() {
    let machine = Machine::new(4, 1, ErasePolicy::Dirtied);
    let (mut cpu, mut cache) = (machine.cpu(0), CpuCache::new(CpuId::new(0)));
    let slot = cpu.acquire(&thread_request(), &mut cache).expect("there is room");
    let _: ReleaseOutcome = cpu.release(slot, &mut cache);
    assert_eq!(machine.pool.drain_cpu(&mut cache, &cpu.lock()), 1);
    let errors = fail_each_in_turn(&machine, &thread_request(), &mut cache, &[]);
    assert_eq!(errors, [AcquireError::OverLimit]);
}

#[test]
fn t11_failures_between_live_neighbours_leave_the_neighbours_alone() {
    let machine = Machine::new(4, 1, ErasePolicy::Dirtied);
    let (mut cpu, mut cache) = (machine.cpu(0), CpuCache::new(CpuId::new(0)));
    let live: Vec<SlotIndex> = (0..2)
        .map(|_| cpu.acquire(&thread_request(), &mut cache).expect("there is room"))
        .collect();
    for slot in &live {
        cpu.enter(*slot);
        cpu.write(*slot, 3, 8);
    }
    // A second request from the slot that failed before: its page table may be shared with a
    // neighbour.
    for _ in 0..2 {
        let errors = fail_each_in_turn(&machine, &thread_request(), &mut cache, &live);
        assert!(!errors.is_empty());
    }
    assert!(live.iter().all(|slot| cpu.read(*slot, 3) == 8));
}

#[test]
fn t11_without_a_free_slot_the_error_names_the_address_space_and_the_charge_is_returned() {
    let machine = Machine::new(2, 1, ErasePolicy::Dirtied);
    let (mut cpu, mut cache) = (machine.cpu(0), CpuCache::new(CpuId::new(0)));
    let live: Vec<SlotIndex> = (0..2)
        .map(|_| cpu.acquire(&thread_request(), &mut cache).expect("there is room"))
        .collect();
    let before = machine.holdings();
    let refused = cpu.acquire(&thread_request(), &mut cache);
    assert_eq!(refused, Err(AcquireError::NoAddressSpace));
    assert_eq!(machine.holdings(), before);
    machine.check(&[&cache], &live);
    let _: ReleaseOutcome = cpu.release(live[0], &mut cache);
    assert!(cpu.acquire(&thread_request(), &mut cache).is_ok(), "one came back");
}

#[test]
fn t7_t11_charges_end_with_the_account_that_was_charged() {
    let machine = Machine::new(4, 1, ErasePolicy::Dirtied);
    let (mut cpu, mut cache) = (machine.cpu(0), CpuCache::new(CpuId::new(0)));
    let of = |account| Request { account: AccountId::new(account), ..thread_request() };
    let first = cpu.acquire(&of(1), &mut cache).expect("there is room");
    let _: ReleaseOutcome = cpu.release(first, &mut cache);
    let second = cpu.acquire(&of(2), &mut cache).expect("there is room");
    assert_eq!(first, second, "out of the cache, for another account");
    let charged = machine.holdings().charged;
    assert_eq!(charged.into_iter().collect::<Vec<_>>(), [(2, 16 * 1024)]);
    let _: ReleaseOutcome = cpu.release(second, &mut cache);
    assert!(machine.holdings().charged.is_empty());
}
