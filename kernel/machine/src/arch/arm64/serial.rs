//! The two ways out: the console, and the control channel that tools read.
//!
//! * **The console** is the PL011 that every `virt` machine has.
//! * **The control channel** is semihosting's debug console, which the emulator gives a channel of
//!   its own (`-semihosting-config enable=on,target=native,chardev=...`). `virt` has a second PL011
//!   only with the secure state or in newer emulators, a PCI serial port wants a bus to be set up
//!   first, and a virtio console wants queues and memory; semihosting is the instruction that also
//!   ends the machine with a status: no state, no lock, no device, on arm32 the same. One byte a
//!   call, as for a serial port.

use super::semihosting::Semihosting;
use crate::arch::virt::arm;
pub use crate::arch::virt::arm::CONSOLE_IRQ;
pub(super) use crate::arch::virt::arm::PL011;
use crate::drivers::serial::{self, Either};

/// A way out.
pub type Port = arm::Port<Semihosting>;

/// What people read.
pub const CONSOLE: Port = arm::console();
/// What tools read.
pub const CONTROL: Port = serial::Port::control(Either::Second(Semihosting));
