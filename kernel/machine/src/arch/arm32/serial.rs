//! The console, and the control channel that tools read.
//!
//! The board has one serial line for the normal world, a PL011: the console. The control channel is
//! semihosting, whose output the emulator writes where it is told to.

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
