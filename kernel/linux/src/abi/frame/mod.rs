//! The frames of signal handlers, and the structures around them: what Linux lays on a handler's
//! stack, a file for each architecture.
//!
//! Each has the same names: `place` says where a frame goes below a stack pointer; `build` lays it
//! out there, and `enter` makes the registers the handler's; `parse` reads it back and takes from
//! it what a program may change, and nothing that gives a privilege.

mod action;
mod common;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod pc;

#[cfg(target_arch = "arm")]
mod arm32;
#[cfg(target_arch = "aarch64")]
mod arm64;
#[cfg(target_arch = "x86")]
mod i386;
#[cfg(target_arch = "riscv64")]
mod riscv64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "arm")]
pub use arm32::*;
#[cfg(target_arch = "aarch64")]
pub use arm64::*;
#[cfg(target_arch = "x86")]
pub use i386::*;
#[cfg(target_arch = "riscv64")]
pub use riscv64::*;
#[cfg(target_arch = "x86_64")]
pub use x86_64::*;

pub use action::{decode_action, encode_action};
pub use common::{Place, Request, Space, StackBytes, stack_flag};
