//! The serial line of the `virt` machine.

use crate::{boot::PHYSICAL, lock::Lock};
use core::fmt::{Arguments, Write};
use uart_16550::MmioSerialPort;

static CONSOLE: Lock<Option<MmioSerialPort>> = Lock::new(None);

#[doc(hidden)]
pub fn print(text: Arguments<'_>) {
    // SAFETY: the device's registers, mapped by the boot table.
    let line = || unsafe { MmioSerialPort::new(PHYSICAL + 0x1000_0000) };
    CONSOLE.lock().get_or_insert_with(line).write_fmt(text).unwrap();
}

/// Makes the line free for a last message.
pub fn steal() {
    // SAFETY: interrupts are off and there is one hart: the writer does not continue.
    unsafe { CONSOLE.force_unlock() };
}

#[macro_export]
macro_rules! println {
    ($($part:tt)*) => { $crate::console::print(format_args!("{}\n", format_args!($($part)*))) };
}
