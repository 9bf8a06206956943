//! The two serial lines: the console, and the control channel that tools read.

use super::ports::Ports;
use crate::drivers::ns16550::Ns16550;
use crate::drivers::serial;

/// A serial line.
pub type Port = serial::Port<Ns16550<Ports>>;

/// What people read: COM1.
pub const CONSOLE: Port = {
    // SAFETY: (1) a 16550 or nothing answers there.
    serial::Port::console(Ns16550(unsafe { Ports::at(0x3f8) }))
};
/// What tools read: COM2.
pub const CONTROL: Port = {
    // SAFETY: (1) as above.
    serial::Port::control(Ns16550(unsafe { Ports::at(0x2f8) }))
};

/// The interrupt line of the console.
pub const CONSOLE_IRQ: u32 = 4;
