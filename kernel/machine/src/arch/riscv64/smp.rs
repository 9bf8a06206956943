//! More than one CPU: finding them, starting them, and making them flush.

use super::boot::{self, MACHINE};
use super::irqchip::{self, vector};
use super::{cpu, paging, sbi};
use crate::arch::any::start::kernel_secondary;
use crate::cpus::{self, Cpu};
use core::sync::atomic::{AtomicU64, Ordering};

/// The harts that can be used, as the device tree has them.
pub fn find_cpus(found: impl FnMut(u32)) {
    MACHINE.harts().for_each(found);
}

/// Starts the CPU with this number on `stack_top`, and waits until it is up. Says whether it came.
pub fn start_cpu(cpu: &'static Cpu, stack_top: u64) -> bool {
    /// Looks at whether it is up, a millisecond between two.
    const MOST_LOOKS: u32 = 2000;
    let hart = cpu.hardware_id.load(Ordering::Relaxed) as usize;
    let satp = cpu::satp_of(paging::kernel_root());
    boot::prepare_secondary(cpu.id().index(), hart, satp, stack_top);
    if sbi::start_hart(hart, boot::secondary_start(), cpu.id().get().into()).is_err() {
        return false;
    }
    for _ in 0..MOST_LOOKS {
        if cpus::online().any(|up| up.id() == cpu.id()) {
            break;
        }
        irqchip::wait_milliseconds(1);
    }
    cpus::online().any(|up| up.id() == cpu.id())
}

/// Where the other CPUs enter Rust, on their idle stacks.
pub extern "C" fn secondary_main(number: u64) -> ! {
    // SAFETY: (1) a static, this CPU's own; (2) interrupts are off.
    unsafe { cpus::by_number(number as usize).local.load() };
    if !paging::this_cpu_will_do() {
        log!(
            "CPU {number} stays off: it leaves dirty bits to software, and the first CPU does not"
        );
        cpu::halt();
    }
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
            cpu::relax();
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
    kick(cpu);
}
