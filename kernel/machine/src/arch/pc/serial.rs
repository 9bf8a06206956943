//! The two serial ports: the console, and the control channel that tools read.
//!
//! Polled, without state or lock: what an overflow report goes through must work in any context. A 16550 whose line is not
//! there reads as 0xff; output to it is dropped.

use super::ports::{in8, out8};
use core::fmt;

/// One 16550.
#[derive(Debug, Clone, Copy)]
pub struct Port(u16);

/// What people read: COM1.
pub const CONSOLE: Port = Port(0x3f8);
/// What tools read: COM2.
pub const CONTROL: Port = Port(0x2f8);

/// The interrupt line of the console.
pub const CONSOLE_IRQ: u8 = 4;

impl Port {
    /// 115200 baud, 8N1, FIFOs on. `interrupt_on_input`: raise the line when a byte has come.
    pub fn set_up(self, interrupt_on_input: bool) {
        let registers = [
            (1, 0x00),
            (3, 0x80),
            (0, 0x01),
            (1, 0x00),
            (3, 0x03),
            (2, 0xc7),
            (4, 0x0b),
            (1, u8::from(interrupt_on_input)),
        ];
        for (offset, value) in registers {
            // SAFETY: (1) the port is a 16550, or nothing.
            unsafe { out8(self.0 + offset, value) };
        }
    }

    /// Sends a byte as soon as there is room.
    pub fn put(self, byte: u8) {
        // SAFETY: (1) the port is a 16550, or nothing, which reads as "room".
        unsafe {
            while in8(self.0 + 5) & 0x20 == 0 {
                core::hint::spin_loop();
            }
            out8(self.0, byte);
        }
    }

    /// Waits until all that was sent has left.
    pub(super) fn drain(self) {
        // SAFETY: (1) the port is a 16550, or nothing, which reads as "empty".
        while unsafe { in8(self.0 + 5) } & 0x40 == 0 {
            core::hint::spin_loop();
        }
    }

    /// Sends bytes as they are.
    pub fn put_all(self, bytes: &[u8]) {
        for &byte in bytes {
            self.put(byte);
        }
    }

    /// The byte that has come, if any.
    pub fn take(self) -> Option<u8> {
        // SAFETY: (1) the port is a 16550; 0xff means there is none.
        unsafe {
            let status = in8(self.0 + 5);
            (status != 0xff && status & 1 != 0).then(|| in8(self.0))
        }
    }
}

impl fmt::Write for Port {
    /// Text: a line feed goes out as carriage return and line feed on the console.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' && self.0 == CONSOLE.0 {
                self.put(b'\r');
            }
            self.put(byte);
        }
        Ok(())
    }
}
