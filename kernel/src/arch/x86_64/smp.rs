//! More than one CPU: finding them, starting them, and making them flush.

use super::irqchip::{self, vector};
use super::{boot, cpu, paging};
use crate::cpus::{self, Cpu};
use crate::memory::direct;
use core::sync::atomic::{AtomicU64, Ordering};

/// The ACPI root pointer, physical; 0: the boot loader gave none.
static ACPI_ROOT: AtomicU64 = AtomicU64::new(0);

/// Remembers where the ACPI tables start.
pub fn set_acpi_root(rsdp: u64) {
    ACPI_ROOT.store(rsdp, Ordering::Relaxed);
}

/// The local APIC numbers of the usable CPUs, from the ACPI MADT. Physical addresses; the direct map is active.
pub fn find_cpus(mut found: impl FnMut(u32)) {
    let rsdp = ACPI_ROOT.load(Ordering::Relaxed);
    // ACPI 6.5, 5.2.5.3, 5.2.7 and 5.2.12. Firmware tables are taken as they are, lengths are checked.
    let word = |at: u64| -> u32 {
        // SAFETY: (1) firmware tables lie in memory that the direct map covers.
        unsafe { direct::<u32>(at).read_unaligned() }
    };
    let byte = |at: u64| -> u8 {
        // SAFETY: (1) as above.
        unsafe { direct::<u8>(at).read() }
    };
    if rsdp == 0 || word(rsdp) != u32::from_le_bytes(*b"RSD ") {
        return;
    }
    let rsdt = u64::from(word(rsdp + 16));
    for entry in (36..u64::from(word(rsdt + 4))).step_by(4) {
        let table = u64::from(word(rsdt + entry));
        if word(table) != u32::from_le_bytes(*b"APIC") {
            continue;
        }
        let top = table + u64::from(word(table + 4));
        let mut at = table + 44;
        while at + 2 <= top {
            let length = u64::from(byte(at + 1));
            // Type 0: a local APIC; flags bit 0: enabled.
            if byte(at) == 0 && length >= 8 && word(at + 4) & 1 != 0 {
                found(u32::from(byte(at + 3)));
            }
            if length < 2 {
                break;
            }
            at += length;
        }
    }
}

/// Starts the CPU with this number and APIC number on `stack_top`, and waits until it is up. Says whether it came.
pub fn start_cpu(cpu: &'static Cpu, stack_top: u64) -> bool {
    let hardware_id = cpu.hardware_id.load(Ordering::Relaxed);
    let code = boot::start_cpu_code();
    // SAFETY: (1) the page below 1 MiB is reserved for this; (2) one CPU starts at a time.
    unsafe { core::ptr::copy_nonoverlapping(code.as_ptr(), direct(boot::START_PAGE), code.len()) };
    boot::prepare_secondary(paging::kernel_root(), stack_top, cpu.id().get().into());
    irqchip::send_init(hardware_id);
    wait_microseconds(10_000);
    irqchip::send_startup(hardware_id, boot::START_PAGE);
    for attempt in 0..200 {
        if cpus::online().any(|up| up.id() == cpu.id()) {
            return true;
        }
        if attempt == 100 {
            // The manual asks for a second one if the first was not heard.
            irqchip::send_startup(hardware_id, boot::START_PAGE);
        }
        wait_microseconds(10_000);
    }
    false
}

fn wait_microseconds(microseconds: u32) {
    for _ in 0..microseconds {
        // SAFETY: (1) port 0x80 is for diagnostics; an access takes about a microsecond.
        unsafe { cpu::out8(0x80, 0) };
    }
}

/// Where the other CPUs enter Rust, on their idle stacks.
pub extern "C" fn secondary_main(number: u64) -> ! {
    crate::start::secondary(number as usize)
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
    for cpu in cpus::online().filter(|cpu| cpu.id() != me) {
        irqchip::send_interrupt(cpu.hardware_id.load(Ordering::Relaxed), vector::FLUSH);
    }
    for cpu in cpus::online().filter(|cpu| cpu.id() != me) {
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
