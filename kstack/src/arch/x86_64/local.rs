//! How a CPU finds its block: through the GS base.
//!
//! The first word of [`CpuLocal`] is its own address, so that one load through GS gives a pointer. In user mode the GS base is the
//! program's; `swapgs` exchanges the two.

use crate::local::CpuLocal;
use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};
use kstack_core::addr::Addr;

/// What only this architecture's entry code needs of a CPU.
#[derive(Debug)]
#[repr(C)]
pub struct ArchLocal {
    /// The top of the NMI body stack.
    nmi_body_top: AtomicUsize,
}

impl ArchLocal {
    pub(crate) const fn new() -> Self {
        Self { nmi_body_top: AtomicUsize::new(0) }
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
    /// 1. Each is the 16-aligned top of a mapped stack that is this CPU's for as long as it runs, and used for nothing else.
    pub unsafe fn set_nmi_body_top(&self, top: Addr) {
        self.nmi_body_top.store(top.get(), Ordering::Relaxed);
    }

    /// Top of the NMI body stack.
    pub fn nmi_body_top(&self) -> Addr {
        Addr::new(self.nmi_body_top.load(Ordering::Relaxed))
    }
}

/// Makes `local` the CPU's own: GS base, and the value that `swapgs` exchanges it with.
///
/// # Safety
///
/// As for [`CpuLocal::load`], whose second half this is.
pub(crate) unsafe fn load(local: &'static CpuLocal) {
    const GS_BASE: u32 = 0xc000_0101;
    const KERNEL_GS_BASE: u32 = 0xc000_0102;
    let address = core::ptr::from_ref(local) as u64;
    for (register, value) in [(GS_BASE, address), (KERNEL_GS_BASE, 0)] {
        // SAFETY: (1) both MSRs exist on every x86_64; (2) the value is the block's address, by the caller's promise a
        // good GS base from now on, or zero for user mode.
        unsafe {
            asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32,
                 options(nostack, preserves_flags));
        }
    }
}

/// See [`CpuLocal::this`]. One load.
#[inline(always)]
pub(crate) fn this() -> &'static CpuLocal {
    let address: usize;
    // SAFETY: (1) GS base is a loaded block ([`CpuLocal::load`] comes before any code that can get here);
    // (2) its first word is its own address.
    unsafe {
        asm!("mov {}, gs:[{own}]", out(reg) address, own = const CpuLocal::OWN_ADDRESS,
             options(nostack, preserves_flags, readonly));
        &*(address as *const CpuLocal)
    }
}

/// The running thread has changed: it is read from the block, so there is nothing else to set.
#[inline(always)]
pub(crate) fn set_current(_local: &CpuLocal, _thread: usize) {}

/// See [`CpuLocal::current_thread`]. One load.
#[inline(always)]
pub(crate) fn current_thread() -> usize {
    let thread: usize;
    // SAFETY: (1) as for `this`.
    unsafe {
        asm!("mov {}, gs:[{thread}]", out(reg) thread, thread = const CpuLocal::THREAD,
             options(nostack, preserves_flags, readonly));
    }
    thread
}
