//! A machine made of tables: page tables with dirty bits, a TLB per CPU, frames with contents,
//! accounts.
//!
//! It is strict where hardware is treacherous: a write through a TLB entry with D=1 does not touch
//! the page table; a read or an idle moment may fill an entry; mapping over a stale entry,
//! unmapping where waiting is forbidden, giving back what was not taken all panic.

use crate::kind::StackKind;
use crate::record::AccountId;
use crate::stacks::ThreadId;
use std::boxed::Box;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::vec::Vec;

use super::super::*;
use crate::addr::Addr;
use crate::cache::CpuCache;
use crate::geometry::Geometry;

/// Bytes that one page table maps, in this machine: less than on a real one, so that tests cross
/// tables.
const TABLE_BYTES: usize = 64 * 1024;

pub(super) const SYSTEM: AccountId = AccountId::SYSTEM;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Page {
    dirty: bool,
    /// What is in the frame: zero, or the mark of its last writer.
    contents: u64,
    /// Whether an end word is in it.
    end: bool,
}

/// What is left on the machine, to compare before and after.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Holdings {
    pub(super) frames: usize,
    pub(super) tables: usize,
    pub(super) charged: BTreeMap<u32, usize>,
}

#[derive(Debug, Default)]
pub(super) struct Hardware {
    pages: BTreeMap<usize, Page>,
    /// Pages mapped per page table.
    tables: BTreeMap<usize, usize>,
    /// Per CPU: the dirty bit its TLB remembers for a page.
    tlb: Vec<BTreeMap<usize, bool>>,
    charged: BTreeMap<u32, usize>,
    /// Calls of each sort so far.
    pub(super) calls: Calls,
    /// How many more calls that can fail succeed; `None`: all.
    fail_after: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Calls {
    pub(super) map: u32,
    pub(super) unmap: u32,
    pub(super) erase: u32,
    pub(super) flush: u32,
    pub(super) lock: u32,
    pub(super) mark_end: u32,
}

/// The machine, its pool and what the CPUs share.
pub(super) struct Machine {
    pub(super) hardware: Mutex<Hardware>,
    pub(super) shared: Mutex<PoolShared>,
    pub(super) pool: Pool<'static>,
}

/// One CPU's way to the machine.
pub(super) struct Cpu<'m> {
    pub(super) machine: &'m Machine,
    pub(super) id: CpuId,
    /// Whether this context may wait: false in an interrupt handler.
    pub(super) may_wait: bool,
    /// Called before each access to something that another CPU may look at.
    pub(super) before_access: &'m dyn Fn(Access),
}

/// What is about to be accessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// What all CPUs share, under its lock.
    Shared,
    /// The accounts: sums, so the order of two CPUs makes no difference.
    Account,
    /// A page that this CPU alone holds.
    OwnPage,
    /// The contents of a stack, or its mapping while it might still be read.
    Contents,
}

/// The lock, counting.
pub(super) struct CountingLock<'m> {
    machine: &'m Machine,
    before_access: &'m dyn Fn(Access),
    held: Cell<bool>,
}

pub(super) fn nothing(_: Access) {}

impl Machine {
    pub(super) fn new(slots: u32, cpus: usize, policy: ErasePolicy) -> Self {
        let geometry = Geometry::X86_64;
        let lowest = Arena::lowest_from(Addr::new(0x1000_0000), geometry).expect("room");
        let arena = Arena::new(lowest, slots, geometry).expect("the arena is valid");
        let records: Vec<SlotRecord> = (0..slots).map(|_| SlotRecord::new()).collect();
        let (pool, shared) = Pool::new(arena, Box::leak(records.into_boxed_slice()), policy)
            .expect("one record per slot");
        let hardware = Hardware { tlb: std::vec![BTreeMap::new(); cpus], ..Hardware::default() };
        Self { hardware: Mutex::new(hardware), shared: Mutex::new(shared), pool }
    }

    pub(super) fn cpu(&self, number: u32) -> Cpu<'_> {
        Cpu { machine: self, id: CpuId::new(number), may_wait: true, before_access: &nothing }
    }

    pub(super) fn hardware<R>(&self, f: impl FnOnce(&mut Hardware) -> R) -> R {
        f(&mut self.hardware.lock().expect("no test panics inside"))
    }

    pub(super) fn calls(&self) -> Calls {
        self.hardware(|hardware| hardware.calls)
    }

    pub(super) fn holdings(&self) -> Holdings {
        self.hardware(|hardware| Holdings {
            frames: hardware.pages.len(),
            tables: hardware.tables.len(),
            charged: hardware.charged.clone(),
        })
    }

    pub(super) fn fail_after(&self, calls: Option<u32>) {
        self.hardware(|hardware| hardware.fail_after = calls);
    }

    /// Every slot is in exactly one place, its state says which, and pages and charges add up.
    /// `held`: the slots that the test has (live, or kept by a borrow).
    pub(super) fn check(&self, caches: &[&CpuCache], held: &[SlotIndex]) {
        let pool = &self.pool;
        let mut place: Vec<Vec<&str>> = std::vec![Vec::new(); pool.records().len()];
        let parked = |slot: SlotIndex| pool.record(slot).life().state() == LifeState::Parked;
        for cache in caches {
            for slot in cache.stacks() {
                place[slot.index()].push("cache");
                assert!(parked(*slot) && !pool.record(*slot).needs_flush(cache.cpu()));
                self.assert_clean(*slot);
            }
        }
        let shared = self.shared.lock().expect("no test panics inside");
        let count = Cell::new(0);
        shared.depot.for_each(pool.records(), |slot| {
            place[slot.index()].push("depot");
            assert!(parked(slot));
            self.assert_clean(slot);
            count.set(count.get() + 1);
        });
        assert_eq!(count.take(), shared.depot.count());
        shared.to_unmap.for_each(pool.records(), |slot| {
            place[slot.index()].push("to unmap");
            assert!(parked(slot));
            count.set(count.get() + 1);
        });
        assert_eq!(count.take(), shared.to_unmap.count());
        shared.free.for_each_returned(pool.records(), |slot| place[slot.index()].push("free"));
        for never_used in shared.free.never_used() {
            place[never_used as usize].push("never used");
        }
        for slot in held {
            place[slot.index()].push("held");
            let state = pool.record(*slot).life().state();
            assert!(matches!(state, LifeState::Live | LifeState::Ending));
        }
        for (slot, places) in place.iter().enumerate() {
            assert_eq!(places.len(), 1, "slot {slot} is in {places:?}");
            let free = matches!(places[0], "free" | "never used");
            let record = &pool.records()[slot];
            assert_eq!(free, record.life().state() == LifeState::Free);
            assert_eq!(free, record.mapped_pages() == 0, "slot {slot} in {places:?}");
        }
        let census = pool.census();
        let holdings = self.holdings();
        assert_eq!(census.mapped_pages as usize, holdings.frames);
        assert_eq!(census.live + census.ending, held.len() as u32);
        let charged: usize = holdings.charged.values().sum();
        assert_eq!(ByteSize::pages(census.used_pages as usize).get(), charged);
    }

    /// A parked stack is mapped in full, reads as zero but for its end word, and has clear dirty
    /// bits.
    fn assert_clean(&self, slot: SlotIndex) {
        self.hardware(|hardware| {
            let body = self.pool.arena().body(slot);
            for page in DirtyPages::topmost(4).addresses(body.top) {
                let clean = Page { end: page == body.lowest, ..Page::default() };
                let page = hardware.pages.get(&page.get()).expect("a parked stack is mapped");
                assert_eq!(*page, clean, "a parked stack is clean");
            }
        });
    }
}

impl Hardware {
    /// Whether this call, which may fail, is to fail now.
    fn fails(&mut self) -> bool {
        match &mut self.fail_after {
            None => false,
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
        }
    }
}

impl<'m> Cpu<'m> {
    pub(super) fn lock(&self) -> CountingLock<'m> {
        CountingLock {
            machine: self.machine,
            before_access: self.before_access,
            held: Cell::new(false),
        }
    }

    /// In an interrupt handler.
    pub(super) fn in_interrupt(&self) -> Self {
        Self { may_wait: false, ..*self }
    }

    pub(super) fn acquire(
        &mut self,
        request: &Request,
        cache: &mut CpuCache,
    ) -> Result<SlotIndex, AcquireError> {
        let lock = self.lock();
        let got = self.machine.pool.acquire(request, cache, &lock, self)?;
        let StackRef { slot, generation } = got.as_ref();
        let life = self.machine.pool.record(slot).life();
        assert_eq!(generation, life.generation(), "the life that has just begun");
        Ok(slot)
    }

    /// The right to the stack is made here: the tests keep numbers of slots, and see to it that
    /// they let go once.
    pub(super) fn release(&mut self, slot: SlotIndex, cache: &mut CpuCache) -> ReleaseOutcome {
        let lock = self.lock();
        let generation = self.machine.pool.record(slot).life().generation();
        self.machine.pool.release(LiveStack(StackRef { slot, generation }), cache, &lock, self)
    }

    pub(super) fn give_back(
        &mut self,
        borrowed: BorrowedStack,
        cache: &mut CpuCache,
    ) -> ReleaseOutcome {
        let lock = self.lock();
        self.machine.pool.give_back(borrowed, cache, &lock, self)
    }

    pub(super) fn shrink(&mut self, most: u32) -> u32 {
        let lock = self.lock();
        self.machine.pool.shrink(most, &lock, self)
    }

    pub(super) fn reclaim(&mut self, most: u32) -> u32 {
        let lock = self.lock();
        self.machine.pool.reclaim(most, &lock, self)
    }

    /// What the dispatcher does before this CPU runs on a stack.
    pub(super) fn enter(&mut self, slot: SlotIndex) {
        self.machine.pool.make_coherent(slot, self.id, self);
    }

    /// Writes `mark` into a page of a stack, as this CPU's hardware would.
    pub(super) fn write(&self, slot: SlotIndex, page_from_top: usize, mark: u64) {
        let addr = self.page(slot, page_from_top);
        self.machine.hardware(|hardware| {
            let page = hardware.pages.get_mut(&addr).expect("a write to a mapped page");
            let entry = hardware.tlb[self.id.index()].entry(addr).or_insert(page.dirty);
            if !*entry {
                *entry = true;
                page.dirty = true;
            }
            page.contents = mark;
        });
    }

    /// Reads a page, as this CPU's hardware would: its TLB is filled. Also what speculation does.
    pub(super) fn read(&self, slot: SlotIndex, page_from_top: usize) -> u64 {
        let addr = self.page(slot, page_from_top);
        self.machine.hardware(|hardware| {
            let page = hardware.pages.get(&addr).expect("a read of a mapped page");
            hardware.tlb[self.id.index()].entry(addr).or_insert(page.dirty);
            page.contents
        })
    }

    /// Whether the end word is where it should be, and nowhere else.
    pub(super) fn has_end_word(&self, slot: SlotIndex) -> bool {
        let lowest = usize::from(self.machine.pool.record(slot).mapped_pages()) - 1;
        (0..=lowest).all(|page| {
            let addr = self.page(slot, page);
            self.machine.hardware(|hardware| hardware.pages[&addr].end == (page == lowest))
        })
    }

    pub(super) fn reads_as_zero(&self, slot: SlotIndex) -> bool {
        let pages = self.machine.pool.record(slot).mapped_pages();
        (0..usize::from(pages)).all(|page| self.read(slot, page) == 0)
    }

    /// Clears the dirty bits of a body, and drops this CPU's entries for the pages that had one.
    fn take_dirty(&self, body: AddrRange) -> DirtyPages {
        self.machine.hardware(|hardware| {
            let mut dirty = DirtyPages::NONE;
            for (addr, page) in hardware.pages.range_mut(body.lowest.get()..body.top.get()) {
                if page.dirty {
                    page.dirty = false;
                    hardware.tlb[self.id.index()].remove(addr);
                    let number = DirtyPages::page_of(Addr::new(*addr), body.top);
                    dirty = dirty.with(number.expect("a page of the body"));
                }
            }
            dirty
        })
    }

    fn page(&self, slot: SlotIndex, page_from_top: usize) -> usize {
        let top = self.machine.pool.arena().body(slot).top;
        top.wrapping_sub(ByteSize::pages(page_from_top + 1)).get()
    }
}

impl Lock for CountingLock<'_> {
    fn with<R>(&self, f: impl FnOnce(&mut PoolShared) -> R) -> R {
        (self.before_access)(Access::Shared);
        assert!(!self.held.replace(true), "the lock is taken twice");
        self.machine.hardware(|hardware| hardware.calls.lock += 1);
        let result = f(&mut self.machine.shared.lock().expect("no test panics inside"));
        self.held.set(false);
        result
    }
}

impl Pages for Cpu<'_> {
    fn mark_end(&mut self, lowest: Addr) {
        (self.before_access)(Access::Contents);
        self.machine.hardware(|hardware| {
            hardware.calls.mark_end += 1;
            hardware.pages.get_mut(&lowest.get()).expect("the page is there").end = true;
        });
    }

    fn charge(&mut self, account: AccountId, size: ByteSize) -> Result<(), OverLimit> {
        (self.before_access)(Access::Account);
        self.machine.hardware(|hardware| {
            if hardware.fails() {
                return Err(OverLimit);
            }
            *hardware.charged.entry(account.get()).or_default() += size.get();
            Ok(())
        })
    }

    fn uncharge(&mut self, account: AccountId, size: ByteSize) {
        (self.before_access)(Access::Account);
        self.machine.hardware(|hardware| {
            let charged = hardware.charged.get_mut(&account.get()).expect("a charged account");
            *charged = charged.checked_sub(size.get()).expect("no more than was charged");
            if *charged == 0 {
                hardware.charged.remove(&account.get());
            }
        });
    }

    fn map_page(&mut self, page: Addr) -> Result<(), Exhausted> {
        (self.before_access)(Access::OwnPage);
        self.machine.hardware(|hardware| {
            hardware.calls.map += 1;
            let table = page.get() / TABLE_BYTES;
            if !hardware.tables.contains_key(&table) && hardware.fails() {
                return Err(Exhausted::PageTable);
            }
            if hardware.fails() {
                return Err(Exhausted::Frame);
            }
            for tlb in &hardware.tlb {
                assert!(!tlb.contains_key(&page.get()), "a translation outlived its mapping");
            }
            *hardware.tables.entry(table).or_default() += 1;
            let before = hardware.pages.insert(page.get(), Page::default());
            assert_eq!(before, None, "mapped twice");
            Ok(())
        })
    }

    fn unmap_pages(&mut self, range: AddrRange) {
        (self.before_access)(Access::Contents);
        assert!(self.may_wait, "unmapped where waiting is forbidden");
        self.machine.hardware(|hardware| {
            hardware.calls.unmap += 1;
            for page in (range.lowest.get()..range.top.get()).step_by(ByteSize::PAGE.get()) {
                hardware.pages.remove(&page).expect("unmapped twice");
                let table = page / TABLE_BYTES;
                let used = hardware.tables.get_mut(&table).expect("a table that is there");
                *used -= 1;
                if *used == 0 {
                    hardware.tables.remove(&table);
                }
                for tlb in &mut hardware.tlb {
                    tlb.remove(&page);
                }
            }
        });
    }

    fn erase(&mut self, body: AddrRange, plan: impl FnOnce(DirtyPages) -> DirtyPages) -> u32 {
        let dirty = self.take_dirty(body);
        let pages = plan(dirty);
        for page in pages.addresses(body.top) {
            (self.before_access)(Access::Contents);
            self.machine.hardware(|hardware| {
                hardware.calls.erase += 1;
                let page = hardware.pages.get_mut(&page.get()).expect("a mapped page");
                (page.contents, page.end) = (0, false);
            });
        }
        pages.count()
    }

    fn flush_local(&mut self, body: AddrRange) {
        self.machine.hardware(|hardware| {
            hardware.calls.flush += 1;
            hardware.tlb[self.id.index()]
                .retain(|page, _| !(body.lowest.get()..body.top.get()).contains(page));
        });
    }
}

/// A thread stack for thread 1, charged to the system.
pub(super) fn thread_request() -> Request {
    Request {
        kind: StackKind::Thread,
        owner: ThreadId::new(1),
        cpu: CpuId::new(0),
        account: SYSTEM,
        pages: None,
    }
}
