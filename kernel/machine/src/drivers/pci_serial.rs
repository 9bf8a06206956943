//! QEMU's serial card, `pci-serial`: a 16550 on the PCI bus, which has registers once it was given
//! a place for them.

use super::ns16550::{Mapped, Ns16550};
use super::serial::Uart;
use crate::memory::direct;

/// The card, the only one of its kind, on bus 0.
#[derive(Debug, Clone, Copy)]
pub struct PciSerial {
    /// Configuration space of the bus, physical.
    configuration: u64,
    /// The port that the card's registers get.
    port: u32,
    registers: Ns16550<Mapped>,
}

impl PciSerial {
    /// A card that gets `port` on the bus. `configuration`: the bus's configuration space; `ports`:
    /// the window of its ports.
    ///
    /// # Safety
    ///
    /// 1. At these physical addresses are configuration space of a PCI bus, and its ports.
    /// 2. They are in the direct map as devices whenever the card is used.
    /// 3. No other device of the bus has the eight ports from `port` on.
    pub const unsafe fn at(configuration: u64, ports: u64, port: u32) -> Self {
        // SAFETY: (1) a 16550 is there once the card has been placed, and nothing before; (2) by
        // the caller's promise.
        let registers = unsafe { Mapped::at(ports + port as u64) };
        Self { configuration, port, registers: Ns16550(registers) }
    }

    /// Looks for the card, and gives its registers their place.
    fn place(self) {
        /// Device and vendor.
        const SERIAL_CARD: u32 = 0x0002_1b36;
        /// Bytes of configuration space of one slot, and slots of a bus.
        const SLOT: u64 = 1 << 15;
        const SLOTS: u64 = 32;
        // PCI Local Bus Specification 3.0, 6.1: identity at 0, command at 4, first base address at
        // 0x10.
        const COMMAND: u64 = 4;
        const ANSWER_TO_PORTS: u32 = 1;
        const BASE: u64 = 0x10;
        const IS_PORT: u32 = 1;
        for slot in 0..SLOTS {
            let register = |at: u64| direct::<u32>(self.configuration + slot * SLOT + at);
            // SAFETY: (1) by the promise of `at`; slots without a card read as ones; (2) the card
            // is this driver's.
            unsafe {
                if register(0).read_volatile() == SERIAL_CARD {
                    register(BASE).write_volatile(self.port | IS_PORT);
                    register(COMMAND).write_volatile(ANSWER_TO_PORTS);
                    return;
                }
            }
        }
    }
}

impl Uart for PciSerial {
    fn set_up(self, interrupt_on_input: bool) {
        self.place();
        self.registers.set_up(interrupt_on_input);
    }

    fn let_interrupt(self, on_input: bool) {
        self.registers.let_interrupt(on_input);
    }

    fn interrupt_when_ready(self) {
        self.registers.interrupt_when_ready();
    }

    fn put(self, byte: u8) {
        self.registers.put(byte);
    }

    fn take(self) -> Option<u8> {
        self.registers.take()
    }
}
