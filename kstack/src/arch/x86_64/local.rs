//! The words of a CPU's block that only this architecture's entry code needs.

use super::tables::CpuTables;
use super::tables::NmiWords;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use kstack_core::addr::Addr;

/// What only this architecture's entry code needs of a CPU.
#[derive(Debug)]
#[repr(C)]
pub struct ArchLocal {
    /// The top of the NMI body stack.
    nmi_body_top: AtomicUsize,
    /// The loaded tables.
    pub(super) tables: AtomicPtr<CpuTables>,
    /// An NMI that interrupted user mode is being handled.
    nmi_from_user: AtomicBool,
    /// Double faults under way, one inside the other.
    double_faults: AtomicUsize,
}

impl ArchLocal {
    pub(crate) const fn new() -> Self {
        Self {
            nmi_body_top: AtomicUsize::new(0),
            tables: AtomicPtr::new(core::ptr::null_mut()),
            nmi_from_user: AtomicBool::new(false),
            double_faults: AtomicUsize::new(0),
        }
    }

    /// Whether an NMI is being handled, whatever it interrupted.
    pub fn in_nmi(&self) -> bool {
        self.nmi_words().is_some_and(NmiWords::is_active) || self.nmi_from_user_is_handled()
    }

    /// The words of the NMI body stack, if the CPU has one yet.
    pub fn nmi_words(&self) -> Option<&'static NmiWords> {
        // SAFETY: (1) null, or as `set_nmi_body_top` was promised.
        unsafe { (self.nmi_body_top().get() as *const NmiWords).as_ref() }
    }

    /// Softirqs have no stack of their own: they run on the IRQ stack.
    #[inline(always)]
    pub fn softirq_top(&self) -> Option<Addr> {
        None
    }

    /// Gives the CPU its NMI body stack. Before its first NMI.
    ///
    /// # Safety
    ///
    /// 1. It is the 16-aligned address of the [`NmiWords`] in the highest bytes of a mapped stack
    ///    that is this CPU's for as long as it runs, and used for nothing else.
    pub unsafe fn set_nmi_body_top(&self, top: Addr) {
        self.nmi_body_top.store(top.get(), Ordering::Relaxed);
    }

    /// Whether an NMI that interrupted user mode is being handled, on the thread's stack.
    pub fn nmi_from_user_is_handled(&self) -> bool {
        self.nmi_from_user.load(Ordering::Relaxed)
    }

    pub(super) fn set_nmi_from_user(&self, handled: bool) {
        self.nmi_from_user.store(handled, Ordering::Relaxed);
    }

    /// Top of the NMI body stack.
    pub fn nmi_body_top(&self) -> Addr {
        Addr::new(self.nmi_body_top.load(Ordering::Relaxed))
    }

    /// A double fault has come. Returns how many are under way with it.
    pub(super) fn begin_double_fault(&self) -> usize {
        self.double_faults.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The double-fault stack is left: the next double fault is a first one again.
    pub(super) fn leave_double_faults(&self) {
        self.double_faults.store(0, Ordering::Relaxed);
    }
}
