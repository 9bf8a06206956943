//! The words of a CPU's block that only this architecture's entry code needs.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use kstack_core::addr::Addr;

/// What only this architecture's entry code needs of a CPU.
#[derive(Debug)]
#[repr(C)]
pub struct ArchLocal {
    softirq_top: AtomicUsize,
    pub(super) nmi_body_top: AtomicUsize,
    pub(super) nmi_active: AtomicU32,
    pub(super) nmi_latched: AtomicU32,
    /// An NMI that interrupted user mode is being handled.
    nmi_from_user: AtomicBool,
    /// Double faults under way, one inside the other.
    double_faults: AtomicUsize,
    pub(super) debug_top: AtomicUsize,
    pub(super) debug_active: AtomicU32,
    pub(super) machine_check_top: AtomicUsize,
    /// The CPU's descriptor tables, once they are loaded.
    tables: AtomicUsize,
    /// Where a program continues after `sysenter`; see [`super::sysenter`].
    pub(super) sysenter_return: AtomicUsize,
}

impl ArchLocal {
    pub(crate) const fn new() -> Self {
        Self {
            softirq_top: AtomicUsize::new(0),
            nmi_body_top: AtomicUsize::new(0),
            nmi_active: AtomicU32::new(0),
            nmi_latched: AtomicU32::new(0),
            nmi_from_user: AtomicBool::new(false),
            double_faults: AtomicUsize::new(0),
            debug_top: AtomicUsize::new(0),
            debug_active: AtomicU32::new(0),
            machine_check_top: AtomicUsize::new(0),
            tables: AtomicUsize::new(0),
            sysenter_return: AtomicUsize::new(0),
        }
    }

    /// Whether an NMI is being handled, whatever it interrupted.
    pub fn in_nmi(&self) -> bool {
        self.nmi_is_active() || self.nmi_from_user_is_handled()
    }

    /// Gives the CPU its softirq stack. Before its first interrupt.
    ///
    /// # Safety
    ///
    /// 1. Each is the 16-aligned top of a mapped stack that is this CPU's for as long as it runs,
    ///    and used for nothing else.
    pub unsafe fn set_softirq_top(&self, top: Addr) {
        self.softirq_top.store(top.get(), Ordering::Relaxed);
    }

    /// Top of the stack that only softirqs run on.
    #[inline(always)]
    pub fn softirq_top(&self) -> Option<Addr> {
        Some(Addr::new(self.softirq_top.load(Ordering::Relaxed)))
    }

    /// Gives the CPU the stacks on which its handlers of NMIs, debug exceptions and machine checks
    /// run. Before the first of any.
    ///
    /// # Safety
    ///
    /// 1. Each is the 16-aligned top of a mapped stack that is this CPU's for as long as it runs,
    ///    and used for nothing else.
    pub unsafe fn set_own_tops(&self, nmi_body: Addr, debug: Addr, machine_check: Addr) {
        self.machine_check_top.store(machine_check.get(), Ordering::Relaxed);
        self.nmi_body_top.store(nmi_body.get(), Ordering::Relaxed);
        self.debug_top.store(debug.get(), Ordering::Relaxed);
    }

    /// Top of the NMI body stack.
    pub fn nmi_body_top(&self) -> Addr {
        Addr::new(self.nmi_body_top.load(Ordering::Relaxed))
    }

    /// Whether an NMI that interrupted user mode is being handled, on the thread's stack.
    pub fn nmi_from_user_is_handled(&self) -> bool {
        self.nmi_from_user.load(Ordering::Relaxed)
    }

    pub(super) fn set_nmi_from_user(&self, handled: bool) {
        self.nmi_from_user.store(handled, Ordering::Relaxed);
    }

    /// Whether an NMI from the kernel is being handled.
    pub fn nmi_is_active(&self) -> bool {
        self.nmi_active.load(Ordering::Relaxed) != 0
    }

    /// Whether another one is waiting for it to end.
    pub fn nmi_is_latched(&self) -> bool {
        self.nmi_latched.load(Ordering::Relaxed) != 0
    }

    /// Marks the NMI under way as over. For a handler that does not return but continues elsewhere:
    /// NMIs stay held back until the next `iret`.
    ///
    /// # Safety
    ///
    /// 1. Called by the handler, on this CPU's body stack, which it leaves for good right after.
    pub unsafe fn abandon_nmi(&self) {
        self.nmi_latched.store(0, Ordering::Relaxed);
        self.nmi_active.store(0, Ordering::Relaxed);
    }

    pub(super) fn set_tables(&self, tables: usize) {
        self.tables.store(tables, Ordering::Relaxed);
    }

    pub(super) fn tables(&self) -> *mut super::tables::CpuTables {
        self.tables.load(Ordering::Relaxed) as *mut super::tables::CpuTables
    }

    /// Says where programs go on after `sysenter`: one place for all of them.
    pub fn set_sysenter_return(&self, at: Addr) {
        self.sysenter_return.store(at.get(), Ordering::Relaxed);
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
