//! Two CPUs, every order of their accesses to what they share.
//!
//! A CPU can be overtaken before each operation and before each access to the shared part, to the
//! contents of a stack and to a mapping that goes; in the smallest case before each charge and
//! mapping as well. What it does between two of these touches only what it alone holds, or is a
//! sum, so its place in the order makes no difference.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::vec;
use std::vec::Vec;

use super::super::*;
use super::machine::{Access, Cpu, Machine, thread_request};
use super::schedule::{Process, Stops, in_every_order};
use crate::cache::CpuCache;

/// Stops where the order can make a difference.
fn stop_where_it_matters(stops: &Stops<'_>, access: Access) {
    if matches!(access, Access::Shared | Access::Contents) {
        stops.stop();
    }
}

fn cpu_of<'m>(machine: &'m Machine, number: u32, stop: &'m dyn Fn(Access)) -> Cpu<'m> {
    Cpu { before_access: stop, ..machine.cpu(number) }
}

/// A life of a stack on one CPU: taken, found clean, written, given back.
fn live_once(cpu: &mut Cpu<'_>, cache: &mut CpuCache, mark: u64) -> Result<(), AcquireError> {
    let slot = cpu.acquire(&thread_request(), cache)?;
    cpu.enter(slot);
    assert!(cpu.reads_as_zero(slot), "somebody else's bytes");
    cpu.write(slot, 0, mark);
    (cpu.before_access)(Access::Contents);
    assert_eq!(cpu.read(slot, 0), mark, "somebody else has the same stack");
    let _: ReleaseOutcome = cpu.release(slot, cache);
    Ok(())
}

#[test]
fn t4_t5_two_cpus_taking_and_giving_back_never_share_or_lose_a_stack() {
    let orders = in_every_order(|run| {
        let machine = Machine::new(2, 2, ErasePolicy::Dirtied);
        let mut caches = [0, 1].map(|number| CpuCache::new(CpuId::new(number)));
        let processes = caches.iter_mut().enumerate().map(|(number, cache)| {
            let machine = &machine;
            let process: Process<'_> = std::boxed::Box::new(move |stops: &Stops<'_>| {
                let stop = |access| stop_where_it_matters(stops, access);
                let mut cpu = cpu_of(machine, number as u32, &stop);
                live_once(&mut cpu, cache, number as u64 + 1).expect("a slot each");
                // What was cached here may be the other CPU's next stack.
                machine.pool.drain_cpu(cache, &cpu.lock());
                if number == 1 {
                    live_once(&mut cpu, cache, 3).expect("a slot each");
                }
            });
            process
        });
        run(processes.collect());
        machine.check(&[&caches[0], &caches[1]], &[]);
    });
    assert!(orders > 1000, "only {orders} orders");
}

#[test]
fn t4_t11_two_cpus_that_want_the_only_slot_get_one_stack_and_one_error() {
    let mut outcomes = BTreeSet::new();
    in_every_order(|run| {
        let machine = Machine::new(1, 2, ErasePolicy::Dirtied);
        let mut caches = [0, 1].map(|number| CpuCache::new(CpuId::new(number)));
        let failed = Mutex::new(0);
        let part = Request { pages: Some(1), ..thread_request() };
        let processes = caches.iter_mut().enumerate().map(|(number, cache)| {
            let (machine, failed) = (&machine, &failed);
            let process: Process<'_> = std::boxed::Box::new(move |stops: &Stops<'_>| {
                let stop = |_| stops.stop();
                let mut cpu = cpu_of(machine, number as u32, &stop);
                match cpu.acquire(&part, cache) {
                    Ok(slot) => assert_eq!(cpu.release(slot, cache), ReleaseOutcome::ToUnmap),
                    Err(AcquireError::NoAddressSpace) => {
                        *failed.lock().expect("nobody panics here") += 1;
                    }
                    Err(other) => panic!("{other:?}"),
                }
            });
            process
        });
        run(processes.collect());
        let failed = failed.into_inner().expect("nobody panics here");
        assert!(failed <= 1, "one of them gets it");
        outcomes.insert(failed);
        machine.check(&[&caches[0], &caches[1]], &[]);
        assert_eq!(machine.cpu(0).shrink(9), 1);
        machine.check(&[&caches[0], &caches[1]], &[]);
    });
    assert_eq!(outcomes, BTreeSet::from([1]), "the slot comes back only by shrinking");
}

#[test]
fn t8_in_every_order_of_end_borrow_and_re_use_the_reader_sees_only_the_life_it_meant() {
    let mut seen = BTreeSet::new();
    let orders = in_every_order(|run| {
        let machine = Machine::new(1, 2, ErasePolicy::Dirtied);
        let mut owners = CpuCache::new(CpuId::new(0));
        let mut readers = CpuCache::new(CpuId::new(1));
        let mut cpu = machine.cpu(0);
        let slot = cpu.acquire(&thread_request(), &mut owners).expect("there is one");
        let generation = machine.pool.record(slot).life().generation();
        cpu.enter(slot);
        cpu.write(slot, 0, 11);
        let borrowed = Mutex::new(None);
        let owner: Process<'_> = {
            let (machine, owners) = (&machine, &mut owners);
            std::boxed::Box::new(move |stops: &Stops<'_>| {
                let stop = |access| stop_where_it_matters(stops, access);
                let mut cpu = cpu_of(machine, 0, &stop);
                let _: ReleaseOutcome = cpu.release(slot, owners);
                stops.stop();
                // The only slot: either it came back to this CPU, or the reader has it (or has
                // taken it back).
                match live_once(&mut cpu, owners, 22) {
                    Ok(()) | Err(AcquireError::NoAddressSpace) => {}
                    Err(other) => panic!("{other:?}"),
                }
            })
        };
        let reader: Process<'_> = {
            let (machine, readers, borrowed) = (&machine, &mut readers, &borrowed);
            std::boxed::Box::new(move |stops: &Stops<'_>| {
                let stop = |access| stop_where_it_matters(stops, access);
                let mut cpu = cpu_of(machine, 1, &stop);
                let got = machine.pool.borrow(slot, generation);
                *borrowed.lock().expect("nobody panics here") = Some(got.is_some());
                if let Some(stack) = got {
                    for _ in 0..2 {
                        stops.stop();
                        assert_eq!(cpu.read(slot, 0), 11, "not the life it meant");
                    }
                    stops.stop();
                    let _: ReleaseOutcome = cpu.give_back(stack, readers);
                }
            })
        };
        run(vec![owner, reader]);
        let got = borrowed.into_inner().expect("nobody panics here").expect("the reader ran");
        seen.insert((got, readers.len()));
        machine.check(&[&owners, &readers], &[]);
    });
    assert!(orders > 50, "only {orders} orders");
    let all = [(false, 0), (true, 0), (true, 1)];
    assert_eq!(seen, BTreeSet::from(all), "refused; lent and taken back by either side");
}

#[test]
fn t4_shrinking_beside_a_flush_and_a_refill_keeps_every_slot_in_one_place() {
    let orders = in_every_order(|run| {
        let machine = Machine::new(4, 3, ErasePolicy::Dirtied);
        let mut owners = CpuCache::new(CpuId::new(0));
        let mut takers = CpuCache::new(CpuId::new(1));
        // Two stacks in the depot, one being released on CPU 0.
        let mut cpu = machine.cpu(0);
        let stacks: Vec<SlotIndex> = (0..3)
            .map(|_| cpu.acquire(&thread_request(), &mut owners).expect("there is room"))
            .collect();
        for slot in &stacks[1..] {
            let _: ReleaseOutcome = cpu.release(*slot, &mut owners);
        }
        machine.pool.drain_cpu(&mut owners, &cpu.lock());
        let held = Mutex::new(Vec::new());
        let giver: Process<'_> = {
            let (machine, owners, slot) = (&machine, &mut owners, stacks[0]);
            std::boxed::Box::new(move |stops: &Stops<'_>| {
                let stop = |access| stop_where_it_matters(stops, access);
                let mut cpu = cpu_of(machine, 0, &stop);
                assert_eq!(cpu.release(slot, owners), ReleaseOutcome::Cached);
                machine.pool.drain_cpu(owners, &cpu.lock());
            })
        };
        let taker: Process<'_> = {
            let (machine, takers, held) = (&machine, &mut takers, &held);
            std::boxed::Box::new(move |stops: &Stops<'_>| {
                let stop = |access| stop_where_it_matters(stops, access);
                let mut cpu = cpu_of(machine, 1, &stop);
                let slot = cpu.acquire(&thread_request(), takers).expect("four slots suffice");
                cpu.enter(slot);
                assert!(cpu.reads_as_zero(slot));
                cpu.write(slot, 1, 5);
                held.lock().expect("nobody panics here").push(slot);
            })
        };
        let shrinker: Process<'_> = {
            let machine = &machine;
            std::boxed::Box::new(move |stops: &Stops<'_>| {
                let stop = |access| stop_where_it_matters(stops, access);
                cpu_of(machine, 2, &stop).reclaim(2);
            })
        };
        run(vec![giver, taker, shrinker]);
        let held = held.into_inner().expect("nobody panics here");
        assert_eq!(held.len(), 1);
        machine.check(&[&owners, &takers], &held);
    });
    assert!(orders > 1000, "only {orders} orders");
}
