//! The coherence rule on a small machine: two CPUs, one page, every order of events.
//!
//! ```text
//!   page:  written? · D in the page table          per CPU:  TLB entry { none, D=0, D=1 }
//!   stack: live on a CPU | parked                  record:   coherent set
//! ```
//!
//! Events: speculative fill on any CPU at any time; write by the CPU that runs the stack; write by
//! another CPU (a waker) into a page the owner has written; migration; recycling on either CPU, in
//! its single steps; handing out. The promise checked: **when a stack is parked, the page does not
//! hold what its owner wrote.**

extern crate std;

use std::collections::HashSet;
use std::vec;
use std::vec::Vec;

use super::*;

/// How the model deviates from the rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Variant {
    AsWritten,
    /// A CPU outside the set runs on the stack without dropping its entries.
    NoFlushBeforeRunning,
    /// The TLB entry is dropped before the dirty bit is cleared.
    DropBeforeClear,
    /// The entry is not dropped at all after clearing.
    NoDropAfterClear,
    /// A recycler outside the set drops only entries of pages it finds dirty.
    RecyclerDropsDirtyOnly,
    /// The recycler joins the set instead of becoming its only member.
    SetIsNotReset,
    /// A waker writes into a page that the owner has not written.
    WakerWritesFirst,
    /// Erasing goes through the stack's own mapping and dirties it again (harmless: shows the check
    /// does not cry wolf).
    EraseThroughOwnMapping,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Stage {
    /// Runs on this CPU.
    Live(usize),
    /// Not running, owned: may be dispatched anywhere or end.
    Switched,
    /// Being recycled on this CPU; steps in order.
    Flush(usize),
    DropEarly(usize),
    Clear(usize),
    Drop(usize, bool),
    Erase(usize, bool),
    Parked,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Machine {
    /// The page holds something of its present owner.
    secret: bool,
    /// The owner has written the page itself in this life.
    owner_wrote: bool,
    dirty: bool,
    /// Per CPU: no entry, or an entry with this D.
    tlb: [Option<bool>; 2],
    coherent: [bool; 2],
    stage: Stage,
}

impl Machine {
    const FRESH: Self = Self {
        secret: false,
        owner_wrote: false,
        dirty: false,
        tlb: [None; 2],
        coherent: [true; 2],
        stage: Stage::Parked,
    };

    /// What the hardware does on a write.
    fn write(mut self, cpu: usize) -> Self {
        if self.tlb[cpu] != Some(true) {
            self.dirty = true;
            self.tlb[cpu] = Some(true);
        }
        self.secret = true;
        self
    }

    /// What a CPU does before it runs on the stack or writes its first frame.
    fn entered(mut self, cpu: usize, variant: Variant) -> Self {
        if !self.coherent[cpu] && variant != Variant::NoFlushBeforeRunning {
            self.tlb[cpu] = None;
            self.coherent[cpu] = true;
        }
        self.stage = Stage::Live(cpu);
        self
    }

    /// All states that one event leads to.
    fn events(self, variant: Variant) -> Vec<Self> {
        let mut next = Vec::new();
        for cpu in 0..2 {
            let mut filled = self;
            filled.tlb[cpu] = Some(self.dirty);
            // An entry may be dropped by anything at any time, too.
            let mut evicted = self;
            evicted.tlb[cpu] = None;
            if self.tlb[cpu].is_none() {
                next.push(filled);
            } else {
                next.push(evicted);
            }
            let owned = matches!(self.stage, Stage::Live(_) | Stage::Switched);
            if owned && (self.owner_wrote || variant == Variant::WakerWritesFirst) {
                next.push(self.write(cpu));
            }
        }
        match self.stage {
            Stage::Live(cpu) => {
                next.push(Self { owner_wrote: true, ..self.write(cpu) });
                next.push(Self { stage: Stage::Switched, ..self });
            }
            Stage::Switched => {
                for cpu in 0..2 {
                    next.push(self.entered(cpu, variant));
                    next.push(Self { stage: Stage::Flush(cpu), ..self });
                }
            }
            Stage::Flush(cpu) => {
                let mut flushed = self;
                if !self.coherent[cpu] && variant != Variant::RecyclerDropsDirtyOnly {
                    flushed.tlb[cpu] = None;
                }
                flushed.stage = Stage::DropEarly(cpu);
                next.push(flushed);
            }
            Stage::DropEarly(cpu) => {
                let mut dropped = self;
                if variant == Variant::DropBeforeClear && self.dirty {
                    dropped.tlb[cpu] = None;
                }
                dropped.stage = Stage::Clear(cpu);
                next.push(dropped);
            }
            Stage::Clear(cpu) => {
                next.push(Self { dirty: false, stage: Stage::Drop(cpu, self.dirty), ..self });
            }
            Stage::Drop(cpu, was_dirty) => {
                let mut dropped = self;
                let late = !matches!(variant, Variant::DropBeforeClear | Variant::NoDropAfterClear);
                if was_dirty && late {
                    dropped.tlb[cpu] = None;
                }
                let others = variant == Variant::SetIsNotReset;
                dropped.coherent = [0, 1].map(|c| c == cpu || (others && self.coherent[c]));
                dropped.stage = Stage::Erase(cpu, was_dirty);
                next.push(dropped);
            }
            Stage::Erase(cpu, was_dirty) => {
                let mut erased = self;
                if was_dirty {
                    if variant == Variant::EraseThroughOwnMapping {
                        erased = erased.write(cpu);
                    }
                    erased.secret = false;
                }
                erased.owner_wrote = false;
                erased.stage = Stage::Parked;
                next.push(erased);
            }
            Stage::Parked => {
                for cpu in 0..2 {
                    next.push(self.entered(cpu, variant));
                }
            }
        }
        next
    }
}

/// Visits all states; answers how many, or a state in which a parked page holds something.
fn explore(variant: Variant) -> Result<usize, Machine> {
    let mut seen = HashSet::new();
    let mut open = vec![Machine::FRESH];
    while let Some(machine) = open.pop() {
        if !seen.insert(machine) {
            continue;
        }
        if machine.stage == Stage::Parked && machine.secret {
            return Err(machine);
        }
        open.extend(machine.events(variant));
    }
    Ok(seen.len())
}

#[test]
fn n2_t5_in_every_order_of_events_a_written_page_is_seen_dirty_and_erased() {
    let states = explore(Variant::AsWritten).expect("no leak in any order of events");
    assert!(states > 100, "the model is too small to mean anything: {states} states");
}

#[test]
fn n2_t5_the_check_finds_the_leak_in_each_broken_rule() {
    for variant in [
        Variant::NoFlushBeforeRunning,
        Variant::DropBeforeClear,
        Variant::NoDropAfterClear,
        Variant::RecyclerDropsDirtyOnly,
        Variant::SetIsNotReset,
        Variant::WakerWritesFirst,
    ] {
        assert!(explore(variant).is_err(), "{variant:?} leaks and was not noticed");
    }
}

#[test]
fn n2_erasing_through_the_stacks_own_mapping_costs_an_erase_but_leaks_nothing() {
    explore(Variant::EraseThroughOwnMapping).expect("the page only stays dirty");
}

#[test]
fn n2_only_dirtied_pages_are_planned_and_never_one_that_is_not_mapped() {
    let dirty = DirtyPages::NONE.with(0).with(2).with(5);
    assert_eq!(ErasePolicy::Dirtied.plan(dirty, 4), DirtyPages::NONE.with(0).with(2));
    assert_eq!(ErasePolicy::Dirtied.plan(DirtyPages::NONE, 4), DirtyPages::NONE);
    assert_eq!(ErasePolicy::Full.plan(DirtyPages::NONE, 4).bits(), 0b1111);
}

#[test]
fn n2_bit_zero_is_the_page_where_the_stack_begins() {
    let top = Addr::new(0xffff_c900_0000_7000);
    let pages: Vec<Addr> = DirtyPages::NONE.with(0).with(1).with(3).addresses(top).collect();
    let expected = [0xffff_c900_0000_6000, 0xffff_c900_0000_5000, 0xffff_c900_0000_3000];
    assert_eq!(pages, expected.map(Addr::new));
    for page in 0..32 {
        for byte in [0, 1, 4095] {
            let addr =
                top.wrapping_sub(ByteSize::pages(page + 1)).wrapping_add(ByteSize::new(byte));
            assert_eq!(DirtyPages::page_of(addr, top), Some(page as u8));
        }
    }
    assert_eq!(DirtyPages::page_of(top, top), None);
    assert_eq!(DirtyPages::page_of(top.wrapping_sub(ByteSize::pages(33)), top), None);
}

#[test]
fn n2_all_pages_of_the_largest_body_fit_the_mask() {
    assert_eq!(DirtyPages::topmost(0), DirtyPages::NONE);
    assert_eq!(DirtyPages::topmost(4).bits(), 0b1111);
    assert_eq!(DirtyPages::topmost(32).bits(), u32::MAX);
    assert_eq!(DirtyPages::topmost(32).count(), 32);
    for more in [33, 63, 64, 65, 255] {
        assert_eq!(DirtyPages::topmost(more).count(), 32, "{more}");
    }
}

#[test]
fn n2_a_cpu_beyond_the_set_flushes_each_time() {
    let set = CoherentSet::new();
    const BEYOND: u32 = CoherentSet::CPUS;
    for number in [0, 5, BEYOND - 1] {
        let cpu = CpuId::new(number);
        assert!(set.needs_flush(cpu));
        set.mark_coherent(cpu);
        assert!(!set.needs_flush(cpu));
    }
    assert_eq!(set.bits(), 1 | 1 << 5 | 1 << (BEYOND - 1));
    for number in [BEYOND, BEYOND + 1, 2 * BEYOND] {
        let cpu = CpuId::new(number);
        set.mark_coherent(cpu);
        assert!(set.needs_flush(cpu));
        set.reset_to_all();
        assert!(set.needs_flush(cpu));
        set.reset_to_bit(CpuBit::of(cpu));
        assert!(set.needs_flush(cpu));
        assert_eq!(set.bits(), 0);
    }
    set.reset_to_bit(CpuBit::of(CpuId::new(5)));
    assert!(!set.needs_flush(CpuId::new(5)));
    assert!(set.needs_flush(CpuId::new(0)), "recycling leaves only the recycler in the set");
}

/// Red if a page's number wraps: another page would be erased in its place, or none.
#[test]
fn t5_a_page_that_a_body_cannot_have_is_in_no_set_and_makes_all_of_it_dirty() {
    let all = DirtyPages::from_bits(u32::MAX);
    for page in [32, 33, 64, 255] {
        assert_eq!(DirtyPages::NONE.with(page), all);
        assert!(!all.contains(page));
    }
    for page in 0..32 {
        let one = DirtyPages::NONE.with(page);
        assert_eq!((one.count(), one.contains(page)), (1, true));
        assert!(!DirtyPages::NONE.contains(page) && !one.is_empty());
        assert!(!DirtyPages::from_bits(!one.bits()).contains(page));
    }
    assert!(DirtyPages::NONE.is_empty());
}

/// Taken out again by being named twice, a page that was written would not be erased.
#[test]
fn t5_n2_a_page_that_is_named_twice_stays_in_the_set() {
    let two = DirtyPages::from_bits(0b110);
    assert_eq!(two.with(1), two);
    assert_eq!(two.or(DirtyPages::from_bits(0b011)).bits(), 0b111);
}

/// A CPU that is marked twice is still in the set; one that was in the set of the slot's last life
/// is in none when CPUs may remember that nothing was mapped.
#[test]
fn t10_n2_marking_a_cpu_twice_keeps_it_and_a_new_mapping_forgets_all() {
    let set = CoherentSet::new();
    let cpu = CpuId::new(5);
    set.mark_coherent(cpu);
    set.mark_coherent(cpu);
    assert!(!set.needs_flush(cpu) && set.has(CpuBit::of(cpu)));
    set.reset_to_none();
    assert!(set.needs_flush(cpu) && !set.has(CpuBit::of(cpu)));
    assert_eq!(set.bits(), 0);
}
