//! How the machine ends, with a status the outside can tell apart.
//!
//! QEMU's `isa-debug-exit` device at port 0xf4 ends it with status 2 v + 1. Bochs has ports of its
//! own: what is written to 0xe9, which reads as its number, goes to standard output, and a word to
//! 0x8900 ends it. Both are asked for without state: the machine ends from any context.

use super::{ports, serial};
use crate::arch::cpu;

/// Why the machine ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum End {
    /// All that was asked has been done. Status 17.
    Orderly = 0x08,
    /// A stack that belongs to a CPU overflowed: stopped, with the report. Status 33.
    Stopped = 0x10,
    /// The kernel found itself broken. Status 49.
    Panic = 0x18,
}

/// The port of QEMU's device.
pub(super) const EXIT: u16 = 0xf4;
/// Bochs's port that says what is written to it.
pub(super) const SAY: u16 = 0xe9;
/// Bochs's port that takes [`SHUTDOWN_WORD`], letter by letter.
pub(super) const SHUTDOWN: u16 = 0x8900;
const SHUTDOWN_WORD: &[u8] = b"Shutdown";

/// Ends the machine; on one without such a device, stops this CPU.
pub fn end(why: End) -> ! {
    // SAFETY: (1) these ports are used nowhere else; (2) the last one is written only where the one
    // before is Bochs's.
    unsafe {
        ports::out32(EXIT, why as u32);
        if ports::in8(SAY) == SAY as u8 {
            // What the lines still hold would be lost with the machine.
            serial::CONSOLE.uart().drain();
            serial::CONTROL.uart().drain();
            ports::out8(SAY, why as u8);
            SHUTDOWN_WORD.iter().for_each(|&letter| ports::out8(SHUTDOWN, letter));
        }
    }
    cpu::halt()
}
