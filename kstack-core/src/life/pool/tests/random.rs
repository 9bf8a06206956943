//! Long runs: against a naive model in one thread, and with real threads.

use crate::record::AccountId;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::vec::Vec;

use super::super::*;
use super::machine::{Machine, thread_request};
use crate::cache::CpuCache;

/// A small generator (SplitMix64), so that a failure comes again with its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// What the naive model knows of a stack: what its owner wrote, page by page, and who borrows it.
#[derive(Default)]
struct Known {
    owned: bool,
    wrote: BTreeMap<usize, u64>,
    borrows: Vec<BorrowedStack>,
}

/// One long run; answers how often each sort of thing happened.
fn long_run(seed: u64, steps: usize, policy: ErasePolicy) -> BTreeMap<&'static str, usize> {
    const CPUS: u32 = 3;
    let mut random = Random(seed);
    let machine = Machine::new(30, CPUS as usize, policy);
    let mut caches: Vec<CpuCache> =
        (0..CPUS).map(|number| CpuCache::new(CpuId::new(number))).collect();
    let mut known: BTreeMap<SlotIndex, Known> = BTreeMap::new();
    let mut happened: BTreeMap<&'static str, usize> = BTreeMap::new();
    for step in 0..steps {
        let number = random.below(CPUS as usize);
        let (mut cpu, cache) = (machine.cpu(number as u32), &mut caches[number]);
        let slots: Vec<SlotIndex> = known.keys().copied().collect();
        let any = (!slots.is_empty()).then(|| slots[random.below(slots.len())]);
        // Waves: mostly taking, then mostly giving back.
        let taking = step / 300 % 2 == 0;
        let what = match (random.below(16), any) {
            (0..=3, _) if taking => "acquire",
            (0, _) | (_, None) => "acquire",
            (1..=3, _) => "release",
            (4, _) => "release",
            (5..=8, _) => "write",
            (9, _) => "waker writes",
            (10, _) => "speculate",
            (11, _) => "borrow",
            (12, _) => "give back",
            (13, _) => "shrink",
            (14, _) if random.below(8) == 0 => "drain",
            (14, _) => "end of period",
            _ => "fail",
        };
        *happened.entry(what).or_default() += 1;
        match (what, any) {
            ("acquire" | "fail", _) => {
                let pages = (random.below(5) == 0).then_some(2);
                let account = AccountId::new(random.below(3) as u32);
                let request = Request { pages, account, ..thread_request() };
                if what == "fail" {
                    machine.fail_after(Some(random.below(7) as u32));
                }
                let got = cpu.acquire(&request, cache);
                machine.fail_after(None);
                if let Ok(slot) = got {
                    assert!(!known.contains_key(&slot), "seed {seed}: given twice");
                    cpu.enter(slot);
                    assert!(cpu.reads_as_zero(slot), "seed {seed} step {step}: not clean");
                    known.insert(slot, Known { owned: true, ..Known::default() });
                }
            }
            ("release", Some(slot)) => {
                let stack = known.get_mut(&slot).expect("it is known");
                if stack.owned {
                    stack.owned = false;
                    let fate = cpu.in_interrupt().release(slot, cache);
                    assert_eq!(fate == ReleaseOutcome::StillBorrowed, !stack.borrows.is_empty());
                    if stack.borrows.is_empty() {
                        known.remove(&slot);
                    }
                }
            }
            ("write", Some(slot)) => {
                let stack = known.get_mut(&slot).expect("it is known");
                if stack.owned {
                    let pages = machine.pool.record(slot).mapped_pages();
                    let (page, mark) = (random.below(usize::from(pages)), random.next() | 1);
                    cpu.enter(slot);
                    cpu.write(slot, page, mark);
                    stack.wrote.insert(page, mark);
                }
            }
            ("waker writes", Some(slot)) => {
                // Not entered: allowed, because the owner has written that page in this life.
                let stack = known.get_mut(&slot).expect("it is known");
                if let (true, Some(entry)) = (stack.owned, stack.wrote.first_entry()) {
                    let mark = random.next() | 1;
                    cpu.write(slot, *entry.key(), mark);
                    *entry.into_mut() = mark;
                }
            }
            ("speculate", _) => {
                let slot = SlotIndex::new(random.below(30) as u32);
                if machine.pool.record(slot).mapped_pages() > 0 {
                    let _: u64 = cpu.read(slot, random.below(2));
                }
            }
            ("borrow", Some(slot)) => {
                let stack = known.get_mut(&slot).expect("it is known");
                let generation = machine.pool.record(slot).life().generation();
                let borrow = machine.pool.borrow(slot, generation);
                assert_eq!(borrow.is_some(), stack.owned);
                stack.borrows.extend(borrow);
            }
            ("give back", Some(slot)) => {
                let stack = known.get_mut(&slot).expect("it is known");
                for (page, mark) in &stack.wrote {
                    assert_eq!(cpu.read(slot, *page), *mark, "a held stack was touched");
                }
                if let Some(borrow) = stack.borrows.pop() {
                    let fate = cpu.in_interrupt().give_back(borrow, cache);
                    let last = !stack.owned && stack.borrows.is_empty();
                    assert_eq!(fate == ReleaseOutcome::StillBorrowed, !last);
                    if last {
                        known.remove(&slot);
                    }
                }
            }
            ("shrink", _) => {
                cpu.shrink(random.below(4) as u32);
            }
            ("drain", _) => {
                machine.pool.drain_cpu(cache, &cpu.lock());
            }
            ("end of period", _) => {
                machine.shared.lock().expect("nobody panics here").depot.end_period();
            }
            (other, None) => panic!("{other} of no stack"),
            (other, _) => panic!("{other} is not known"),
        }
        if step % 16 == 0 {
            let caches: Vec<&CpuCache> = caches.iter().collect();
            let held: Vec<SlotIndex> = known.keys().copied().collect();
            machine.check(&caches, &held);
        }
    }
    // The end: everything is given back, drained and unmapped; the machine has nothing left.
    for (slot, mut stack) in known {
        if stack.owned {
            let _: ReleaseOutcome = machine.cpu(0).release(slot, &mut caches[0]);
        }
        while let Some(borrow) = stack.borrows.pop() {
            let _: ReleaseOutcome = machine.cpu(1).give_back(borrow, &mut caches[1]);
        }
    }
    for cache in &mut caches {
        machine.pool.drain_cpu(cache, &machine.cpu(0).lock());
        for (name, count) in [
            ("hit", cache.stats().hits),
            ("refill", cache.stats().refills),
            ("miss", cache.stats().misses),
            ("flush", cache.stats().flushes),
        ] {
            *happened.entry(name).or_default() += count as usize;
        }
    }
    machine.cpu(0).reclaim(u32::MAX);
    machine.check(&[], &[]);
    assert_eq!(machine.holdings(), Default::default(), "seed {seed}: something is left");
    happened
}

#[test]
fn t4_t5_t8_t11_n2_long_random_runs_on_three_cpus_keep_every_promise() {
    let mut happened: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..12 {
        for (what, times) in long_run(seed, 4_000, ErasePolicy::Dirtied) {
            *happened.entry(what).or_default() += times;
        }
    }
    for what in ["hit", "refill", "miss", "flush", "drain", "fail", "borrow", "waker writes"] {
        let times = happened.get(what).copied().unwrap_or(0);
        assert!(times > 50, "the runs hardly test anything: {what} {times} times");
    }
}

#[test]
fn t4_t5_t8_real_threads_creating_ending_and_borrowing_leave_nothing_behind() {
    const CPUS: usize = 4;
    const LIVES: usize = 1_500;
    let machine = Machine::new(64, CPUS, ErasePolicy::Dirtied);
    // The latest stack of each CPU, for the others to borrow: slot and generation, as a word each.
    let announced: [Mutex<Option<(SlotIndex, Generation)>>; CPUS] = Default::default();
    let lent = AtomicUsize::new(0);
    let mut caches: Vec<CpuCache> =
        (0..CPUS).map(|number| CpuCache::new(CpuId::new(number as u32))).collect();
    thread::scope(|scope| {
        for (number, cache) in caches.iter_mut().enumerate() {
            let (machine, announced, lent) = (&machine, &announced, &lent);
            scope.spawn(move || {
                let mut cpu = machine.cpu(number as u32);
                let mut random = Random(number as u64);
                let mut held: Vec<(SlotIndex, u64)> = Vec::new();
                for _ in 0..LIVES {
                    let slot = cpu.acquire(&thread_request(), cache).expect("64 slots suffice");
                    cpu.enter(slot);
                    assert!(cpu.reads_as_zero(slot));
                    let mark = random.next() | 1;
                    cpu.write(slot, random.below(4), mark);
                    cpu.write(slot, 0, mark);
                    held.push((slot, mark));
                    let generation = machine.pool.record(slot).life().generation();
                    *announced[number].lock().expect("nobody panics here") =
                        Some((slot, generation));
                    let other = *announced[random.below(CPUS)].lock().expect("nobody panics");
                    let borrowed =
                        other.and_then(|(slot, generation)| machine.pool.borrow(slot, generation));
                    if let Some(stack) = borrowed {
                        let first = cpu.read(stack.slot(), 0);
                        assert_ne!(first, 0, "a borrowed stack was erased");
                        thread::yield_now();
                        assert_eq!(cpu.read(stack.slot(), 0), first, "a borrowed stack changed");
                        lent.fetch_add(1, Ordering::Relaxed);
                        let _: ReleaseOutcome = cpu.give_back(stack, cache);
                    }
                    // Up to ten at a time, so that caches overflow and run dry.
                    if held.len() > 10 || random.below(10) == 0 {
                        for (slot, mark) in held.drain(..) {
                            assert_eq!(cpu.read(slot, 0), mark);
                            let _: ReleaseOutcome = cpu.in_interrupt().release(slot, cache);
                        }
                        cpu.shrink(2);
                    }
                }
                for (slot, _) in held {
                    let _: ReleaseOutcome = cpu.release(slot, cache);
                }
            });
        }
    });
    let caches: Vec<&CpuCache> = caches.iter().collect();
    machine.check(&caches, &[]);
    assert!(lent.into_inner() > CPUS * LIVES / 20, "hardly anything was borrowed");
}
