//! More than one CPU: starting them, and making them flush.

pub use super::acpi::{find_cpus, find_cpus_from};
use super::irqchip::{self, vector};
use super::{ports, start_page};
use crate::arch::any::start::kernel_secondary;
use crate::arch::{boot, cpu, paging};
use crate::cpus::{self, Cpu};
use crate::memory::direct;
use core::sync::atomic::{AtomicU64, Ordering};

/// Starts the CPU with this number and APIC number on `stack_top`, and waits until it is up. Says whether it came.
pub fn start_cpu(cpu: &'static Cpu, stack_top: u64) -> bool {
    let hardware_id = cpu.hardware_id.load(Ordering::Relaxed);
    let code = start_page::code();
    // SAFETY: (1) the page below 1 MiB is reserved for this; (2) one CPU starts at a time.
    unsafe {
        core::ptr::copy_nonoverlapping(code.as_ptr(), direct(start_page::START_PAGE), code.len())
    };
    boot::prepare_secondary(paging::kernel_root(), hardware_id, cpu.id().index(), stack_top);
    irqchip::send_init(hardware_id);
    wait_microseconds(10_000);
    irqchip::send_startup(hardware_id, start_page::START_PAGE);
    for attempt in 0..200 {
        if cpus::online().any(|up| up.id() == cpu.id()) {
            return true;
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

/// Where the other CPUs enter Rust, on their idle stacks.
pub extern "C" fn secondary_main(number: u64) -> ! {
    kernel_secondary(number as usize)
}

static FLUSHES: AtomicU64 = AtomicU64::new(0);

/// How often all other CPUs had to flush so far.
pub fn flushes() -> u64 {
    FLUSHES.load(Ordering::Relaxed)
}

/// Makes every other CPU drop its translations, global ones too, and waits until all have.
///
/// May be called with interrupts off: whoever spins here or on a lock answers meanwhile.
pub fn flush_others() {
    // Off in any case: the wait below must answer for the CPU it began on.
    cpu::without_interrupts(flush_others_and_wait);
}

fn flush_others_and_wait() {
    let wanted = FLUSHES.fetch_add(1, Ordering::SeqCst) + 1;
    let me = cpus::this().id();
    // Those that are up now. One that comes up later drops everything after it has said so, or sees `wanted` (`start::secondary`).
    let others = cpus::online().filter(|cpu| cpu.id() != me);
    for cpu in others.clone() {
        irqchip::send_interrupt(cpu.hardware_id.load(Ordering::Relaxed), vector::FLUSH);
    }
    for cpu in others {
        while cpu.flushed.load(Ordering::SeqCst) < wanted {
            answer_flush();
            core::hint::spin_loop();
        }
    }
}

/// Carries out a flush that somebody waits for. Interrupts are off.
#[inline]
pub fn answer_flush() {
    let wanted = FLUSHES.load(Ordering::SeqCst);
    let flushed = &cpus::this().flushed;
    if flushed.load(Ordering::Relaxed) < wanted {
        cpu::flush_all();
        flushed.store(wanted, Ordering::SeqCst);
    }
}

/// Tells a CPU to look at the run queue.
pub fn kick(cpu: &Cpu) {
    irqchip::send_interrupt(cpu.hardware_id.load(Ordering::Relaxed), vector::RESCHEDULE);
}

/// Makes a CPU look whether it is to park, with interrupts off too if this machine can.
pub fn interrupt_to_park(cpu: &Cpu) {
    irqchip::send_nmi(cpu.hardware_id.load(Ordering::Relaxed));
}
