//! What follows is the crate's front page.
#![doc = include_str!("../README.md")]
#![warn(missing_docs)]
// What is public may grow unless it says why it will not.
#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs, clippy::return_self_not_must_use)]
#![deny(unreachable_pub)]

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!("kstack-hosted is for Linux on x86_64 and arm64");

mod arch;
mod backing;
mod caches;
mod control;
mod coroutine;
mod error;
#[cfg(doctest)]
pub mod misuse;
mod overflow;
mod pool;
mod report;
mod scope;
mod thread;

pub use backing::Erase;
pub use caches::MAX_POOLS;
pub use coroutine::{Coroutine, Local, Movable, Resumed, Yielder};
pub use error::{PoolError, ResumeError, StackError};
pub use kstack_core::addr::{Addr, AddrRange, ByteSize};
pub use kstack_core::pool::Census;
pub use kstack_core::verdict::OverflowReport;
pub use pool::{Builder, Stack, StackPool};
pub use report::Overflow;
pub use scope::Scoped;
