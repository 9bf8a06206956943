//! Drivers by device: one each, whatever architecture has the device.
//!
//! | file | device | on |
//! | --- | --- | --- |
//! | `serial` | what every serial line can do, and text on it | every machine |
//! | `ns16550` | the 16550 and its kin, in ports or in memory | PCs, riscv64 |
//! | `pci_serial` | QEMU's serial card, a 16550 on the PCI bus | riscv64 |
//! | `pl011` | Arm's PL011 | arm64, arm32 |
//! | `gic_v2` | Arm's interrupt controller, version 2 | arm64, arm32 |
//! | `virtio` | the emulator's disk and random bytes, by a crate | every machine |
//!
//! Drivers know registers. Where a device is, which line it has, and what instruction orders its
//! registers with memory is the tree's.

pub mod gic_v2;
pub mod ns16550;
pub mod pci_serial;
pub mod pl011;
pub mod serial;
pub mod virtio;
