//! One registry of every stack: arena and records, readable from any context without a lock.
//!
//! Installed once at boot. From then on any address can be classified, by arithmetic and one
//! record. A pool of another kind, whose stacks are threads' only, can stand beside it: what lies
//! outside of the first arena is looked for in the next.

use crate::elsewhere;
use core::sync::atomic::{AtomicPtr, Ordering};
use kstack_core::addr::Addr;
#[cfg(not(feature = "entry"))]
use kstack_core::addr::CpuId;
use kstack_core::arena::{Arena, Place, SlotIndex};
use kstack_core::pool::Pool;
use kstack_core::record::SlotRecord;
use kstack_core::stacks::{StackId, StackLookup};
#[cfg(not(feature = "entry"))]
use kstack_core::verdict::StackTable;

/// All stacks of the pool's arena.
#[derive(Debug)]
pub struct Registry {
    pool: Pool<'static>,
    /// That of another pool, whose stacks threads have too.
    beside: AtomicPtr<Registry>,
}

static REGISTRY: AtomicPtr<Registry> = AtomicPtr::new(core::ptr::null_mut());

/// Installs the registry. Before the first stack is given out.
pub fn install(registry: &'static Registry) {
    REGISTRY.store(core::ptr::from_ref(registry).cast_mut(), Ordering::Release);
}

/// Puts a registry beside the installed one, which finds its stacks from then on. Those that belong
/// to CPUs, and guards, are the installed one's alone.
pub(crate) fn install_beside(registry: &'static Registry) {
    let Some(mut last) = get() else { return install(registry) };
    while let Some(next) = last.beside() {
        last = next;
    }
    last.beside.store(core::ptr::from_ref(registry).cast_mut(), Ordering::Release);
}

/// The installed registry, and those beside it.
#[inline]
pub fn all() -> impl Iterator<Item = &'static Registry> {
    core::iter::successors(get(), |registry| registry.beside())
}

/// The installed registry, if there is one yet.
#[inline(always)]
pub fn get() -> Option<&'static Registry> {
    let registry = REGISTRY.load(Ordering::Acquire);
    // SAFETY: (1) null, or a reference to a static that `install` stored.
    unsafe { registry.as_ref() }
}

impl Registry {
    /// A registry of this pool's stacks. What it says is believed by entry code, by overflow
    /// handlers and by the unwinder, which reads the stacks' memory.
    ///
    /// # Safety
    ///
    /// 1. The address space of the pool's arena is the pool's alone.
    /// 2. The pool is used with the shared parts that [`Pool::new`] made (and what was split off
    ///    from them), with caches that serve no other pool, and with a backing that maps, erases
    ///    and unmaps what it is asked to.
    /// 3. A stack of a kind that belongs to a CPU is released only when that CPU is off.
    /// 4. Once a CPU has loaded its block, each other one loads its own before it takes an
    ///    exception or unwinds.
    pub const unsafe fn new(pool: Pool<'static>) -> Self {
        Self { pool, beside: AtomicPtr::new(core::ptr::null_mut()) }
    }

    #[inline]
    fn beside(&self) -> Option<&'static Registry> {
        // SAFETY: (1) null, or a reference to a static that `install_beside` stored.
        unsafe { self.beside.load(Ordering::Acquire).as_ref() }
    }

    /// The pool.
    ///
    /// # Safety
    ///
    /// 1. It is used as [`Registry::new`] was promised.
    #[inline(always)]
    pub const unsafe fn pool(&self) -> &Pool<'static> {
        &self.pool
    }

    /// The arena.
    #[inline(always)]
    pub const fn arena(&self) -> &Arena {
        self.pool.arena()
    }

    /// The record of a slot of this arena.
    #[inline(always)]
    pub fn record(&self, slot: SlotIndex) -> &'static SlotRecord {
        self.pool.record(slot)
    }

    /// Every live stack.
    pub fn live(&self) -> impl Iterator<Item = (SlotIndex, StackId)> + '_ {
        (0..self.arena().slots()).map(SlotIndex::new).filter_map(|slot| {
            self.record(slot).stack(self.arena(), slot).map(|stack| (slot, stack))
        })
    }
}

impl StackLookup for Registry {
    #[inline]
    fn stack_at(&self, addr: Addr) -> Option<StackId> {
        if let Some(found) = self.own_stack_at(addr) {
            return found;
        }
        // In a loop: the handler of overflows looks here, and its depth has a bound.
        let mut others = self.beside();
        while let Some(other) = others {
            match other.own_stack_at(addr) {
                Some(Some(stack)) => return Some(stack),
                Some(None) => break,
                None => others = other.beside(),
            }
        }
        outside(addr)
    }
}

impl Registry {
    /// The stack of this arena that an address lies on; `None`: it is not in this arena.
    fn own_stack_at(&self, addr: Addr) -> Option<Option<StackId>> {
        match self.arena().place(addr) {
            Place::Body { slot, .. } => {
                let stack = self.record(slot).stack(self.arena(), slot);
                Some(stack.filter(|stack| stack.range.contains(addr)))
            }
            Place::Outside => None,
            _ => Some(None),
        }
    }
}

/// A stack of a CPU's that its kernel declared: the boot stack. Others outside of the arena may be
/// gone before a walk is over.
#[cold]
fn outside(addr: Addr) -> Option<StackId> {
    let mut all = elsewhere::all().filter(|stack| stack.kind.belongs_to_cpu());
    all.find(|stack| stack.range.contains(addr)).copied()
}

/// Without the entry layer the library does not know what a CPU runs: the kernel's own table does.
#[cfg(not(feature = "entry"))]
impl StackTable for Registry {
    fn stack_in(&self, slot: SlotIndex) -> Option<StackId> {
        self.record(slot).stack(self.arena(), slot)
    }

    fn running_on(&self, _cpu: CpuId) -> Option<StackId> {
        None
    }
}
