//! Physically contiguous stacks: a second pool, whose stacks are runs of frames in the direct map.
//!
//! ```text
//!   mapped        arena: guard | body | guard     its pages anywhere in memory
//!   contiguous    direct map:  others | body | others | others | body
//! ```
//!
//! For a thread that asks for one ([`crate::sched::spawn_contiguous`]), or, with the boot option
//! `stacks=contiguous`, for every thread. Stacks that belong to CPUs stay mapped, with guards.
//!
//! What is lost: an access below such a stack fails nowhere. The tests of SP at entries still find
//! a thread that runs out of room, and end it as ever; what they are too late for, the end word
//! tells at the next switch, and the system stops: memory of others has been written.
//!
//! The pool is made when it is first asked for: its records are memory.

use super::pages::StackPages;
use super::runs;
pub use super::runs::held_pages;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicPtr, Ordering};
use kstack::Stacks;
use kstack::addr::Addr;
use kstack::arch::current::GEOMETRY;
use kstack::arena::Arena;
use kstack::geometry::Geometry;
use kstack::nodes::Nodes;
use kstack::record::SlotRecord;
use machine::memory::fallible::{self, NoMemory};
use machine::memory::frames;
use machine::memory::{DIRECT_MAP, direct};
use machine::spin::SpinLock;

/// Places for stacks that there are records of: the lowest 1 GiB and more.
const MOST: u64 = 1 << 16;

static POOL: AtomicPtr<Stacks<StackPages>> = AtomicPtr::new(core::ptr::null_mut());
static MAKING: SpinLock<()> = SpinLock::new(());

/// The pool, if something has asked for it.
#[inline]
pub fn pool_if_made() -> Option<&'static Stacks<StackPages>> {
    // SAFETY: (1) null, or what `pool` leaked.
    unsafe { POOL.load(Ordering::Acquire).as_ref() }
}

/// The pool; made now if this is the first that asks.
pub fn pool() -> Result<&'static Stacks<StackPages>, NoMemory> {
    match pool_if_made() {
        Some(pool) => Ok(pool),
        None => make(),
    }
}

/// Makes the pool, or finds the one that another CPU made meanwhile: then what was made here goes
/// back. Also when there is one already: what a CPU does that asked before there was.
pub fn make() -> Result<&'static Stacks<StackPages>, NoMemory> {
    let mut new = match Candidate::new() {
        Ok(new) => new,
        // Another CPU has the memory that is missing, perhaps.
        Err(NoMemory) => return pool_if_made().ok_or(NoMemory),
    };
    let making = MAKING.lock();
    if let Some(pool) = pool_if_made() {
        drop(making);
        return Ok(pool);
    }
    let pool = new.keep();
    static NODES: Nodes = Nodes::new();
    runs::divide(pool, &NODES);
    runs::set_top(pool.arena().range().top);
    pool.install_beside();
    POOL.store(core::ptr::from_ref(pool).cast_mut(), Ordering::Release);
    Ok(pool)
}

/// A pool that nothing knows of yet, and the memory it is made of.
struct Candidate {
    /// Null once they are to stay.
    stacks: *mut Stacks<StackPages>,
    records: *mut [SlotRecord],
}

impl Candidate {
    fn new() -> Result<Self, NoMemory> {
        let arena = arena();
        let slots = arena.slots() as usize;
        let mut records = Vec::new();
        records.try_reserve_exact(slots).map_err(|_| NoMemory)?;
        records.resize_with(slots, SlotRecord::new);
        let records = Box::into_raw(records.into_boxed_slice());
        let mut new = Self { stacks: core::ptr::null_mut(), records };
        // SAFETY: (1) a slice that was leaked a moment ago; it goes back only after the stacks that
        // have it (`drop`).
        let records = unsafe { &mut *records };
        // SAFETY: (1) the direct map has all memory, and stays; (2) `CONTIGUOUS` serves these
        // stacks alone, or none: no other pool of that kind is kept; (3) the first thing that a CPU
        // does is to load its block.
        let stacks = unsafe { Stacks::contiguous(arena, records, StackPages::CONTIGUOUS) };
        let stacks = stacks.expect("a record for every slot, and no guards");
        new.stacks = Box::into_raw(fallible::boxed(stacks)?);
        Ok(new)
    }

    /// For good.
    fn keep(&mut self) -> &'static Stacks<StackPages> {
        let stacks = core::mem::replace(&mut self.stacks, core::ptr::null_mut());
        self.records = core::ptr::slice_from_raw_parts_mut(core::ptr::null_mut(), 0);
        // SAFETY: (1) made by `new`, and taken back by nothing from here on.
        unsafe { &*stacks }
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        if !self.stacks.is_null() {
            // SAFETY: (1) made of a box by `new`; (2) no other code was told of it.
            drop(unsafe { Box::from_raw(self.stacks) });
        }
        if !self.records.is_null() {
            // SAFETY: (1) and (2) the same; the stacks that had them are gone.
            drop(unsafe { Box::from_raw(self.records) });
        }
    }
}

/// Every place in the direct map where a stack could lie, as far as there are records.
fn arena() -> Arena {
    let shape = Geometry::without_guards(GEOMETRY.body(), GEOMETRY.align());
    let shape = shape.expect("of a geometry that is one");
    let memory = frames::described();
    let lowest = Addr::new(direct::<u8>(memory.start) as usize);
    let lowest = Arena::lowest_from(lowest, shape).expect("memory does not end there");
    let bytes = (memory.end + DIRECT_MAP).saturating_sub(lowest.get() as u64);
    let slots = (bytes / shape.stride().get() as u64).clamp(1, MOST);
    Arena::new(lowest, slots as u32, shape).expect("memory does not end before")
}
