//! The words of a CPU's block that only this architecture's entry code needs.

use core::sync::atomic::{AtomicUsize, Ordering};
use kstack_core::addr::Addr;

/// What only this architecture's entry code needs of a CPU.
#[derive(Debug)]
#[repr(C)]
pub struct ArchLocal {
    /// The top of the overflow stack: what SP_EL1 is set back to.
    pub(super) overflow_top: AtomicUsize,
    /// How many times in a row the overflow stack was needed while it was in use.
    pub(super) second_faults: AtomicUsize,
}

impl ArchLocal {
    pub(crate) const fn new() -> Self {
        Self { overflow_top: AtomicUsize::new(0), second_faults: AtomicUsize::new(0) }
    }

    /// Whether something is being handled that may have interrupted anything: there are no NMIs
    /// here, but a fault of the overflow handler is such a thing.
    pub fn in_nmi(&self) -> bool {
        self.has_second_fault()
    }

    /// Softirqs have no stack of their own: they run on the IRQ stack.
    #[inline(always)]
    pub fn softirq_top(&self) -> Option<Addr> {
        None
    }

    /// Gives the CPU its overflow stack. Before its first exception.
    ///
    /// # Safety
    ///
    /// 1. Each is the 16-aligned top of a mapped stack that is this CPU's for as long as it runs,
    ///    and used for nothing else.
    pub unsafe fn set_overflow_top(&self, top: Addr) {
        self.overflow_top.store(top.get(), Ordering::Relaxed);
    }

    /// Whether the overflow handler itself has had a fault.
    pub fn has_second_fault(&self) -> bool {
        self.second_faults.load(Ordering::Relaxed) != 0
    }

    /// The overflow handler is done: the next fault on its stack is a first one again.
    pub(super) fn forget_second_faults(&self) {
        self.second_faults.store(0, Ordering::Relaxed);
    }

    /// Top of the overflow stack.
    pub fn overflow_top(&self) -> Addr {
        Addr::new(self.overflow_top.load(Ordering::Relaxed))
    }
}
