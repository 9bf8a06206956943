//! What the CPU itself reads: the address of the vectors, and SP_EL1.
//!
//! ```text
//!   overflow stack of a CPU, in a slot of the arena, between guards of its own
//!   | <- SP_EL1: the top, while threads, interrupts and programs run
//!   | 16 bytes that every entry uses
//!   | the overflow handler's frames |
//! ```

use super::save::DEBUG_AND_SERROR;
use core::arch::asm;
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};
use kstack_core::addr::Addr;

/// What one CPU reads, as the kernel prepares it.
#[derive(Debug)]
pub struct CpuTables {
    overflow_top: AtomicUsize,
}

impl CpuTables {
    /// Nothing prepared yet.
    pub const fn new() -> Self {
        Self { overflow_top: AtomicUsize::new(0) }
    }

    /// Remembers the overflow stack that [`CpuTables::load`] will give the CPU.
    pub fn set_overflow_stack(&self, top: Addr) {
        self.overflow_top.store(top.get(), Ordering::Relaxed);
    }

    /// Top of the overflow stack.
    pub fn overflow_top(&self) -> Addr {
        Addr::new(self.overflow_top.load(Ordering::Relaxed))
    }

    /// Loads `vectors` and SP_EL1 on the CPU this runs on.
    ///
    /// # Safety
    ///
    /// 1. The overflow stack is mapped, 16-aligned, and this CPU's alone.
    /// 2. The CPU runs on SP_EL0 (`SPSel` = 0), with interrupts off.
    /// 3. The hooks are installed: an exception right after this reaches them.
    /// 4. `vectors` are this library's, or aligned as VBAR_EL1 wants it and in no need of more.
    pub unsafe fn load(&self, vectors: Addr) {
        // SAFETY: (1) to (3) by the caller's promise; (4) likewise;
        // (5) between the two writes of SPSel nothing but SP_EL1 is written.
        unsafe {
            asm!(
                "msr spsel, #1",
                "mov sp, {top}",
                "msr spsel, #0",
                "msr vbar_el1, {vectors}",
                "isb",
                // There is an answer now to debug exceptions and SErrors: all kernel code runs with
                // them on.
                "msr daifclr, #{debug_and_serror}",
                top = in(reg) self.overflow_top.load(Ordering::Relaxed),
                debug_and_serror = const DEBUG_AND_SERROR,
                vectors = in(reg) vectors.get(),
                options(nostack, preserves_flags),
            );
        }
    }

    /// Entries from user mode start at the running thread's top, which entry code reads from
    /// [`CpuLocal`](crate::local::CpuLocal): there is nothing to tell the CPU.
    #[inline(always)]
    pub fn set_user_entry_stack(&self, _top: Addr) {}
}

impl Default for CpuTables {
    fn default() -> Self {
        Self::new()
    }
}

/// What of this CPU, or of what the kernel gave it, the entries cannot work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfit {
    /// The CPU is not at EL1.
    NotAtEl1,
    /// The CPU has no overflow stack.
    NoOverflowStack,
    /// The CPU has no IRQ stack.
    NoIrqStack,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAtEl1 => "the CPU is not at EL1, where this library's vectors are",
            Self::NoOverflowStack => "the CPU has no overflow stack",
            Self::NoIrqStack => "the CPU has no IRQ stack",
        })
    }
}

impl core::error::Error for Unfit {}
