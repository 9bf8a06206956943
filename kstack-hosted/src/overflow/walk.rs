//! Which stacks a thread runs on at a moment, and backtraces across them.
//!
//! A read cannot fault: it happens only inside the stacks of coroutines that this thread has
//! resumed and that have not come back, which stay mapped, and in the part of the thread's own
//! stack that is in use: from the P of its first coroutine up.

use crate::control::Control;
use crate::pool::StackPool;
use kstack_core::addr::{Addr, AddrRange, ByteSize, CpuId};
use kstack_core::arena::{Place, SlotIndex};
use kstack_core::stacks::{StackId, StackLookup};
use kstack_core::unwind::{Backtrace, FrameRules, SavedRegs, Unwinder};
use kstack_core::verdict::{REPORT_STEPS, StackTable};

/// The stacks from the innermost coroutine's to the thread's.
pub(super) struct Chain {
    innermost: *mut Control,
}

impl Chain {
    /// # Safety
    ///
    /// 1. `innermost` is what this thread says is the innermost, not null, until the chain is given
    ///    up.
    pub(super) unsafe fn new(innermost: *mut Control) -> Self {
        Self { innermost }
    }

    /// The innermost coroutine's block, or the thread's own.
    pub(super) fn innermost(&self) -> &Control {
        // SAFETY: (1) by the promise of `new`: the block of a coroutine that runs, or the thread's.
        unsafe { &*self.innermost }
    }

    /// Every stack in use, the innermost first.
    fn stacks(&self) -> impl Iterator<Item = StackId> {
        let mut next = self.innermost;
        let mut used_from = Addr::new(usize::MAX);
        core::iter::from_fn(move || {
            // SAFETY: (1) each block's parent is null or the block of what resumed it, which waits
            // for it and so is there.
            let control = unsafe { next.as_ref()? };
            next = control.parent;
            let mut stack = control.stack();
            if control.pool.is_none() {
                if !stack.range.contains(used_from) {
                    return None;
                }
                stack.range.lowest = used_from;
            }
            used_from = Addr::new(control.link);
            Some(stack)
        })
    }
}

impl StackLookup for Chain {
    fn stack_at(&self, addr: Addr) -> Option<StackId> {
        self.stacks().find(|stack| stack.range.contains(addr))
    }
}

/// The table that the core's verdict asks: of one pool, on one thread.
pub(super) struct Table<'c> {
    pub(super) pool: StackPool,
    pub(super) chain: &'c Chain,
    pub(super) sp: Addr,
}

impl StackTable for Table<'_> {
    fn stack_in(&self, slot: SlotIndex) -> Option<StackId> {
        self.pool.stack_in(slot)
    }

    /// The running coroutine's. Without one, something else runs on a stack of the pool: the one
    /// that SP stands on or right below.
    fn running_on(&self, _cpu: CpuId) -> Option<StackId> {
        let innermost = self.chain.innermost();
        if innermost.pool.is_some() {
            return Some(innermost.stack());
        }
        match self.pool.arena().place(self.sp) {
            Place::Body { slot, .. } | Place::GuardBelow { slot, .. } => self.stack_in(slot),
            _ => None,
        }
    }
}

/// What frame pointers mean in a process: plain records, and no marks.
struct Rules;

impl FrameRules for Rules {
    const SAVED_REGS: ByteSize = ByteSize::ZERO;

    fn saved_regs_at(_fp: Addr) -> Option<Addr> {
        None
    }

    fn read_saved_regs(
        _at: Addr,
        _read: &mut impl FnMut(Addr) -> Option<usize>,
    ) -> Option<SavedRegs> {
        None
    }
}

/// Collects the calls that led to these registers.
pub(super) fn collect(chain: &Chain, regs: SavedRegs, into: &mut Backtrace<REPORT_STEPS>) {
    let read = |addr: Addr| {
        // SAFETY: (1) the unwinder asks only for aligned words inside the stacks of the chain, see
        // the module's head.
        Some(unsafe { (addr.get() as *const usize).read_volatile() })
    };
    into.collect::<Rules, _, _>(&mut Unwinder::from_regs(chain, read, regs));
}

/// The range of nothing: a thread whose stack the system does not say has none.
const _: () = assert!(!AddrRange::EMPTY.contains(Addr::new(usize::MAX)));
