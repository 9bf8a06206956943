//! The words of a CPU's block that only this architecture's entry code needs.

use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use kstack_core::addr::Addr;

pub use super::THREAD_INFO_ON_STACK;

/// The bit of SP that is set outside a body, and below which SP is masked.
pub(super) const BODY_SHIFT: u32 = super::GEOMETRY.body().get().trailing_zeros();

/// What a system call from the kernel that finds no room saves here instead: same layout as a
/// mode's words.
type SvcWords = super::tables::ModeWords;

/// What only this architecture's entry code needs of a CPU.
#[derive(Debug)]
#[repr(C)]
pub struct ArchLocal {
    /// The top of the overflow stack; 0: there is none yet.
    pub(super) overflow_top: AtomicUsize,
    /// The top of the last stack, for an overflow of the overflow stack.
    pub(super) last_top: AtomicUsize,
    /// How many of these two are in use.
    pub(super) overflow_depth: AtomicUsize,
    /// The thread pointer of the running program, loaded on the way to user mode.
    pub(super) user_tls: AtomicUsize,
    /// A FIQ is being handled.
    nmi_active: AtomicBool,
    /// The first instructions of an IRQ's entry, and the end of them; see [`super::overflow`].
    irq_before_test: [AtomicUsize; 2],
    pub(super) svc_words: SvcWords,
}

impl ArchLocal {
    pub(crate) const fn new() -> Self {
        Self {
            overflow_top: AtomicUsize::new(0),
            last_top: AtomicUsize::new(0),
            overflow_depth: AtomicUsize::new(0),
            user_tls: AtomicUsize::new(0),
            nmi_active: AtomicBool::new(false),
            irq_before_test: [const { AtomicUsize::new(0) }; 2],
            svc_words: SvcWords::new(),
        }
    }

    /// Whether an NMI is being handled: a FIQ.
    pub fn in_nmi(&self) -> bool {
        self.nmi_is_active()
    }

    /// Softirqs have no stack of their own: they run on the IRQ stack.
    #[inline(always)]
    pub fn softirq_top(&self) -> Option<Addr> {
        None
    }

    /// Gives the CPU its overflow stack, and the last stack for an overflow of that one.
    ///
    /// # Safety
    ///
    /// 1. Each is the 16-aligned top of a mapped stack that is this CPU's for as long as it runs,
    ///    and used for nothing else.
    pub unsafe fn set_overflow_tops(&self, overflow: Addr, last: Addr) {
        self.last_top.store(last.get(), Ordering::Relaxed);
        self.overflow_top.store(overflow.get(), Ordering::Relaxed);
    }

    /// Top of the overflow stack.
    pub fn overflow_top(&self) -> Addr {
        Addr::new(self.overflow_top.load(Ordering::Relaxed))
    }

    /// Stacks for overflows that are in use: 1 while one is handled, 2 if that overflowed too.
    pub fn overflow_depth(&self) -> usize {
        self.overflow_depth.load(Ordering::Relaxed)
    }

    /// The overflow stack is left for good.
    pub(super) fn leave_overflow_stack(&self) {
        self.overflow_depth.store(0, Ordering::Relaxed);
    }

    /// Whether an NMI is being handled: a FIQ, from the kernel or from user mode.
    pub fn nmi_is_active(&self) -> bool {
        self.nmi_active.load(Ordering::Relaxed)
    }

    /// Keeps where an IRQ's entry has not looked for room yet. Before the first FIQ.
    pub(super) fn keep_irq_before_test(&self, instructions: Range<usize>) {
        self.irq_before_test[0].store(instructions.start, Ordering::Relaxed);
        self.irq_before_test[1].store(instructions.end, Ordering::Relaxed);
    }

    /// Where an IRQ's entry has not looked for room yet.
    pub(super) fn irq_before_test(&self) -> Range<usize> {
        let [start, end] = self.irq_before_test.each_ref().map(|at| at.load(Ordering::Relaxed));
        start..end
    }

    pub(super) fn set_nmi_active(&self, active: bool) {
        self.nmi_active.store(active, Ordering::Relaxed);
    }

    /// What the thread pointer will be in user mode. Interrupts off, or by the running thread for
    /// itself.
    pub fn set_user_tls(&self, base: usize) {
        self.user_tls.store(base, Ordering::Relaxed);
    }

    /// What the thread pointer will be in user mode.
    pub fn user_tls(&self) -> usize {
        self.user_tls.load(Ordering::Relaxed)
    }
}

/// Where `thread_info` of a stack lies when it is on the stack.
pub const fn thread_info_at(lowest: Addr) -> Addr {
    lowest
}
