//! How code finds the block of the CPU it runs on: the half of [`CpuLocal`] that needs the
//! architecture's registers.

use crate::arch::current::this_cpu;
use crate::local::CpuLocal;
use crate::protected;
use core::sync::atomic::{AtomicBool, Ordering};
use kstack_core::addr::AddrRange;
use kstack_core::meter::Watermark;

/// Whether any CPU has loaded its block.
static IS_UP: AtomicBool = AtomicBool::new(false);

impl CpuLocal {
    /// Makes this block the CPU's own.
    ///
    /// # Safety
    ///
    /// 1. The block lives as long as the CPU runs, and no other CPU loads it.
    /// 2. The CPU is in the kernel, with interrupts off.
    /// 3. On i386, the descriptor table that is loaded is writable, has room for the selector
    ///    `tables::PER_CPU`, and no other CPU loads FS from it meanwhile.
    ///    [`cpu::bring_up`](crate::cpu::bring_up) sees to that by itself.
    pub unsafe fn load(&'static self) {
        self.keep_own_address();
        if protected::IS_ON {
            this_cpu::keep_guard(self);
        }
        // SAFETY: (1) to (3) by the caller's promise; the block knows its own address.
        unsafe { this_cpu::load(self) };
        // SAFETY: (1) just done; (2) by the caller's promise.
        unsafe { self.is_loaded() };
    }

    /// Takes the CPU as up, where something else than [`CpuLocal::load`] has set the register that
    /// leads here: in a process that stands for a CPU.
    ///
    /// # Safety
    ///
    /// 1. The register leads to this block.
    /// 2. As for [`CpuLocal::load`].
    #[doc(hidden)]
    pub unsafe fn is_loaded(&'static self) {
        self.keep_own_address();
        IS_UP.store(true, Ordering::Relaxed);
    }

    /// The block of the CPU this runs on, or `None` while no CPU has loaded one: a kernel that
    /// takes stacks first and brings its CPUs up later may have the library look at a fault or walk
    /// a stack before that.
    ///
    /// # Safety
    ///
    /// 1. If any CPU has loaded its block, this one has.
    #[inline(always)]
    pub(crate) unsafe fn if_loaded() -> Option<&'static Self> {
        // SAFETY: (1) by the caller's promise.
        IS_UP.load(Ordering::Relaxed).then(|| unsafe { Self::this() })
    }

    /// The block of the CPU this runs on. With interrupts on, the thread may be moved to another
    /// CPU right after.
    ///
    /// # Safety
    ///
    /// 1. This CPU has loaded its block ([`CpuLocal::load`]): otherwise the register that leads
    ///    there holds anything.
    #[inline(always)]
    pub unsafe fn this() -> &'static Self {
        this_cpu::this()
    }

    /// The running thread, as set by [`CpuLocal::set_thread`], right across preemption: whatever
    /// CPU the load executes on, it is this thread that executes it.
    ///
    /// # Safety
    ///
    /// 1. As for [`CpuLocal::this`].
    #[inline(always)]
    pub unsafe fn current_thread() -> usize {
        this_cpu::current_thread()
    }

    /// Records who runs from now on: thread, its stack's bounds and watermark, and its canary.
    ///
    /// # Safety
    ///
    /// 1. This is the block of the CPU this runs on; interrupts are off, right at the switch.
    /// 2. `stack` is the mapped stack that this CPU runs on from now on: entries from user mode
    ///    begin at its top.
    /// 3. `thread` is what the kernel's code makes of [`CpuLocal::current_thread`].
    #[inline(always)]
    pub unsafe fn set_thread(
        &self,
        thread: usize,
        stack: AddrRange,
        watermark: &'static Watermark,
        canary: usize,
    ) {
        self.store_thread(thread, stack, watermark, canary);
        this_cpu::set_current(self, thread);
    }
}
