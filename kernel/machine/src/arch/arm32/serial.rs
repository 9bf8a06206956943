//! The console, and the control channel that tools read.
//!
//! The board has one serial line for the normal world, a PL011: the console. The control channel is semihosting, whose
//! output the emulator writes where it is told to.
//!
//! Polled, without state or lock: what an overflow report goes through must work in any context.

use super::semihosting;
use crate::memory::direct;
use core::fmt;

/// The PL011's registers, physical.
pub(super) const PL011: u64 = 0x0900_0000;
const DATA: u64 = 0x00;
const FLAGS: u64 = 0x18;
const LINE_CONTROL: u64 = 0x2c;
const CONTROL_REGISTER: u64 = 0x30;
const INTERRUPT_MASK: u64 = 0x38;
const INTERRUPT_CLEAR: u64 = 0x44;
const TRANSMIT_FULL: u32 = 1 << 5;
const RECEIVE_EMPTY: u32 = 1 << 4;

/// A channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// The PL011.
    Serial,
    /// Semihosting: output only.
    Semihosting,
}

/// What people read.
pub const CONSOLE: Port = Port::Serial;
/// What tools read.
pub const CONTROL: Port = Port::Semihosting;

/// The interrupt of the console: the second shared one.
pub const CONSOLE_IRQ: u8 = 33;

fn read(register: u64) -> u32 {
    // SAFETY: (1) the PL011's page is mapped as a device; reading changes nothing but the receive queue.
    unsafe { direct::<u32>(PL011 + register).read_volatile() }
}

fn write(register: u64, value: u32) {
    // SAFETY: (1) as for `read`; (2) the values come from the functions below.
    unsafe { direct::<u32>(PL011 + register).write_volatile(value) };
}

impl Port {
    /// 8N1, no queues. `interrupt_on_input`: raise the line when a byte has come.
    pub fn set_up(self, interrupt_on_input: bool) {
        if self == Self::Serial {
            write(CONTROL_REGISTER, 0);
            write(LINE_CONTROL, 0b11 << 5);
            write(INTERRUPT_CLEAR, 0x7ff);
            write(INTERRUPT_MASK, if interrupt_on_input { 1 << 4 } else { 0 });
            // Receive, transmit, on.
            write(CONTROL_REGISTER, 1 << 9 | 1 << 8 | 1);
        }
    }

    /// Sends a byte as soon as there is room.
    pub fn put(self, byte: u8) {
        match self {
            Self::Serial => {
                while read(FLAGS) & TRANSMIT_FULL != 0 {
                    core::hint::spin_loop();
                }
                write(DATA, byte.into());
            }
            Self::Semihosting => {
                semihosting::call(semihosting::WRITE_CHARACTER, &byte);
            }
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
        (self == Self::Serial && read(FLAGS) & RECEIVE_EMPTY == 0).then(|| read(DATA) as u8)
    }
}

impl fmt::Write for Port {
    /// Text: a line feed goes out as carriage return and line feed on the console.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' && *self == CONSOLE {
                self.put(b'\r');
            }
            self.put(byte);
        }
        Ok(())
    }
}
