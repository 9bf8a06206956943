//! The first serial line, for what the kernel says.

use crate::sync::Lock;
use core::fmt::{Arguments, Write};
use uart_16550::SerialPort;

// SAFETY: the port of the first serial line, which nothing else uses.
static SERIAL: Lock<SerialPort> = Lock::new(unsafe { SerialPort::new(0x3f8) });

#[doc(hidden)]
pub fn print(text: Arguments<'_>) {
    SERIAL.lock().write_fmt(text).unwrap();
}

/// Makes the line free for a last message.
pub fn steal() {
    // SAFETY: interrupts are off and there is one CPU: the writer does not continue.
    unsafe { SERIAL.force_unlock() };
}

#[macro_export]
macro_rules! println {
    ($($part:tt)*) => { $crate::serial::print(format_args!("{}\n", format_args!($($part)*))) };
}
