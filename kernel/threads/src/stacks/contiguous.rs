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
    if let Some(pool) = pool_if_made() {
        return Ok(pool);
    }
    let arena = arena();
    let mut records = Vec::new();
    records.try_reserve_exact(arena.slots() as usize).map_err(|_| NoMemory)?;
    records.resize_with(arena.slots() as usize, SlotRecord::new);
    // SAFETY: (1) the direct map has all memory, and stays; (2) `CONTIGUOUS` serves these stacks
    // alone; (3) the first thing that a CPU does is to load its block.
    let made = unsafe { Stacks::contiguous(arena, records.leak(), StackPages::CONTIGUOUS) };
    let made = fallible::boxed(made.expect("a record for every slot, and no guards"))?;
    let _making = MAKING.lock();
    if let Some(pool) = pool_if_made() {
        // Another CPU was faster. What was made here stays unused.
        return Ok(pool);
    }
    let made: &'static Stacks<StackPages> = alloc::boxed::Box::leak(made);
    static NODES: Nodes = Nodes::new();
    runs::divide(made, &NODES);
    runs::set_top(made.arena().range().top);
    made.install_beside();
    POOL.store(core::ptr::from_ref(made).cast_mut(), Ordering::Release);
    Ok(made)
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
