//! Arm's serial port, the PL011. Registers: Arm DDI 0183, 3.2.

use super::serial::Uart;
use crate::memory::direct;

const DATA: u64 = 0x00;
const FLAGS: u64 = 0x18;
const LINE_CONTROL: u64 = 0x2c;
const CONTROL: u64 = 0x30;
const INTERRUPT_MASK: u64 = 0x38;
const INTERRUPT_CLEAR: u64 = 0x44;

const RECEIVE_EMPTY: u32 = 1 << 4;
const TRANSMIT_FULL: u32 = 1 << 5;
/// Eight bits, FIFOs.
const EIGHT_BITS_AND_FIFOS: u32 = 0b11 << 5 | 1 << 4;
/// A byte has come, and one has been in the FIFO for a while.
const RECEIVE_AND_TIMEOUT: u32 = 1 << 4 | 1 << 6;
/// The FIFO of bytes to send has become less full.
const TRANSMIT: u32 = 1 << 5;
const ALL_INTERRUPTS: u32 = 0x7ff;
const ON_BOTH_WAYS: u32 = 1 << 9 | 1 << 8 | 1;

/// A PL011, by its physical address.
#[derive(Debug, Clone, Copy)]
pub struct Pl011(u64);

impl Pl011 {
    /// The port at a physical address.
    ///
    /// # Safety
    ///
    /// 1. A PL011 answers there.
    /// 2. The address is in the direct map as a device whenever the port is used.
    pub const unsafe fn at(physical: u64) -> Self {
        Self(physical)
    }

    fn read(self, register: u64) -> u32 {
        // SAFETY: (1) by the promise of `at`.
        unsafe { direct::<u32>(self.0 + register).read_volatile() }
    }

    fn write(self, register: u64, value: u32) {
        // SAFETY: (1) by the promise of `at`; (2) the values come from the functions below.
        unsafe { direct::<u32>(self.0 + register).write_volatile(value) };
    }
}

impl Uart for Pl011 {
    /// 8N1, FIFOs on.
    fn set_up(self, interrupt_on_input: bool) {
        self.write(CONTROL, 0);
        self.write(INTERRUPT_CLEAR, ALL_INTERRUPTS);
        self.write(LINE_CONTROL, EIGHT_BITS_AND_FIFOS);
        self.let_interrupt(interrupt_on_input);
        self.write(CONTROL, ON_BOTH_WAYS);
    }

    fn let_interrupt(self, on_input: bool) {
        self.write(INTERRUPT_MASK, if on_input { RECEIVE_AND_TIMEOUT } else { 0 });
        self.write(INTERRUPT_CLEAR, TRANSMIT);
    }

    /// Its line tells of an event, a byte that was sent: one that no terminal shows is.
    fn interrupt_when_ready(self) {
        self.write(INTERRUPT_MASK, RECEIVE_AND_TIMEOUT | TRANSMIT);
        self.put(0);
    }

    fn put(self, byte: u8) {
        while self.read(FLAGS) & TRANSMIT_FULL != 0 {
            core::hint::spin_loop();
        }
        self.write(DATA, byte.into());
    }

    fn take(self) -> Option<u8> {
        (self.read(FLAGS) & RECEIVE_EMPTY == 0).then(|| self.read(DATA) as u8)
    }
}
