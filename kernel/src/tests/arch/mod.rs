//! What the tests need of the machine they run on: one tree per architecture, all alike.
//!
//! | in every tree | what |
//! | --- | --- |
//! | `attempts` | jumps, loads and stores that the CPU should refuse |
//! | `expectations` | the table of expectations: what differs from one architecture to the next in what portable tests find |
//! | `evidence` | what the CPU's own registers say |
//! | `registers` | code with a known value in every register |
//! | `user_code` | a few instructions of user mode |
//! | the rest | tests of what only this architecture has |

mod expected;
mod touch;

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

// Where breakpoints come also while interrupts are off.
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64", target_arch = "x86"))]
mod breakpoints;

// Where something can stop at each instruction of the entry code.
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64", target_arch = "x86"))]
mod entry_code;

// Where the handler of overflows begins again at the top of the same stack.
#[cfg(not(target_arch = "arm"))]
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
