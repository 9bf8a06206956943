//! The two serial ports: the console, and the control channel that tools read.
//!
//! The machine `virt` has one 16550 of its own, which is the console. The control channel is a
//! second 16550, on the PCI bus (QEMU's `pci-serial`): the one device besides that takes bytes one
//! by one, polled, without queues in memory or a lock, so that an overflow report gets out in any
//! context. The kernel finds it on bus 0 and gives its registers a place in the bus's port window.

use crate::drivers::ns16550::{Mapped, Ns16550};
use crate::drivers::pci_serial::PciSerial;
use crate::drivers::serial::{self, Either};

/// A serial line.
pub type Port = serial::Port<Either<Ns16550<Mapped>, PciSerial>>;

/// What people read: the machine's own port.
pub const CONSOLE: Port = {
    // SAFETY: (1) `virt` has a 16550 there; (2) devices are in the direct map from the boot tables
    // on.
    let registers = unsafe { Mapped::at(0x1000_0000) };
    serial::Port::console(Either::First(Ns16550(registers)))
};
/// What tools read: the port on the PCI bus.
pub const CONTROL: Port = {
    // SAFETY: (1) `virt` has a PCI bus there; (2) devices are in the direct map from the boot
    // tables on; (3) nothing else is given ports.
    let card = unsafe { PciSerial::at(PCI_CONFIGURATION, PCI_PORTS, CARD_PORT) };
    serial::Port::control(Either::Second(card))
};

/// The interrupt line of the console.
pub const CONSOLE_IRQ: u32 = 10;

/// Configuration space of PCI bus 0, and the window behind which its ports are.
const PCI_CONFIGURATION: u64 = 0x3000_0000;
const PCI_PORTS: u64 = 0x300_0000;
/// The port that the card's registers get.
const CARD_PORT: u32 = 0x1000;
