//! The kernel's side of interrupts: a table of what each vector runs.
//!
//! What every kernel needs of interrupts is in the table from the start. What stands above the
//! threads, a terminal for one, adds itself with [`set_handler`] before its interrupt is let
//! through.

use super::probes;
use super::softirq::{self, Softirq};
use crate::report::running;
use crate::{clock, sched, time};
use core::sync::atomic::Ordering;
use machine::arch::irqchip::{self, vector};
use machine::arch::regs::SavedRegs;
use machine::arch::smp;
use machine::cpus;
use machine::fn_cell::FnCell;
use machine::halt;

/// What a vector runs: on the stack the library chose, interrupts off, before the end of interrupt
/// is told.
pub type Handler = fn(&mut SavedRegs);

static HANDLERS: [FnCell<Handler>; 256] = [const { FnCell::new() }; 256];

/// Sets what a vector runs. The kernel's own are set by [`set_up`].
pub fn set_handler(number: u8, handler: Handler) {
    HANDLERS[usize::from(number)].set(Some(handler));
}

/// What a vector runs.
pub fn handler(number: u8) -> Option<Handler> {
    HANDLERS[usize::from(number)].get()
}

/// Enters the timer and what CPUs send each other. Once, at boot, before the first interrupt.
pub fn set_up() {
    set_handler(vector::TIMER, timer);
    set_handler(vector::RESCHEDULE, reschedule);
    set_handler(vector::FLUSH, flush);
    set_handler(vector::CALL, call);
}

/// An interrupt, on the stack the library chose, interrupts off.
pub fn on_interrupt(number: u8, regs: &mut SavedRegs) {
    if number == vector::SOFTWARE {
        return probes::run(&probes::SOFTWARE, regs);
    }
    from_controller(number, regs);
}

/// Of a function of its own, so that neither kind tests or saves anything for the other.
#[inline(never)]
fn from_controller(number: u8, regs: &mut SavedRegs) {
    let number = irqchip::acknowledge(number);
    if number == vector::SPURIOUS {
        return;
    }
    if let Some(handle) = HANDLERS[usize::from(number)].get() {
        handle(regs);
    }
    irqchip::end_of_interrupt();
}

fn timer(regs: &mut SavedRegs) {
    let cpu = cpus::this();
    let is_tick = time::is_tick();
    if is_tick {
        cpu.ticks.fetch_add(1, Ordering::Relaxed);
        sched::current().cpu_time().count_tick(regs.from_user());
        sched::tick(cpu, regs.from_user());
        sched::count_ranked_tick(cpu);
        // SAFETY: (1) this CPU's block, in its interrupt's handler.
        unsafe { cpu.local.check_ends() };
    }
    if is_tick && cpu.id().get() == 0 {
        clock::advance();
    }
    if time::is_due() {
        softirq::raise(Softirq::Timer);
    }
    if sched::has_waiting() || !sched::is_allowed_here() {
        cpu.local.ask_for_preemption();
    }
    probes::run(&probes::TIMER, regs);
}

fn reschedule(regs: &mut SavedRegs) {
    let cpu = cpus::this();
    cpu.ipis.fetch_add(1, Ordering::Relaxed);
    halt::park_if_asked();
    running::answer_if_asked(regs);
    cpu.local.ask_for_preemption();
}

fn flush(_: &mut SavedRegs) {
    cpus::this().ipis.fetch_add(1, Ordering::Relaxed);
    smp::answer_flush();
    sched::current().catch_up();
}

fn call(regs: &mut SavedRegs) {
    cpus::this().ipis.fetch_add(1, Ordering::Relaxed);
    probes::run(&probes::CALL, regs);
}

/// An NMI: sent when the machine ends, to ask where a thread is, and by tests.
pub fn on_nmi(regs: &mut SavedRegs) {
    if irqchip::acknowledge_nmi() {
        halt::park_if_asked();
        running::answer_if_asked(regs);
        probes::run(&probes::NMI, regs);
    }
}
