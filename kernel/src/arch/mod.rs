//! The machine the kernel runs on. One tree per architecture; this module selects.

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub use x86_64::*;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("the reference kernel has no machine layer for this architecture yet");
