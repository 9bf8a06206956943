//! The words of a CPU's block that only this architecture's entry code needs.

use core::sync::atomic::{AtomicUsize, Ordering};
use kstack_core::addr::Addr;

/// How far above the block's lowest byte tp stands. What is 24 bytes below it is the canary of the
/// running thread: see [`crate::protector`].
pub const TP: usize = 64;

/// What only this architecture's entry code needs of a CPU.
#[derive(Debug)]
#[repr(C)]
pub struct ArchLocal {
    /// t0 of what was interrupted, until there is a stack to save it on.
    pub(super) t0: AtomicUsize,
    /// SP of what was interrupted, where SP leads nowhere.
    pub(super) broken_sp: AtomicUsize,
    /// The top of the overflow stack; 0: there is none yet.
    pub(super) overflow_top: AtomicUsize,
    /// Overflows that are being handled, one inside the other.
    pub(super) overflows: AtomicUsize,
}

impl ArchLocal {
    pub(crate) const fn new() -> Self {
        Self {
            t0: AtomicUsize::new(0),
            broken_sp: AtomicUsize::new(0),
            overflow_top: AtomicUsize::new(0),
            overflows: AtomicUsize::new(0),
        }
    }

    /// Whether an NMI is being handled: there are none.
    pub fn in_nmi(&self) -> bool {
        false
    }

    /// Softirqs have no stack of their own: they run on the IRQ stack.
    #[inline(always)]
    pub fn softirq_top(&self) -> Option<Addr> {
        None
    }

    /// Gives the CPU its overflow stack, of the geometry's size. Before its first interrupt.
    ///
    /// # Safety
    ///
    /// 1. Each is the 16-aligned top of a mapped stack that is this CPU's for as long as it runs,
    ///    and used for nothing else.
    pub unsafe fn set_overflow_top(&self, top: Addr) {
        self.overflow_top.store(top.get(), Ordering::Relaxed);
    }

    /// Top of the overflow stack.
    pub fn overflow_top(&self) -> Addr {
        Addr::new(self.overflow_top.load(Ordering::Relaxed))
    }

    /// Overflows that are being handled on this CPU, one inside the other.
    pub fn overflows(&self) -> usize {
        self.overflows.load(Ordering::Relaxed)
    }

    /// The overflow stack is free again: whatever ran on it has been given up.
    pub(super) fn leave_overflow_stack(&self) {
        self.overflows.store(0, Ordering::Relaxed);
    }
}
