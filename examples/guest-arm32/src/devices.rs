//! The `virt` machine's serial line, interrupt controller (GICv2), virtual timer, and its end by
//! semihosting.

use core::arch::asm;
use core::fmt::{self, Write};

fn register(physical: usize) -> *mut u32 {
    physical as *mut u32
}

/// The serial line, which is written without a lock.
pub struct Serial;

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: the device's data register.
            unsafe { register(0x900_0000).write_volatile(u32::from(byte)) };
        }
        Ok(())
    }
}

#[macro_export]
macro_rules! say {
    ($($part:tt)*) => {{
        use core::fmt::Write;
        let _ = writeln!($crate::devices::Serial, $($part)*);
    }};
}

/// Ends the emulator with a status.
pub fn end(status: u32) -> ! {
    let block = [0x20026, status];
    loop {
        // SAFETY: SYS_EXIT_EXTENDED, whose parameters are read.
        unsafe { asm!("svc #0x123456", in("r0") 0x20, in("r1") &raw const block) };
    }
}

/// The virtual timer's interrupt.
const TIMER: u32 = 27;
const GICD: usize = 0x800_0000;
const GICC: usize = 0x801_0000;

/// Lets the timer's interrupts through, and starts it.
pub fn start_timer() {
    // SAFETY: the controller's registers, in the order of its manual (IHI 0048, 4).
    unsafe {
        register(GICD).write_volatile(1);
        register(GICD + 0x400 + TIMER as usize).cast::<u8>().write_volatile(0x80);
        register(GICD + 0x100).write_volatile(1 << TIMER);
        register(GICC + 4).write_volatile(0xf0);
        register(GICC).write_volatile(1);
    }
    rearm();
}

fn rearm() {
    // SAFETY: the virtual timer: 80 ms at 62.5 MHz.
    unsafe {
        asm!("mcr p15, 0, {}, c14, c3, 0", "mcr p15, 0, {}, c14, c3, 1", in(reg) 5_000_000_u32, in(reg) 1_u32)
    };
}

/// Handles an interrupt.
pub fn handle() {
    // SAFETY: takes the interrupt that is pending, and ends it after the timer is armed again.
    unsafe {
        let number = register(GICC + 0xc).read_volatile();
        assert_eq!(number & 0x3ff, TIMER);
        rearm();
        register(GICC + 0x10).write_volatile(number);
    }
}
