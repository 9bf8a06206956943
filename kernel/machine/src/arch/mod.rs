//! The machine the kernel runs on. One tree per architecture; this module selects.
//!
//! What the kernel names in them is in `contract`, with its types: the checklist for a new
//! architecture.

pub mod any;
mod contract;
#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
pub mod pc;
#[cfg(any(target_arch = "aarch64", target_arch = "arm", target_arch = "riscv64"))]
mod virt;

#[cfg(target_arch = "arm")]
mod arm32;
#[cfg(target_arch = "arm")]
pub use arm32::*;

#[cfg(target_arch = "aarch64")]
mod arm64;
#[cfg(target_arch = "aarch64")]
pub use arm64::*;

#[cfg(target_arch = "riscv64")]
mod riscv64;
#[cfg(target_arch = "riscv64")]
pub use riscv64::*;

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub use x86_64::*;

#[cfg(target_arch = "x86")]
mod i386;
#[cfg(target_arch = "x86")]
pub use i386::*;

#[cfg(not(any(
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "riscv64",
    target_arch = "x86",
    target_arch = "x86_64"
)))]
compile_error!(
    "the kernel has no tree for this architecture: write kernel/machine/src/arch/NAME, as CONTRIBUTING.md has it under \"Porting\""
);
