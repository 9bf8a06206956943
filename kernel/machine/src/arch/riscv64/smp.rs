//! More than one CPU: finding them, starting them, and making them flush.

use super::board::MACHINE;
use super::irqchip::{self, vector};
use super::{boot, cpu, paging, sbi};
use crate::arch::any::flush;
pub use crate::arch::any::flush::answer_flush;
pub use crate::arch::any::flushes::flushes;
use crate::cpus::{self, Cpu};
use core::sync::atomic::Ordering;

/// The harts that can be used, as the device tree has them.
pub fn find_cpus(found: impl FnMut(u32)) {
    MACHINE.harts().for_each(found);
}

/// Starts the CPU with this number on `stack_top`, and waits until it is up. Returns whether it
/// came.
pub fn start_cpu(cpu: &'static Cpu, stack_top: u64) -> bool {
    /// Looks at whether it is up, a millisecond between two.
    const MAX_LOOKS: u32 = 2000;
    let hart = cpu.hardware_id.load(Ordering::Relaxed) as usize;
    let satp = cpu::satp_of(paging::kernel_root());
    boot::prepare_secondary(cpu.id().index(), hart, satp, stack_top);
    if sbi::start_hart(hart, boot::secondary_start(), cpu.id().get().into()).is_err() {
        return false;
    }
    for _ in 0..MAX_LOOKS {
        if cpus::online().any(|up| up.id() == cpu.id()) {
            break;
        }
        irqchip::wait_milliseconds(1);
    }
    cpus::online().any(|up| up.id() == cpu.id())
}

/// Makes every other CPU drop its translations, global ones too, and waits until all have.
pub fn flush_others() {
    flush::flush_others(cpu::relax);
}

/// Tells a CPU to look at the run queue.
pub fn kick(cpu: &Cpu) {
    irqchip::send_interrupt(cpu.hardware_id.load(Ordering::Relaxed), vector::RESCHEDULE);
}

/// Interrupts a CPU, with interrupts off too if this machine can: to park it, or to hear where it
/// is.
pub fn interrupt_at_once(cpu: &Cpu) {
    kick(cpu);
}
