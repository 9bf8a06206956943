//! The `virt` machine's serial line, interrupt controller (GICv3), virtual timer, and its end by
//! semihosting.

use crate::paging::OFFSET;
use core::arch::asm;
use core::fmt::{self, Write};

fn register(physical: usize) -> *mut u32 {
    (OFFSET + physical) as *mut u32
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
pub fn end(status: u64) -> ! {
    let block = [0x20026, status];
    loop {
        // SAFETY: SYS_EXIT_EXTENDED, whose parameters are read.
        unsafe { asm!("hlt #0xf000", in("x0") 0x20, in("x1") &raw const block) };
    }
}

/// The virtual timer's interrupt.
const TIMER: usize = 27;

/// Lets the timer's interrupts through, and starts it.
pub fn start_timer() {
    const GICD: usize = 0x800_0000;
    const GICR: usize = 0x80a_0000;
    const SGIS: usize = GICR + 0x1_0000;
    // SAFETY: the registers of the controller and of the CPU's interface, in the order of its
    // manual (IHI 0069, 4).
    unsafe {
        register(GICD).write_volatile(0x12);
        register(GICR + 0x14).write_volatile(0);
        while register(GICR + 0x14).read_volatile() & 4 != 0 {}
        register(SGIS + 0x80).write_volatile(u32::MAX);
        register(SGIS + 0x400 + TIMER).cast::<u8>().write_volatile(0x80);
        register(SGIS + 0x100).write_volatile(1 << TIMER);
        asm!(
            "msr icc_sre_el1, {one}", "isb", "msr icc_pmr_el1, {all}", "msr icc_igrpen1_el1, {one}", "isb",
            one = in(reg) 1_u64, all = in(reg) 0xff_u64,
        );
    }
    rearm();
}

fn rearm() {
    // SAFETY: the virtual timer: 5 ms at 1 GHz, or 80 ms at 62.5 MHz.
    unsafe {
        asm!("msr cntv_tval_el0, {}", "msr cntv_ctl_el0, {}", in(reg) 5_000_000_u64, in(reg) 1_u64)
    };
}

/// Handles an interrupt.
pub fn handle() {
    let number: u64;
    // SAFETY: takes the interrupt that is pending, and ends it after the timer is armed again.
    unsafe {
        asm!("mrs {}, icc_iar1_el1", out(reg) number);
        rearm();
        asm!("msr icc_eoir1_el1, {}", in(reg) number);
    }
    assert_eq!(number as usize, TIMER);
}
