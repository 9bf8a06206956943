//! What the tests need of the machine they run on: one tree per architecture, all alike.
//!
//! | in every tree | what |
//! | --- | --- |
//! | `EXPECTED` | the table of expectations: what differs from one architecture to the next in what portable tests find |
//! | `registers` | code with a known value in every register |
//! | `user_code` | a few instructions of user mode |
//! | the rest | tests of what only this architecture has |

use kstack::kind::StackKind;
use kstack::verdict::Cause;

#[cfg(target_arch = "arm")]
mod arm32;
#[cfg(target_arch = "arm")]
pub(super) use arm32::*;

#[cfg(target_arch = "aarch64")]
mod arm64;
#[cfg(target_arch = "aarch64")]
pub(super) use arm64::*;

#[cfg(target_arch = "riscv64")]
mod riscv64;
#[cfg(target_arch = "riscv64")]
pub(super) use riscv64::*;

#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
mod pc;

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::*;

#[cfg(target_arch = "x86")]
mod i386;
#[cfg(target_arch = "x86")]
pub(super) use i386::*;

// Where a CPU is asked by an interrupt to forget translations.
#[cfg(any(target_arch = "riscv64", target_arch = "x86_64", target_arch = "x86"))]
mod flush;

// Where something can stop at each instruction of the entry code.
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64", target_arch = "x86"))]
mod entry_code;

#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
mod overflow_handler;

// Where a CPU may fault on a page that has just been mapped.
#[cfg(any(target_arch = "aarch64", target_arch = "arm", target_arch = "riscv64"))]
mod first_use;

#[cfg(not(any(
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "riscv64",
    target_arch = "x86",
    target_arch = "x86_64"
)))]
compile_error!(
    "the tests know nothing of this architecture: write kernel/src/tests/arch/NAME, as CONTRIBUTING.md has it under \"Porting\""
);

/// What differs from one architecture to the next in what portable tests find.
pub(super) struct Expected {
    /// The size of a thread's stack.
    pub(super) stack_kib: usize,
    /// What its lowest address is a multiple of.
    pub(super) stack_align_kib: usize,
    /// Bytes of the registers that an entry saves.
    pub(super) saved_regs: usize,
    /// Bytes at the low end of a running thread's stack that are not the thread's to write.
    pub(super) kept_below: usize,
    /// Bytes of the registers that a switch saves.
    pub(super) switch_frame: usize,
    /// The stacks that each CPU has besides its idle stack and its IRQ stack.
    pub(super) cpu_stacks: &'static [StackKind],
    /// Which of them, or else the IRQ stack, softirqs run on.
    pub(super) softirq_stack: StackKind,
    /// What a frame somewhat larger than the whole stack is called: it runs into the guard where
    /// the compiler has probes, lands in it where the guard is wide, and is found beyond it
    /// elsewhere.
    pub(super) giant_frame: Cause,
    /// The row of the table of entries that says where an overflow is handled.
    pub(super) overflow_row: &'static str,
    /// Rows of that table that tests of this architecture alone show, besides entries from user
    /// mode.
    pub(super) own_rows: &'static [(&'static str, &'static str)],
}
