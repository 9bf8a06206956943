//! The two ways out: the console, and the control channel that tools read.
//!
//! * **The console** is the PL011 that every `virt` machine has.
//! * **The control channel** is semihosting's debug console, which the emulator gives a channel of its own
//!   (`-semihosting-config enable=on,target=native,chardev=...`). `virt` has a second PL011 only with the secure state or in newer
//!   emulators, a PCI serial port wants a bus to be set up first, and a virtio console wants queues and memory; semihosting is
//!   the instruction that also ends the machine with a status: no state, no lock, no device, on arm32 the same. One byte a call,
//!   as for a serial port.
//!
//! Polled, without state or lock: what an overflow report goes through must work in any context.

use super::semihosting;
use crate::memory::direct;
use core::fmt;

/// The machine's serial port, physical.
pub(super) const PL011: u64 = 0x0900_0000;

/// One way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// A PL011, by its physical address.
    Pl011(u64),
    /// The emulator's debug console.
    Semihosting,
}

/// What people read.
pub const CONSOLE: Port = Port::Pl011(PL011);
/// What tools read.
pub const CONTROL: Port = Port::Semihosting;

/// The interrupt line of the console: shared peripheral interrupt 1.
pub const CONSOLE_IRQ: u32 = 32 + 1;

/// PL011 registers (Arm DDI 0183, 3.2).
const DATA: u64 = 0x00;
const FLAGS: u64 = 0x18;
const LINE_CONTROL: u64 = 0x2c;
const CONTROL_REGISTER: u64 = 0x30;
const INTERRUPT_MASK: u64 = 0x38;
const INTERRUPT_CLEAR: u64 = 0x44;
const RECEIVE_EMPTY: u32 = 1 << 4;
const TRANSMIT_FULL: u32 = 1 << 5;

fn read(base: u64, register: u64) -> u32 {
    // SAFETY: (1) the port's page is in the direct map as a device, from the boot tables on.
    unsafe { direct::<u32>(base + register).read_volatile() }
}

fn write(base: u64, register: u64, value: u32) {
    // SAFETY: (1) as for `read`; (2) the values come from the functions below.
    unsafe { direct::<u32>(base + register).write_volatile(value) };
}

impl Port {
    /// 8N1, FIFOs on. `interrupt_on_input`: raise the line when a byte has come.
    pub fn set_up(self, interrupt_on_input: bool) {
        match self {
            Self::Pl011(base) => {
                write(base, CONTROL_REGISTER, 0);
                write(base, INTERRUPT_CLEAR, 0x7ff);
                write(base, LINE_CONTROL, 0x70);
                // Receive, and receive timeout.
                write(base, INTERRUPT_MASK, if interrupt_on_input { 0x50 } else { 0 });
                write(base, CONTROL_REGISTER, 0x301);
            }
            Self::Semihosting => semihosting::find_semihosting(),
        }
    }

    /// Sends a byte as soon as there is room.
    pub fn put(self, byte: u8) {
        match self {
            Self::Pl011(base) => {
                while read(base, FLAGS) & TRANSMIT_FULL != 0 {
                    core::hint::spin_loop();
                }
                write(base, DATA, byte.into());
            }
            Self::Semihosting => semihosting::semihosting_put(byte),
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
        match self {
            Self::Pl011(base) => {
                (read(base, FLAGS) & RECEIVE_EMPTY == 0).then(|| read(base, DATA) as u8)
            }
            Self::Semihosting => None,
        }
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
