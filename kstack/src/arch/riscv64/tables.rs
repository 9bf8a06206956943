//! What the CPU itself reads: one address, that of the entry code. There are no tables; this file
//! has what the trees of other architectures keep in theirs.
//!
//! ```text
//!   stvec     entry code, direct mode: every interrupt and exception starts at the same instruction
//!   sscratch  the CPU's block while a program runs, 0 in the kernel
//! ```

use core::arch::asm;
use core::fmt;
use kstack_core::addr::Addr;

/// Points the CPU this runs on at the entry code at `vector`.
///
/// # Safety
///
/// 1. The CPU has its [`crate::local::CpuLocal`] loaded, with its overflow stack set.
/// 2. The hooks are installed; interrupts are off.
pub unsafe fn load(vector: Addr) {
    // SAFETY: (1) (2) by the caller's promise; (3) the entry is 4-aligned, so that the low bits say
    // direct mode.
    unsafe { asm!("csrw stvec, {}", in(reg) vector.get(), options(nostack)) };
}

/// What each CPU reads, besides its registers: nothing.
#[derive(Debug)]
pub struct CpuTables;

/// What this CPU lacks that the entries cannot work without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfit {
    /// It has no overflow stack.
    NoOverflowStack,
    /// It has no IRQ stack.
    NoIrqStack,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoOverflowStack => "the CPU has no overflow stack",
            Self::NoIrqStack => "the CPU has no IRQ stack",
        })
    }
}

impl core::error::Error for Unfit {}
