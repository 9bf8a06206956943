//! What `virt` has for both widths of Arm.

use crate::drivers::pl011::Pl011;
use crate::drivers::serial::{self, Either, Uart};

/// The serial port, physical.
pub const PL011: u64 = 0x0900_0000;

/// The interrupt of the console: shared peripheral interrupt 1.
pub const CONSOLE_IRQ: u32 = 32 + 1;

/// A serial line: the port, or semihosting (`S`).
pub type Port<S> = serial::Port<Either<Pl011, S>>;

/// The line that people read: the port.
pub const fn console<S: Uart>() -> Port<S> {
    // SAFETY: (1) `virt` has a PL011 there; (2) devices are in the direct map from the boot tables
    // on.
    let port = unsafe { Pl011::at(PL011) };
    serial::Port::console(Either::First(port))
}
