//! What the boards have in common that tell of themselves by a device tree, as QEMU's `virt` does
//! on every architecture.
//!
//! The trees of arm64, arm32 and riscv64 use it; nothing in it depends on the size of an address.

#[cfg(any(target_arch = "aarch64", target_arch = "arm"))]
pub mod arm;
pub mod cpus;
pub mod device_tree;
pub mod power;
pub mod rtc;
pub mod virtio;
