//! Which way a stack takes, and what that way costs.

use crate::kind::StackKind;
use crate::record::AccountId;
use crate::stacks::ThreadId;
use std::vec::Vec;

use super::super::*;
use super::machine::{Calls, Cpu, Machine, thread_request};
use crate::addr::Addr;
use crate::cache::{CACHE_HALF, CACHE_STACKS, CpuCache};

fn machine() -> Machine {
    Machine::new(40, 3, ErasePolicy::Dirtied)
}

fn cache(number: u32) -> CpuCache {
    CpuCache::new(CpuId::new(number))
}

/// `count` stacks taken by `cpu` one after the other.
fn take(machine: &Machine, cpu: u32, cache: &mut CpuCache, count: usize) -> Vec<SlotIndex> {
    let mut cpu = machine.cpu(cpu);
    (0..count).map(|_| cpu.acquire(&thread_request(), cache).expect("there is room")).collect()
}

#[test]
fn t4_a_hit_takes_no_lock_maps_nothing_and_does_no_tlb_work() {
    let machine = machine();
    let (mut cpu, mut cache) = (machine.cpu(0), cache(0));
    let slot = take(&machine, 0, &mut cache, 1)[0];
    cpu.enter(slot);
    cpu.write(slot, 0, 7);
    assert_eq!(cpu.release(slot, &mut cache), ReleaseOutcome::Cached);
    let before = machine.calls();
    let again = cpu.acquire(&thread_request(), &mut cache).expect("there is one");
    cpu.enter(again);
    assert_eq!(again, slot);
    assert_eq!(machine.calls(), before);
    assert_eq!(cache.stats().hits, 1);
}

#[test]
fn t4_giving_back_takes_no_lock_while_the_cache_has_room() {
    let machine = machine();
    let (mut cpu, mut cache) = (machine.cpu(0), cache(0));
    let stacks = take(&machine, 0, &mut cache, CACHE_STACKS);
    let before = machine.calls();
    for slot in stacks {
        assert_eq!(cpu.release(slot, &mut cache), ReleaseOutcome::Cached);
    }
    assert_eq!(machine.calls(), before);
    assert_eq!(cache.len(), CACHE_STACKS);
}

#[test]
fn t4_the_stack_freed_last_is_given_first() {
    let machine = machine();
    let (mut cpu, mut cache) = (machine.cpu(0), cache(0));
    let stacks = take(&machine, 0, &mut cache, 3);
    for slot in &stacks {
        assert_eq!(cpu.release(*slot, &mut cache), ReleaseOutcome::Cached);
    }
    let again = take(&machine, 0, &mut cache, 3);
    assert!(again.iter().eq(stacks.iter().rev()));
}

#[test]
fn t4_a_full_cache_flushes_its_colder_half_to_the_depot() {
    let machine = machine();
    let (mut cpu, mut cache) = (machine.cpu(0), cache(0));
    let stacks = take(&machine, 0, &mut cache, CACHE_STACKS + 1);
    for slot in &stacks[..CACHE_STACKS] {
        assert_eq!(cpu.release(*slot, &mut cache), ReleaseOutcome::Cached);
    }
    let fate = cpu.release(stacks[CACHE_STACKS], &mut cache);
    assert_eq!(fate, ReleaseOutcome::Flushed { excess: 0 });
    assert_eq!(cache.stacks(), &stacks[CACHE_HALF..], "the warmer ones stay");
    machine.check(&[&cache], &[]);
    assert_eq!(machine.calls().unmap, 0);
    assert_eq!(cache.stats().flushes, 1);
}

#[test]
fn t4_an_empty_cache_refills_half_from_the_depot_with_one_lock() {
    let machine = machine();
    let (mut first, mut second) = (cache(0), cache(1));
    let stacks = take(&machine, 0, &mut first, CACHE_STACKS);
    for slot in stacks {
        assert_eq!(machine.cpu(0).release(slot, &mut first), ReleaseOutcome::Cached);
    }
    assert_eq!(machine.pool.drain_cpu(&mut first, &machine.cpu(0).lock()), CACHE_STACKS);
    let before = machine.calls();
    let mut held = take(&machine, 1, &mut second, 1);
    let after = machine.calls();
    assert_eq!(second.len(), CACHE_HALF - 1);
    assert_eq!(after.lock - before.lock, 1);
    assert_eq!(after.map, before.map);
    assert_eq!(after.flush - before.flush, CACHE_HALF as u32, "made coherent when refilled");
    machine.check(&[&first, &second], &held);
    held.extend(take(&machine, 1, &mut second, CACHE_HALF - 1));
    for slot in &held {
        machine.cpu(1).enter(*slot);
    }
    assert_eq!(machine.calls(), after, "the hits that follow do no TLB work and take no lock");
    assert_eq!(second.stats().refills, 1);
}

#[test]
fn t4_taking_and_freeing_around_the_border_does_not_lock_each_time() {
    let machine = machine();
    let (mut cpu, mut cache) = (machine.cpu(0), cache(0));
    let mut held = take(&machine, 0, &mut cache, CACHE_STACKS + 1);
    for slot in held.drain(..) {
        let _: ReleaseOutcome = cpu.release(slot, &mut cache);
    }
    let before = machine.calls().lock;
    for _ in 0..100 {
        let stacks = take(&machine, 0, &mut cache, CACHE_HALF);
        for slot in stacks {
            assert_eq!(cpu.release(slot, &mut cache), ReleaseOutcome::Cached);
        }
    }
    assert_eq!(machine.calls().lock, before);
}

#[test]
fn t4_what_exceeds_the_target_is_unmapped_for_real_and_its_slot_comes_back() {
    let machine = machine();
    let (mut cpu, mut cache) = (machine.cpu(0), cache(0));
    let stacks = take(&machine, 0, &mut cache, 40);
    assert_eq!(
        cpu.acquire(&thread_request(), &mut cache),
        Err(AcquireError::NoAddressSpace),
        "40 slots are 40 slots"
    );
    let mut excess = 0;
    for slot in stacks {
        if let ReleaseOutcome::Flushed { excess: now } = cpu.release(slot, &mut cache) {
            excess = now;
        }
    }
    let wanted = Depot::FIRST_TARGET;
    assert_eq!(excess, 40 - CACHE_STACKS as u32 - wanted);
    machine.check(&[&cache], &[]);
    assert_eq!(cpu.shrink(3), 3, "no more than asked for");
    assert_eq!(cpu.shrink(u32::MAX), excess - 3);
    assert_eq!(cpu.shrink(u32::MAX), 0, "the target stays");
    machine.check(&[&cache], &[]);
    assert_eq!(machine.holdings().frames, 4 * (CACHE_STACKS + wanted as usize));
    assert_eq!(cpu.reclaim(u32::MAX), wanted, "under pressure the depot goes as well");
    machine.check(&[&cache], &[]);
    assert_eq!(machine.holdings().frames, 4 * CACHE_STACKS);
    let some = take(&machine, 0, &mut cache, CACHE_STACKS + 1);
    let rest = take(&machine, 0, &mut cache, 31);
    assert_eq!(some.len() + rest.len(), 40, "all slots are usable again");
    machine.check(&[&cache], &[some, rest].concat());
}

#[test]
fn t4_draining_a_cpu_leaves_nothing_there_and_unmaps_nothing() {
    let machine = machine();
    let (cpu, mut gone, mut stays) = (machine.cpu(0), cache(0), cache(1));
    for slot in take(&machine, 0, &mut gone, 5) {
        assert_eq!(machine.cpu(0).release(slot, &mut gone), ReleaseOutcome::Cached);
    }
    assert_eq!(machine.pool.drain_cpu(&mut gone, &cpu.in_interrupt().lock()), 5);
    assert!(gone.is_empty());
    machine.check(&[&gone, &stays], &[]);
    let before = machine.calls();
    let held = take(&machine, 1, &mut stays, 5);
    assert_eq!(machine.calls().map, before.map, "another CPU uses them");
    machine.check(&[&gone, &stays], &held);
}

#[test]
fn t4_a_slot_that_was_used_before_is_mapped_again_before_a_fresh_one_is_touched() {
    let machine = machine();
    let (mut cpu, mut cache) = (machine.cpu(0), cache(0));
    let part = Request { pages: Some(1), ..thread_request() };
    for _ in 0..10 {
        let slot = cpu.acquire(&part, &mut cache).expect("there is room");
        assert_eq!(slot, SlotIndex::new(0), "its page tables are there already");
        assert_eq!(cpu.release(slot, &mut cache), ReleaseOutcome::ToUnmap);
        assert_eq!(cpu.shrink(1), 1);
    }
    let shared = machine.shared.lock().expect("nobody panics here");
    assert_eq!((shared.free.never_used(), shared.free.count()), (1..40, 40));
}

#[test]
fn t4_the_depots_target_follows_the_swings_and_decays() {
    let machine = machine();
    let records = machine.pool.records();
    let mut depot = Depot::new();
    assert_eq!(depot.target(), Depot::FIRST_TARGET);
    for number in 0..30 {
        depot.put(records, SlotIndex::new(number));
    }
    depot.end_period();
    assert_eq!(depot.target(), 12 + 30, "16 less a fifth, rounded up, and a swing of 30");
    for _ in 0..10 {
        let slot = depot.take(records).expect("there are 30");
        depot.put(records, slot);
    }
    depot.end_period();
    assert_eq!(depot.target(), 33, "a steady load wants no stock");
    let mut periods = 0;
    while depot.target() > 0 {
        depot.end_period();
        periods += 1;
        assert!(periods < 40, "a quiet machine ends up with no stock");
    }
    assert_eq!(depot.excess(), 30);
    assert!(depot.remove(records).is_some());
    depot.end_period();
    assert_eq!(depot.target(), 0, "unmapping is no traffic");
}

/// Red if only the difference at the end of a period counts: the target would decay to nothing, and
/// each swing map its stacks anew.
#[test]
fn t4_a_swing_that_comes_again_and_again_finds_its_stacks_parked() {
    for periods_per_swing in [1, 2, 5] {
        let machine = machine();
        let records = machine.pool.records();
        let mut depot = Depot::new();
        for number in 0..30 {
            depot.put(records, SlotIndex::new(number));
        }
        let mut out = Vec::new();
        for swing in 0..40 {
            // Down and up again, in one period or in several.
            let steps: Vec<bool> = [[true; 30], [false; 30]].concat();
            for (step, down) in steps.into_iter().enumerate() {
                if down {
                    out.push(depot.take(records).expect("parked by the last swing"));
                } else {
                    depot.put(records, out.pop().expect("taken by this swing"));
                }
                if step % (60 / periods_per_swing) == 0 {
                    depot.end_period();
                    assert_eq!(depot.excess(), 0, "stacks are unmapped in swing {swing}");
                }
            }
        }
        assert!((24..=150).contains(&depot.target()), "{}", depot.target());
    }
}

#[test]
fn t6_each_nodes_shared_part_has_slots_of_its_own() {
    use std::collections::BTreeSet;
    let machine = machine();
    let (pool, mut first) = (machine.pool, machine.shared.into_inner().expect("no panic"));
    let mut second = first.split_off(15).expect("40 are free");
    let mut third = first.split_off(5).expect("25 are free");
    assert!(first.split_off(21).is_none() && first.free.count() == 20);
    let mut seen = BTreeSet::new();
    for (shared, slots) in [(&mut first, 20), (&mut second, 15), (&mut third, 5)] {
        assert_eq!(shared.free.count(), slots);
        while let Some(slot) = shared.free.take(pool.records()) {
            assert!(seen.insert(slot), "{slot:?} is in two nodes");
        }
        assert_eq!(shared.free.count(), 0);
    }
    assert_eq!(seen.len(), 40);
    // A stack that is unmapped on another node than the one it came from stays there.
    second.free.put(pool.records(), SlotIndex::new(0));
    assert_eq!((first.free.count(), second.free.count()), (0, 1));
    assert_eq!(second.free.take(pool.records()), Some(SlotIndex::new(0)));
}

#[test]
fn t8_freeing_in_an_interrupt_handler_never_unmaps() {
    let machine = machine();
    let mut cache = cache(0);
    let part = Request { pages: Some(2), ..thread_request() };
    let mut cpu = machine.cpu(0);
    let small = cpu.acquire(&part, &mut cache).expect("there is room");
    let stacks = take(&machine, 0, &mut cache, 39);
    // The machine panics if this context unmaps.
    let mut handler = cpu.in_interrupt();
    assert_eq!(handler.release(small, &mut cache), ReleaseOutcome::ToUnmap);
    for slot in stacks {
        let _: ReleaseOutcome = handler.release(slot, &mut cache);
    }
    machine.check(&[&cache], &[]);
    assert_eq!(machine.calls().unmap, 0);
    assert!(cpu.shrink(u32::MAX) > 0, "what waits for it is unmapped later");
    machine.check(&[&cache], &[]);
}

#[test]
fn t8_a_borrowed_stack_is_not_recycled_until_it_is_given_back() {
    let machine = machine();
    let (mut owner, mut owners) = (machine.cpu(0), cache(0));
    let (mut reader, mut readers) = (machine.cpu(1), cache(1));
    let slot = take(&machine, 0, &mut owners, 1)[0];
    let generation = machine.pool.record(slot).life().generation();
    owner.enter(slot);
    owner.write(slot, 0, 42);
    let borrowed = machine.pool.borrow(slot, generation).expect("the owner is there");
    assert_eq!(owner.release(slot, &mut owners), ReleaseOutcome::StillBorrowed);
    assert_eq!(reader.read(slot, 0), 42, "the reader still sees what the owner left");
    assert!(machine.holdings().charged.values().sum::<usize>() > 0, "and it is still paid for");
    assert_eq!(machine.pool.borrow(slot, generation), None, "no new borrow of a dead stack");
    machine.check(&[&owners, &readers], &[slot]);
    let other = take(&machine, 0, &mut owners, 1)[0];
    assert_ne!(other, slot);
    assert_eq!(reader.give_back(borrowed, &mut readers), ReleaseOutcome::Cached);
    assert_eq!(readers.stacks(), [slot], "it was taken back on the reader's CPU");
    machine.check(&[&owners, &readers], &[other]);
    assert_eq!(machine.pool.borrow(slot, generation), None);
}

#[test]
fn t8_a_borrow_of_a_slot_number_that_is_no_slot_fails() {
    let machine = machine();
    let generation = machine.pool.record(SlotIndex::new(0)).life().generation();
    assert_eq!(machine.pool.borrow(SlotIndex::new(40), generation), None);
    assert_eq!(machine.pool.borrow(SlotIndex::new(0), generation), None, "never used");
}

#[test]
fn t5_n2_a_re_used_stack_reads_as_zero_and_only_dirtied_pages_were_erased() {
    // Frames leave holes: any subset of pages may have been written.
    for pattern in 0..16_u32 {
        let machine = machine();
        let (mut cpu, mut cache) = (machine.cpu(0), cache(0));
        let slot = take(&machine, 0, &mut cache, 1)[0];
        cpu.enter(slot);
        for page in (0..4).filter(|page| pattern >> page & 1 != 0) {
            cpu.write(slot, page, 99);
        }
        assert_eq!(cpu.release(slot, &mut cache), ReleaseOutcome::Cached);
        assert_eq!(machine.calls().erase, pattern.count_ones());
        assert_eq!(cache.stats().erased_pages, u64::from(pattern.count_ones()));
        assert_eq!(take(&machine, 0, &mut cache, 1), [slot]);
        assert!(cpu.reads_as_zero(slot));
    }
}

/// Red if the word is lost with the page that it is in, is written each time whatever was erased,
/// or is not at the end of a stack that is smaller than a body.
#[test]
fn t12_n2_a_stack_has_its_end_word_and_it_is_written_again_only_where_it_was_erased() {
    for pattern in 0..16_u32 {
        let machine = machine();
        let (mut cpu, mut cache) = (machine.cpu(0), cache(0));
        let slot = take(&machine, 0, &mut cache, 1)[0];
        assert!(cpu.has_end_word(slot) && machine.calls().mark_end == 1);
        cpu.enter(slot);
        for page in (0..4).filter(|page| pattern >> page & 1 != 0) {
            cpu.write(slot, page, 99);
        }
        assert_eq!(cpu.release(slot, &mut cache), ReleaseOutcome::Cached);
        assert_eq!(machine.calls().mark_end, 1 + (pattern >> 3));
        assert_eq!(take(&machine, 0, &mut cache, 1), [slot]);
        assert!(cpu.has_end_word(slot));
        let small = Request { pages: Some(2), ..thread_request() };
        let small = cpu.acquire(&small, &mut cache).expect("there is room");
        assert!(cpu.has_end_word(small));
    }
}

#[test]
fn n2_t10_a_stack_mapped_a_moment_ago_needs_no_flush_on_any_cpu_of_the_set() {
    let machine = machine();
    let (mut cpu, mut cache) = (machine.cpu(0), cache(0));
    let slot = take(&machine, 0, &mut cache, 1)[0];
    let record = machine.pool.record(slot);
    assert!((0..64).all(|number| !record.needs_flush(CpuId::new(number))));
    assert!(record.needs_flush(CpuId::new(64)));
    assert_eq!(cpu.release(slot, &mut cache), ReleaseOutcome::Cached);
    assert!(!record.needs_flush(CpuId::new(0)));
    assert!((1..65).all(|number| record.needs_flush(CpuId::new(number))), "recycled on CPU 0");
}

/// A CPU that may remember that a page was absent.
struct RemembersAbsent<'m>(Cpu<'m>);

impl Pages for RemembersAbsent<'_> {
    const ABSENT_IS_REMEMBERED: bool = true;

    fn charge(&mut self, account: AccountId, size: ByteSize) -> Result<(), OverLimit> {
        self.0.charge(account, size)
    }
    fn uncharge(&mut self, account: AccountId, size: ByteSize) {
        self.0.uncharge(account, size);
    }
    fn map_page(&mut self, page: Addr) -> Result<(), Exhausted> {
        self.0.map_page(page)
    }
    fn unmap_pages(&mut self, range: AddrRange) {
        self.0.unmap_pages(range);
    }
    fn erase(&mut self, body: AddrRange, plan: impl FnOnce(DirtyPages) -> DirtyPages) -> u32 {
        self.0.erase(body, plan)
    }
    fn flush_local(&mut self, body: AddrRange) {
        self.0.flush_local(body);
    }
    fn mark_end(&mut self, lowest: Addr) {
        self.0.mark_end(lowest);
    }
}

#[test]
fn t10_where_cpus_remember_absent_pages_each_forgets_them_before_it_uses_a_new_stack() {
    let machine = machine();
    let (mut cpu, mut cache) = (RemembersAbsent(machine.cpu(0)), cache(0));
    let lock = machine.cpu(0).lock();
    let got = machine.pool.acquire(&thread_request(), &mut cache, &lock, &mut cpu);
    let stack = got.expect("there is room");
    let slot = stack.slot();
    let record = machine.pool.record(slot);
    assert!((0..64).all(|number| record.needs_flush(CpuId::new(number))));
    machine.pool.make_coherent(slot, CpuId::new(3), &mut cpu);
    assert!((0..64).all(|number| record.needs_flush(CpuId::new(number)) == (number != 3)));
}

#[test]
fn n2_the_full_policy_erases_every_page() {
    let machine = Machine::new(1, 1, ErasePolicy::Full);
    let (mut cpu, mut cache) = (machine.cpu(0), cache(0));
    let slot = take(&machine, 0, &mut cache, 1)[0];
    assert_eq!(cpu.release(slot, &mut cache), ReleaseOutcome::Cached);
    assert_eq!(
        machine.calls(),
        Calls { map: 4, erase: 4, lock: 2, mark_end: 2, ..Calls::default() }
    );
}

/// A CPU without dirty bits: says that everything was written, without knowing how large a body is.
struct NoDirtyBits<'m>(Cpu<'m>);

impl Pages for NoDirtyBits<'_> {
    fn charge(&mut self, account: AccountId, size: ByteSize) -> Result<(), OverLimit> {
        self.0.charge(account, size)
    }
    fn uncharge(&mut self, account: AccountId, size: ByteSize) {
        self.0.uncharge(account, size);
    }
    fn map_page(&mut self, page: Addr) -> Result<(), Exhausted> {
        self.0.map_page(page)
    }
    fn unmap_pages(&mut self, range: AddrRange) {
        self.0.unmap_pages(range);
    }
    fn erase(&mut self, body: AddrRange, plan: impl FnOnce(DirtyPages) -> DirtyPages) -> u32 {
        self.0.erase(body, |_| plan(DirtyPages::from_bits(u32::MAX)))
    }
    fn flush_local(&mut self, body: AddrRange) {
        self.0.flush_local(body);
    }
    fn mark_end(&mut self, lowest: Addr) {
        self.0.mark_end(lowest);
    }
}

#[test]
fn n2_without_dirty_bits_the_whole_body_is_erased_and_nothing_below_it() {
    let machine = machine();
    let (mut cpu, mut cache) = (NoDirtyBits(machine.cpu(0)), cache(0));
    let lock = machine.cpu(0).lock();
    let got = machine.pool.acquire(&thread_request(), &mut cache, &lock, &mut cpu);
    let stack = got.expect("there is room");
    let slot = stack.slot();
    cpu.0.write(slot, 2, 5);
    // The machine panics if a page outside the body is erased.
    assert_eq!(machine.pool.release(stack, &mut cache, &lock, &mut cpu), ReleaseOutcome::Cached);
    assert_eq!(machine.calls().erase, 4);
    machine.check(&[&cache], &[]);
}

#[test]
fn t5_n2_a_stack_that_comes_back_to_a_cpu_with_old_tlb_entries_is_erased_all_the_same() {
    let machine = machine();
    let (mut zero, mut zeros) = (machine.cpu(0), cache(0));
    let (mut one, mut ones) = (machine.cpu(1), cache(1));
    let slot = take(&machine, 0, &mut zeros, 1)[0];
    // Both CPUs have run on it and remember D=1; it is recycled on CPU 0.
    for cpu in [&mut one, &mut zero] {
        cpu.enter(slot);
        cpu.write(slot, 0, 1);
    }
    assert_eq!(zero.release(slot, &mut zeros), ReleaseOutcome::Cached);
    // Next life: CPU 1 writes, CPU 0 recycles again.
    assert_eq!(take(&machine, 0, &mut zeros, 1), [slot]);
    one.enter(slot);
    one.write(slot, 0, 2);
    assert_eq!(zero.release(slot, &mut zeros), ReleaseOutcome::Cached);
    assert_eq!(take(&machine, 0, &mut zeros, 1), [slot]);
    assert!(zero.reads_as_zero(slot));
    // And: a life spent on CPU 0 that is recycled on CPU 1, which remembers D=1 for a page that is
    // clean now.
    assert_eq!(one.release(slot, &mut ones), ReleaseOutcome::Cached);
    assert_eq!(take(&machine, 1, &mut ones, 1), [slot]);
    one.enter(slot);
    one.write(slot, 0, 3);
    assert_eq!(one.release(slot, &mut ones), ReleaseOutcome::Cached);
    assert_eq!(take(&machine, 1, &mut ones, 1), [slot]);
    assert!(one.reads_as_zero(slot));
}

#[test]
fn t4_a_stack_of_another_size_is_never_cached() {
    let machine = machine();
    let (mut cpu, mut cache) = (machine.cpu(0), cache(0));
    let small = Request { kind: StackKind::Nmi, pages: Some(2), ..thread_request() };
    let slot = cpu.acquire(&small, &mut cache).expect("there is room");
    let body = machine.pool.body(slot);
    assert_eq!(body.size(), ByteSize::kib(8));
    assert_eq!(body.top, machine.pool.arena().body(slot).top, "the top-most pages are mapped");
    machine.check(&[&cache], &[slot]);
    assert_eq!(cpu.release(slot, &mut cache), ReleaseOutcome::ToUnmap);
    assert!(cache.is_empty());
    machine.check(&[&cache], &[]);
    assert_eq!(cpu.shrink(u32::MAX), 1);
    machine.check(&[&cache], &[]);
    assert_eq!(machine.holdings(), Default::default());
}

#[test]
fn t1_a_stack_of_no_page_or_more_than_a_body_is_refused_and_nothing_stays_charged() {
    let machine = machine();
    for pages in [0, 5, u8::MAX] {
        let request = Request { pages: Some(pages), ..thread_request() };
        let refused = machine.cpu(0).acquire(&request, &mut cache(0));
        assert_eq!(refused, Err(AcquireError::BadSize));
        machine.check(&[], &[]);
    }
}

#[test]
fn n9_a_record_says_whose_stack_it_is_from_hand_out_to_release() {
    let machine = machine();
    let (mut cpu, mut cache) = (machine.cpu(2), cache(2));
    let request = Request {
        kind: StackKind::Irq,
        owner: ThreadId::new(77),
        cpu: CpuId::new(2),
        account: AccountId::new(5),
        pages: None,
    };
    let slot = cpu.acquire(&request, &mut cache).expect("there is room");
    let record = machine.pool.record(slot);
    let sp = machine.pool.body(slot).top.wrapping_sub(ByteSize::new(1000));
    record.watermark().sample(sp);
    record.watermark().sample(sp.wrapping_add(ByteSize::new(500)));
    let live = record.snapshot();
    assert_eq!(live.state, LifeState::Live);
    assert_eq!(live.kind, Some(StackKind::Irq));
    assert_eq!((live.owner, live.cpu), (ThreadId::new(77), CpuId::new(2)));
    assert_eq!((live.account, live.mapped), (AccountId::new(5), ByteSize::kib(16)));
    assert_eq!(live.lowest_sample, Some(sp), "the deeper of two samples");
    assert!(live.settled);
    assert_eq!(record.watermark().depth_at_least(machine.pool.body(slot).top).get(), 1000);
    assert_eq!(cpu.release(slot, &mut cache), ReleaseOutcome::Cached);
    let dead = record.snapshot();
    assert_eq!((dead.state, dead.owner), (LifeState::Parked, ThreadId::NONE));
    assert_eq!(take(&machine, 2, &mut cache, 1), [slot]);
    let next = record.snapshot();
    assert_ne!(next.generation, live.generation);
    assert_eq!(next.lowest_sample, None, "samples of an earlier life are forgotten");
}

#[test]
fn n9_records_share_no_cache_line() {
    assert_eq!(size_of::<SlotRecord>(), 64);
    assert_eq!(align_of::<SlotRecord>(), 64);
}

#[test]
fn t1_a_pool_without_a_record_per_slot_or_with_too_large_bodies_is_refused() {
    use crate::geometry::Geometry;
    let arena = *machine().pool.arena();
    let mut records: Vec<SlotRecord> = (0..40).map(|_| SlotRecord::new()).collect();
    let refusal = Pool::new(arena, &mut records[1..], ErasePolicy::Dirtied).err();
    assert_eq!(refusal, Some(PoolError::RecordsMismatch));
    let kib = ByteSize::kib;
    let large = Geometry::new(kib(256), kib(128), kib(128), kib(256)).expect("it is valid");
    let lowest = Arena::lowest_from(Addr::new(0x1000_0000), large).expect("room");
    let arena = Arena::new(lowest, 40, large).expect("it is valid");
    let refusal = Pool::new(arena, &mut records, ErasePolicy::Dirtied).err();
    assert_eq!(refusal, Some(PoolError::BodyTooLarge));
}
