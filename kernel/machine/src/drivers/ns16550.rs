//! The 16550 and what is like it. One that is not there reads as 0xff; output to it is dropped.

use super::serial::Uart;
use crate::memory::direct;

/// How a machine reaches the eight registers.
pub trait Registers: Copy {
    fn read(self, register: u8) -> u8;
    fn write(self, register: u8, value: u8);
}

/// Registers in memory, a byte each.
#[derive(Debug, Clone, Copy)]
pub struct Mapped(u64);

impl Mapped {
    /// The registers at a physical address.
    ///
    /// # Safety
    ///
    /// 1. A 16550 or nothing answers there.
    /// 2. The address is in the direct map as a device whenever the registers are used.
    pub const unsafe fn at(physical: u64) -> Self {
        Self(physical)
    }
}

impl Registers for Mapped {
    #[inline(always)]
    fn read(self, register: u8) -> u8 {
        // SAFETY: (1) by the promise of `at`.
        unsafe { direct::<u8>(self.0 + u64::from(register)).read_volatile() }
    }

    #[inline(always)]
    fn write(self, register: u8, value: u8) {
        // SAFETY: (1) by the promise of `at`.
        unsafe { direct::<u8>(self.0 + u64::from(register)).write_volatile(value) };
    }
}

/// Bytes in and out; with `DIVISOR_LATCH`, the divisor's low byte.
const DATA: u8 = 0;
/// Which interrupts are on; with `DIVISOR_LATCH`, the divisor's high byte.
const INTERRUPTS: u8 = 1;
const FIFO_CONTROL: u8 = 2;
const LINE_CONTROL: u8 = 3;
const MODEM_CONTROL: u8 = 4;
const LINE_STATUS: u8 = 5;

const ON_INPUT: u8 = 1;
/// The register of bytes to send is empty.
const ON_ROOM: u8 = 1 << 1;
const DIVISOR_LATCH: u8 = 0x80;
const EIGHT_BITS: u8 = 0b11;
/// On, emptied, an interrupt from 14 bytes on.
const FIFOS: u8 = 0xc7;
/// Ready, and the line of the interrupt connected.
const MODEM: u8 = 0x0b;

const HAS_BYTE: u8 = 1;
const HAS_ROOM: u8 = 1 << 5;
const IS_EMPTY: u8 = 1 << 6;
const ABSENT: u8 = 0xff;

/// A 16550.
#[derive(Debug, Clone, Copy)]
pub struct Ns16550<R>(pub R);

impl<R: Registers> Ns16550<R> {
    /// Waits until all that was sent has left.
    pub fn drain(self) {
        while self.0.read(LINE_STATUS) & IS_EMPTY == 0 {
            core::hint::spin_loop();
        }
    }
}

impl<R: Registers> Uart for Ns16550<R> {
    /// 115200 baud, 8N1, FIFOs on.
    fn set_up(self, interrupt_on_input: bool) {
        let registers = [
            (INTERRUPTS, 0),
            (LINE_CONTROL, DIVISOR_LATCH),
            (DATA, 1),
            (INTERRUPTS, 0),
            (LINE_CONTROL, EIGHT_BITS),
            (FIFO_CONTROL, FIFOS),
            (MODEM_CONTROL, MODEM),
        ];
        for (register, value) in registers {
            self.0.write(register, value);
        }
        self.let_interrupt(interrupt_on_input);
    }

    fn let_interrupt(self, on_input: bool) {
        self.0.write(INTERRUPTS, if on_input { ON_INPUT } else { 0 });
    }

    fn interrupt_when_ready(self) {
        self.0.write(INTERRUPTS, ON_INPUT | ON_ROOM);
    }

    fn put(self, byte: u8) {
        while self.0.read(LINE_STATUS) & HAS_ROOM == 0 {
            core::hint::spin_loop();
        }
        self.0.write(DATA, byte);
    }

    fn take(self) -> Option<u8> {
        let status = self.0.read(LINE_STATUS);
        (status != ABSENT && status & HAS_BYTE != 0).then(|| self.0.read(DATA))
    }
}
