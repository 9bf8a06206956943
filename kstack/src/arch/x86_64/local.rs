//! The per-CPU block that entry code reads through GS, and `current`.
//!
//! A kernel embeds [`CpuLocal`] as the first field of its own per-CPU data and loads its address into the GS base.
//! Offsets in assembly come from `offset_of!`, never from a number; the one fixed place is the canary's.

use core::arch::asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use kstack_core::addr::{Addr, AddrRange, CpuId};
use kstack_core::meter::Watermark;

/// What entry code and the switch need to know of a CPU.
///
/// Only the CPU itself writes it, with interrupts off; other CPUs may read it for reports.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct CpuLocal {
    /// The block's own address, so that one load through GS gives a pointer.
    own_address: AtomicUsize,
    /// The running thread, as the kernel knows it: `current`.
    thread: AtomicUsize,
    /// The top of the running thread's stack: where `syscall` starts.
    thread_top: AtomicUsize,
    /// Where `syscall` keeps the user's SP for the two instructions until the stack is there.
    user_sp: AtomicUsize,
    /// The top of the IRQ stack.
    irq_top: AtomicUsize,
    /// The stack-protector canary of the running thread. Compilers read it at GS:40 on this architecture.
    canary: AtomicUsize,
    /// The top of the NMI body stack.
    nmi_body_top: AtomicUsize,
    /// 1 while an NMI is being handled on the body stack.
    nmi_active: AtomicU32,
    /// 1 when another NMI came meanwhile.
    nmi_latched: AtomicU32,
    /// The lowest address of the running thread's stack body.
    thread_lowest: AtomicUsize,
    /// Where the depth of the running thread's stack is kept.
    watermark: AtomicUsize,
    /// Interrupt and softirq nesting.
    pub irq: crate::irq::IrqCell,
    cpu: AtomicU32,
}

const _: () = assert!(offset_of!(CpuLocal, canary) == 40);

impl CpuLocal {
    /// Offset of the running thread, for assembly.
    pub const THREAD: usize = offset_of!(Self, thread);
    /// Offset of the thread stack's top, for assembly.
    pub const THREAD_TOP: usize = offset_of!(Self, thread_top);
    /// Offset of the user SP's scratch word, for assembly.
    pub const USER_SP: usize = offset_of!(Self, user_sp);
    /// Offset of the NMI body stack's top, for assembly.
    pub const NMI_BODY_TOP: usize = offset_of!(Self, nmi_body_top);
    /// Offset of the NMI-active word, for assembly.
    pub const NMI_ACTIVE: usize = offset_of!(Self, nmi_active);
    /// Offset of the NMI-latched word, for assembly.
    pub const NMI_LATCHED: usize = offset_of!(Self, nmi_latched);

    /// A block for CPU `cpu`, not yet loaded.
    pub const fn new(cpu: CpuId) -> Self {
        Self {
            own_address: AtomicUsize::new(0),
            thread: AtomicUsize::new(0),
            thread_top: AtomicUsize::new(0),
            user_sp: AtomicUsize::new(0),
            irq_top: AtomicUsize::new(0),
            canary: AtomicUsize::new(0),
            nmi_body_top: AtomicUsize::new(0),
            nmi_active: AtomicU32::new(0),
            nmi_latched: AtomicU32::new(0),
            thread_lowest: AtomicUsize::new(0),
            watermark: AtomicUsize::new(0),
            irq: crate::irq::IrqCell::new(),
            cpu: AtomicU32::new(cpu.get()),
        }
    }

    /// Makes this block the CPU's own: GS base and the value `swapgs` exchanges it with.
    ///
    /// # Safety
    ///
    /// 1. The block lives as long as the CPU runs, and no other CPU loads it.
    /// 2. The CPU is in the kernel, with interrupts off.
    pub unsafe fn load(&'static self) {
        let address = core::ptr::from_ref(self) as usize;
        self.own_address.store(address, Ordering::Relaxed);
        const GS_BASE: u32 = 0xc000_0101;
        const KERNEL_GS_BASE: u32 = 0xc000_0102;
        for (register, value) in [(GS_BASE, address as u64), (KERNEL_GS_BASE, 0)] {
            // SAFETY: (1) both MSRs exist on every x86_64; (2) the value is the block's address, by the caller's promise a
            // good GS base from now on, or zero for user mode.
            unsafe {
                asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32,
                     options(nostack, preserves_flags));
            }
        }
    }

    /// The block of the CPU this runs on. One load. With interrupts on, the thread may be moved to another CPU right after.
    #[inline(always)]
    pub fn this() -> &'static Self {
        let address: usize;
        // SAFETY: (1) GS base is a loaded block ([`CpuLocal::load`] comes before any code that can get here);
        // (2) its first word is its own address.
        unsafe {
            asm!("mov {}, gs:[{own}]", out(reg) address, own = const offset_of!(Self, own_address),
                 options(nostack, preserves_flags, readonly));
            &*(address as *const Self)
        }
    }

    /// The running thread, as set by [`CpuLocal::set_thread`]: one load, right across preemption, because whatever CPU
    /// the load executes on, it is this thread that executes it.
    #[inline(always)]
    pub fn current_thread() -> usize {
        let thread: usize;
        // SAFETY: (1) as for `this`.
        unsafe {
            asm!("mov {}, gs:[{thread}]", out(reg) thread, thread = const offset_of!(Self, thread),
                 options(nostack, preserves_flags, readonly));
        }
        thread
    }

    /// Records who runs from now on: thread, its stack's bounds and watermark, and its canary. Interrupts off, right at the
    /// switch.
    #[inline(always)]
    pub fn set_thread(
        &self,
        thread: usize,
        stack: AddrRange,
        watermark: &'static Watermark,
        canary: usize,
    ) {
        self.thread.store(thread, Ordering::Relaxed);
        self.thread_lowest.store(stack.lowest.get(), Ordering::Relaxed);
        self.thread_top.store(stack.top.get(), Ordering::Relaxed);
        self.watermark.store(core::ptr::from_ref(watermark) as usize, Ordering::Relaxed);
        self.canary.store(canary, Ordering::Relaxed);
    }

    /// Takes an SP of the running thread into account for the depth of its stack. False if it is on another stack.
    #[inline(always)]
    pub fn sample_thread(&self, sp: Addr) -> bool {
        let lowest = self.thread_lowest.load(Ordering::Relaxed);
        let size = self.thread_top.load(Ordering::Relaxed).wrapping_sub(lowest);
        if sp.get().wrapping_sub(lowest) >= size {
            return false;
        }
        // SAFETY: (1) non-empty bounds are stored together with a watermark, a reference to a static.
        unsafe { &*(self.watermark.load(Ordering::Relaxed) as *const Watermark) }.sample(sp);
        true
    }

    /// Gives the CPU its IRQ stack and NMI body stack. Before its first interrupt.
    pub fn set_stacks(&self, irq_top: Addr, nmi_body_top: Addr) {
        self.irq_top.store(irq_top.get(), Ordering::Relaxed);
        self.nmi_body_top.store(nmi_body_top.get(), Ordering::Relaxed);
    }

    /// Which CPU this is.
    #[inline(always)]
    pub fn cpu(&self) -> CpuId {
        CpuId::new(self.cpu.load(Ordering::Relaxed))
    }

    /// Top of the IRQ stack.
    #[inline(always)]
    pub fn irq_top(&self) -> Addr {
        Addr::new(self.irq_top.load(Ordering::Relaxed))
    }

    /// Top of the NMI body stack.
    pub fn nmi_body_top(&self) -> Addr {
        Addr::new(self.nmi_body_top.load(Ordering::Relaxed))
    }

    /// Top of the running thread's stack.
    #[inline(always)]
    pub fn thread_top(&self) -> Addr {
        Addr::new(self.thread_top.load(Ordering::Relaxed))
    }

    /// The canary that compiled code compares with.
    pub fn canary(&self) -> usize {
        self.canary.load(Ordering::Relaxed)
    }

    /// Whether an NMI is being handled.
    pub fn in_nmi(&self) -> bool {
        self.nmi_active.load(Ordering::Relaxed) != 0
    }
}
