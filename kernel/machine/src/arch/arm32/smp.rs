//! More than one CPU: finding them, starting them, and making them flush.

pub use super::flush::flush_others;
use super::irqchip::{self, vector};
use super::{board, boot, cpu, paging, psci};
pub use crate::arch::any::flushes::flushes;
use crate::cpus::{self, Cpu};
use core::sync::atomic::Ordering;
use kstack::arch::current::regs::FREE_AT_TOP;

/// The affinities of the CPUs.
pub fn find_cpus(found: impl FnMut(u32)) {
    board::CPUS.each().for_each(found);
}

/// Starts a CPU on `stack_top`, and waits until it is up. Returns whether it came.
pub fn start_cpu(cpu: &'static Cpu, stack_top: u64) -> bool {
    let hardware_id = cpu.hardware_id.load(Ordering::Relaxed);
    let (tables, user) = (paging::kernel_half(), paging::kernel_root());
    let stack_top = stack_top - FREE_AT_TOP.get() as u64;
    let entry = boot::prepare_secondary(tables, user, cpu.id().index(), stack_top);
    if !psci::start_cpu(hardware_id, entry as u32, cpu.id().get()) {
        return false;
    }
    const TWO_SECONDS: u64 = 2 * 62_500_000;
    let began = cpu::time();
    while cpu::time() - began < TWO_SECONDS {
        if cpus::online().any(|up| up.id() == cpu.id()) {
            return true;
        }
        core::hint::spin_loop();
    }
    false
}

/// Carries out a flush that another CPU waits for: on this machine none ever does.
#[inline(always)]
pub fn answer_flush() {}

/// Tells a CPU to look at the run queue.
pub fn kick(cpu: &Cpu) {
    irqchip::send_interrupt(cpu.hardware_id.load(Ordering::Relaxed), vector::RESCHEDULE);
}

/// Interrupts a CPU, with interrupts off too if this machine can: to park it, or to hear where it
/// is.
pub fn interrupt_at_once(cpu: &Cpu) {
    // Where the controller has no groups there is no FIQ.
    irqchip::send_nmi(cpu.hardware_id.load(Ordering::Relaxed));
    kick(cpu);
}
