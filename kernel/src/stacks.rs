//! The kernel's stacks: the library's pool over this machine's pages, and one owner type for every kind of stack.

use crate::memory::ARENA;
use crate::memory::stack_pages;
use crate::sched::Thread;
use crate::sync::SpinLock;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use kstack::registry::{self, Registry};
use kstack_core::addr::{Addr, AddrRange, ByteSize, CpuId};
use kstack_core::arena::{Arena, SlotIndex};
use kstack_core::kind::StackKind;
use kstack_core::record::SlotRecord;

pub type StackError = ();

struct Temp {
    next: u32,
    parked: Vec<u32>,
}
static TEMP: SpinLock<Temp> = SpinLock::new(Temp { next: 0, parked: Vec::new() });

pub fn set_up() {
    let slots = 8192;
    let geometry = kstack::arch::current::GEOMETRY;
    let arena =
        Arena::new(Arena::lowest_from(Addr::new(ARENA as usize), geometry), slots, geometry)
            .unwrap();
    let mut records = Vec::new();
    records.resize_with(slots as usize, SlotRecord::new);
    registry::install(Box::leak(Box::new(Registry::new(arena, records.leak()))));
}

pub fn arena() -> &'static Arena {
    registry::get().unwrap().arena()
}

#[derive(Debug)]
pub struct OwnedStack {
    slot: SlotIndex,
}

impl OwnedStack {
    pub fn acquire_thread(owner: u64) -> Result<Self, StackError> {
        acquire(StackKind::Thread, owner, None, 4)
    }
    pub fn acquire_for_cpu(kind: StackKind, cpu: CpuId, pages: usize) -> Result<Self, StackError> {
        acquire(kind, 0, Some(cpu), pages)
    }
    pub fn slot(&self) -> SlotIndex {
        self.slot
    }
    pub fn range(&self) -> AddrRange {
        let r = registry::get().unwrap();
        r.record(self.slot).mapped_range(r.arena(), self.slot)
    }
    pub fn release(self) {
        let r = registry::get().unwrap();
        r.record(self.slot).set_dead();
        TEMP.lock().parked.push(self.slot.get());
    }
}

fn acquire(
    kind: StackKind,
    owner: u64,
    cpu: Option<CpuId>,
    pages: usize,
) -> Result<OwnedStack, ()> {
    use kstack_core::pool::Backing;
    let r = registry::get().unwrap();
    let mut t = TEMP.lock();
    let slot = if pages == 4 && !t.parked.is_empty() {
        SlotIndex::new(t.parked.pop().unwrap())
    } else {
        let slot = SlotIndex::new(t.next);
        t.next += 1;
        let top = r.arena().body(slot).top;
        for p in 1..=pages {
            stack_pages::StackPages
                .map_page(top.wrapping_sub(ByteSize::pages(p)))
                .map_err(|_| ())?;
        }
        r.record(slot).set_pages(pages as u8);
        slot
    };
    r.record(slot).set_live(kind, owner, cpu);
    Ok(OwnedStack { slot })
}

pub fn make_coherent(_slot: SlotIndex, _cpu: CpuId) {}
pub fn lowest_seen(slot: SlotIndex) -> Option<Addr> {
    registry::get()?.record(slot).lowest_sp()
}
pub fn with_borrowed<R>(_thread: &Thread, body: impl FnOnce(AddrRange) -> R) -> Option<R> {
    Some(body(_thread.stack_range()))
}

#[derive(Debug)]
pub struct StackInfo {
    pub kind: StackKind,
    pub cpu: Option<CpuId>,
    pub owner: String,
    pub range: AddrRange,
    pub sp: Option<Addr>,
    pub lowest_seen: Option<Addr>,
}

pub fn all() -> Vec<StackInfo> {
    let r = registry::get().unwrap();
    r.live()
        .map(|(slot, s)| StackInfo {
            kind: s.kind,
            cpu: s.cpu,
            owner: alloc::format!("{}", s.owner),
            range: s.range,
            sp: None,
            lowest_seen: r.record(slot).lowest_sp(),
        })
        .collect()
}
pub fn counts() -> String {
    String::new()
}
