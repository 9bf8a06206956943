//! The serial port, the interrupt controller, the timer, the end of the emulator.

use core::arch::asm;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU32, Ordering};

static TICKS: AtomicU32 = AtomicU32::new(0);

fn out(port: u16, value: u8) {
    // SAFETY: ports of this board's devices, which are ours.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nostack, preserves_flags)) };
}

fn read(port: u16) -> u8 {
    let value;
    // SAFETY: as above.
    unsafe {
        asm!("in al, dx", in("dx") port, out("al") value, options(nostack, preserves_flags));
    }
    value
}

/// The first serial port, as firmware left it.
pub struct Serial;

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            while read(0x3fd) & 0x20 == 0 {}
            out(0x3f8, byte);
        }
        Ok(())
    }
}

#[macro_export]
macro_rules! println {
    ($($text:tt)*) => {{
        use core::fmt::Write;
        let _ = writeln!($crate::devices::Serial, $($text)*);
    }};
}

/// Interrupts of devices from vector 32 on, all lines off: firmware leaves the timer on, at the
/// vector of double faults.
pub fn set_up() {
    const SET_UP: [(u16, u8); 10] = [
        (0x20, 0x11),
        (0xa0, 0x11),
        (0x21, 32),
        (0xa1, 40),
        (0x21, 4),
        (0xa1, 2),
        (0x21, 1),
        (0xa1, 1),
        (0x21, 0xff),
        (0xa1, 0xff),
    ];
    SET_UP.into_iter().for_each(|(port, value)| out(port, value));
}

/// A tick every 10 ms from now on.
pub fn start_timer() {
    let every = (1_193_182_u32 / 100).to_le_bytes();
    out(0x43, 0x36);
    out(0x40, every[0]);
    out(0x40, every[1]);
    out(0x21, 0xfe);
}

/// The timer's interrupt.
pub fn on_timer() {
    out(0x20, 0x20);
    TICKS.fetch_add(1, Ordering::Relaxed);
}

pub fn ticks() -> u32 {
    TICKS.load(Ordering::Relaxed)
}

/// Ends the emulator with status 33 or 35.
pub fn exit(well: bool) -> ! {
    out(0xf4, if well { 16 } else { 17 });
    // The emulator ends when its main loop has its turn: the CPU may come this far.
    loop {
        core::hint::spin_loop();
    }
}
