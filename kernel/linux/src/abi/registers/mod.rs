//! The registers of a thread as its tracer sees them (`struct user_regs_struct`, `NT_PRSTATUS`), a
//! file for each architecture.
//!
//! Each has the same names: `read` lays them out, `write` takes from them what a tracer may change,
//! and nothing that gives a privilege; `NUMBER` is where the number of the call is, if it is one of
//! them; `STEP` has the thread trap behind one instruction, where the processor can do that.

#[cfg(target_arch = "arm")]
mod arm32;
#[cfg(target_arch = "aarch64")]
mod arm64;
#[cfg(target_arch = "x86")]
mod i386;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod pc;
#[cfg(target_arch = "riscv64")]
mod riscv64;
mod step;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "arm")]
pub(crate) use arm32::*;
#[cfg(target_arch = "aarch64")]
pub(crate) use arm64::*;
#[cfg(target_arch = "x86")]
pub(crate) use i386::*;
#[cfg(target_arch = "riscv64")]
pub(crate) use riscv64::*;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;
