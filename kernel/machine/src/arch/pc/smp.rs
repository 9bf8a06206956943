//! More than one CPU: starting them, and making them flush.

pub use super::acpi::{find_cpus, find_cpus_from};
use super::irqchip::{self, vector};
use super::{ports, requirements, start_page};
use crate::arch::any::flush;
pub use crate::arch::any::flush::answer_flush;
pub use crate::arch::any::flushes::flushes;
use crate::arch::{boot, paging};
use crate::cpus::{self, Cpu};
use crate::memory::direct;
use core::sync::atomic::Ordering;

/// Starts the CPU with this number and APIC number on `stack_top`, and waits until it is up.
/// Returns whether it came.
pub fn start_cpu(cpu: &'static Cpu, stack_top: u64) -> bool {
    let hardware_id = cpu.hardware_id.load(Ordering::Relaxed);
    let code = start_page::code();
    // SAFETY: (1) the page below 1 MiB is reserved for this; (2) one CPU starts at a time.
    unsafe {
        core::ptr::copy_nonoverlapping(code.as_ptr(), direct(start_page::START_PAGE), code.len())
    };
    boot::prepare_secondary(paging::kernel_root(), hardware_id, cpu.id().index(), stack_top);
    requirements::forget();
    irqchip::send_init(hardware_id);
    wait_microseconds(10_000);
    irqchip::send_startup(hardware_id, start_page::START_PAGE);
    for attempt in 0..200 {
        if cpus::online().any(|up| up.id() == cpu.id()) {
            return true;
        }
        if let Some(lack) = requirements::lacking() {
            let (number, lack) = (cpu.id().get(), lack.to_str().unwrap_or_default());
            log!("CPU {number} lacks what the kernel needs: {lack}");
            return false;
        }
        if attempt == 100 {
            // The manual asks for a second one if the first was not heard.
            irqchip::send_startup(hardware_id, start_page::START_PAGE);
        }
        wait_microseconds(10_000);
    }
    false
}

fn wait_microseconds(microseconds: u32) {
    for _ in 0..microseconds {
        // SAFETY: (1) port 0x80 is for diagnostics; an access takes about a microsecond.
        unsafe { ports::out8(0x80, 0) };
    }
}

/// Makes every other CPU drop its translations, global ones too, and waits until all have.
pub fn flush_others() {
    flush::flush_others(core::hint::spin_loop);
}

/// Tells a CPU to look at the run queue.
pub fn kick(cpu: &Cpu) {
    irqchip::send_interrupt(cpu.hardware_id.load(Ordering::Relaxed), vector::RESCHEDULE);
}

/// Interrupts a CPU, with interrupts off too if this machine can: to park it, or to hear where it
/// is.
pub fn interrupt_at_once(cpu: &Cpu) {
    irqchip::send_nmi(cpu.hardware_id.load(Ordering::Relaxed));
}
