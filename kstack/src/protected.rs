//! Whether the kernel is compiled with the stack protector, and what that reads at first: the part
//! of [`crate::protector`] that entry code and the per-CPU block stand on.

use core::sync::atomic::AtomicUsize;

/// Whether the library was built with the feature `stack-protector`.
pub const IS_ON: bool = cfg!(feature = "stack-protector");

/// What compiled code reads its canary from before its CPU has loaded a block.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct BootGuard([AtomicUsize; 16]);

/// The only one. Its canary is the same at each boot, for as long as it takes the CPU to come to
/// [`CpuLocal::start_canary`](crate::local::CpuLocal::start_canary).
pub static BOOT: BootGuard = BootGuard([const { AtomicUsize::new(0x57ac_6e00) }; 16]);
