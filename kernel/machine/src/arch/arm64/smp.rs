//! More than one CPU: finding them, starting them, and flushes.

use super::irqchip::{self, vector};
use super::{board, boot, cpu, paging, psci};
use crate::arch::any::flushes;
pub use crate::arch::any::flushes::flushes;
use crate::cpus::{self, Cpu};
use core::sync::atomic::Ordering;

/// The affinities of the CPUs.
pub fn find_cpus(found: impl FnMut(u32)) {
    board::CPUS.each().for_each(found);
}

/// Starts the CPU with this number and affinity on `stack_top`, and waits until it is up. Returns
/// whether it came.
pub fn start_cpu(cpu: &'static Cpu, stack_top: u64) -> bool {
    /// How long one may take.
    const SECONDS: u64 = 2;
    let (tables, user) = (paging::kernel_half(), paging::kernel_root());
    let number = cpu.id().get();
    let entry = boot::prepare_secondary(tables, user, cpu.id().index(), stack_top);
    if !psci::start_cpu(cpu.hardware_id.load(Ordering::Relaxed).into(), entry, number.into()) {
        return false;
    }
    let (began, frequency) = cpu::time();
    while cpu::time().0 - began < SECONDS * frequency {
        if cpus::online().any(|up| up.id() == cpu.id()) {
            return true;
        }
        if paging::is_asked_to_make_all_writable() {
            paging::make_all_writable();
            log!("CPU {number} keeps no dirty bits: all stacks count as dirty from now on");
        }
        core::hint::spin_loop();
    }
    false
}

/// Makes every CPU drop its translations: one instruction, which is over when all have.
pub fn flush_others() {
    flushes::count();
    cpu::flush_all();
}

/// Carries out a flush that another CPU waits for: on this machine none ever does.
#[inline]
pub fn answer_flush() {}

/// Tells a CPU to look at the run queue.
pub fn kick(cpu: &Cpu) {
    irqchip::send_interrupt(cpu.hardware_id.load(Ordering::Relaxed), vector::RESCHEDULE);
}

/// Interrupts a CPU, with interrupts off too if this machine can: to park it, or to hear where it
/// is.
pub fn interrupt_at_once(cpu: &Cpu) {
    kick(cpu);
}
