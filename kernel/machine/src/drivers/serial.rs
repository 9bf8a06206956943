//! Serial lines: bytes one by one, polled, without state or lock. What an overflow report goes
//! through must work in any context.

use core::fmt;

/// A device that sends and receives bytes.
pub trait Uart: Copy {
    /// 8N1. `interrupt_on_input`: raise the line when a byte has come.
    fn set_up(self, interrupt_on_input: bool);

    /// Whether the line is raised when a byte has come. The rest stays as it was set up.
    fn let_interrupt(self, on_input: bool);

    /// Raises the line as soon as the device can send, which is at once, or nearly so, until
    /// [`Uart::let_interrupt`].
    fn interrupt_when_ready(self);

    /// Sends a byte as soon as there is room. A device that is not there takes it at once.
    fn put(self, byte: u8);

    /// The byte that has come, if any.
    fn take(self) -> Option<u8>;
}

/// One of two kinds of device.
#[derive(Debug, Clone, Copy)]
pub enum Either<A, B> {
    First(A),
    Second(B),
}

impl<A: Uart, B: Uart> Uart for Either<A, B> {
    fn set_up(self, interrupt_on_input: bool) {
        match self {
            Self::First(uart) => uart.set_up(interrupt_on_input),
            Self::Second(uart) => uart.set_up(interrupt_on_input),
        }
    }

    fn let_interrupt(self, on_input: bool) {
        match self {
            Self::First(uart) => uart.let_interrupt(on_input),
            Self::Second(uart) => uart.let_interrupt(on_input),
        }
    }

    fn interrupt_when_ready(self) {
        match self {
            Self::First(uart) => uart.interrupt_when_ready(),
            Self::Second(uart) => uart.interrupt_when_ready(),
        }
    }

    fn put(self, byte: u8) {
        match self {
            Self::First(uart) => uart.put(byte),
            Self::Second(uart) => uart.put(byte),
        }
    }

    fn take(self) -> Option<u8> {
        match self {
            Self::First(uart) => uart.take(),
            Self::Second(uart) => uart.take(),
        }
    }
}

/// A serial line and what reads it.
#[derive(Debug, Clone, Copy)]
pub struct Port<U> {
    uart: U,
    /// People read it: a line feed goes out as carriage return and line feed.
    is_console: bool,
}

impl<U: Uart> Port<U> {
    /// The line that people read.
    pub const fn console(uart: U) -> Self {
        Self { uart, is_console: true }
    }

    /// The line that tools read.
    pub const fn control(uart: U) -> Self {
        Self { uart, is_console: false }
    }

    /// The device behind it.
    pub fn uart(self) -> U {
        self.uart
    }

    /// Sets the device up. `interrupt_on_input`: raise the line when a byte has come.
    pub fn set_up(self, interrupt_on_input: bool) {
        self.uart.set_up(interrupt_on_input);
    }

    /// Whether the line is raised when a byte has come.
    pub fn let_interrupt(self, on_input: bool) {
        self.uart.let_interrupt(on_input);
    }

    /// Raises the line at once, or nearly so, until [`Port::let_interrupt`].
    pub fn interrupt_when_ready(self) {
        self.uart.interrupt_when_ready();
    }

    /// Sends a byte as soon as there is room.
    pub fn put(self, byte: u8) {
        self.uart.put(byte);
    }

    /// Sends bytes as they are.
    pub fn put_all(self, bytes: &[u8]) {
        for &byte in bytes {
            self.put(byte);
        }
    }

    /// The byte that has come, if any.
    pub fn take(self) -> Option<u8> {
        self.uart.take()
    }
}

impl<U: Uart> fmt::Write for Port<U> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' && self.is_console {
                self.put(b'\r');
            }
            self.put(byte);
        }
        Ok(())
    }
}
