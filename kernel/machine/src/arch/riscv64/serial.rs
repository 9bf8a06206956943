//! The two serial ports: the console, and the control channel that tools read.
//!
//! The machine `virt` has one 16550 of its own, which is the console. The control channel is a second 16550, on the PCI bus
//! (QEMU's `pci-serial`): the one device besides that takes bytes one by one, polled, without queues in memory or a lock, so that
//! an overflow report gets out in any context. The kernel finds it on bus 0 and gives its registers a place in the bus's port
//! window. A port that is not there reads as 0xff; output to it is dropped.

use crate::memory::direct;
use core::fmt;

/// One 16550, by the physical address of its registers.
#[derive(Debug, Clone, Copy)]
pub struct Port(u64);

/// What people read: the machine's own port.
pub const CONSOLE: Port = Port(0x1000_0000);
/// What tools read: the port on the PCI bus.
pub const CONTROL: Port = Port(PCI_PORTS + CONTROL_PORT as u64);

/// The interrupt line of the console.
pub const CONSOLE_IRQ: u32 = 10;

/// Configuration space of PCI bus 0, and the window behind which its ports are.
const PCI_CONFIGURATION: u64 = 0x3000_0000;
const PCI_PORTS: u64 = 0x300_0000;
/// The port that the control channel's registers get.
const CONTROL_PORT: u32 = 0x1000;

/// Looks for QEMU's serial card on the PCI bus, and gives its registers [`CONTROL_PORT`].
fn place_control_port() {
    /// Device and vendor.
    const SERIAL_CARD: u32 = 0x0002_1b36;
    /// Bytes of configuration space of one slot, and slots of a bus.
    const SLOT: u64 = 1 << 15;
    const SLOTS: u64 = 32;
    // PCI Local Bus Specification 3.0, 6.1: identity at 0, command at 4, first base address at 0x10.
    const COMMAND: u64 = 4;
    const ANSWER_TO_PORTS: u32 = 1;
    const BASE: u64 = 0x10;
    const IS_PORT: u32 = 1;
    for slot in 0..SLOTS {
        let register = |at: u64| direct::<u32>(PCI_CONFIGURATION + slot * SLOT + at);
        // SAFETY: (1) configuration space of bus 0 is mapped; slots without a card read as ones; (2) the card is ours.
        unsafe {
            if register(0).read_volatile() == SERIAL_CARD {
                register(BASE).write_volatile(CONTROL_PORT | IS_PORT);
                register(COMMAND).write_volatile(ANSWER_TO_PORTS);
                return;
            }
        }
    }
}

impl Port {
    #[inline(always)]
    fn read(self, register: u64) -> u8 {
        // SAFETY: (1) the port is a 16550, or nothing; its registers are in the direct map from the first moment on.
        unsafe { direct::<u8>(self.0 + register).read_volatile() }
    }

    #[inline(always)]
    fn write(self, register: u64, value: u8) {
        // SAFETY: (1) as above.
        unsafe { direct::<u8>(self.0 + register).write_volatile(value) };
    }

    /// 115200 baud, 8N1, FIFOs on. `interrupt_on_input`: raise the line when a byte has come.
    pub fn set_up(self, interrupt_on_input: bool) {
        if self.0 == CONTROL.0 {
            place_control_port();
        }
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
        for (register, value) in registers {
            self.write(register, value);
        }
    }

    /// Sends a byte as soon as there is room. A port that is not there reads as "room".
    pub fn put(self, byte: u8) {
        while self.read(5) & 0x20 == 0 {
            core::hint::spin_loop();
        }
        self.write(0, byte);
    }

    /// Sends bytes as they are.
    pub fn put_all(self, bytes: &[u8]) {
        for &byte in bytes {
            self.put(byte);
        }
    }

    /// The byte that has come, if any.
    pub fn take(self) -> Option<u8> {
        let status = self.read(5);
        (status != 0xff && status & 1 != 0).then(|| self.read(0))
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
