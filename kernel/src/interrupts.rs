//! The kernel's side of interrupts: what each vector does.

use crate::arch::irqchip::{self, vector};
use crate::arch::regs::SavedRegs;
use crate::arch::smp;
use crate::cpus;
use crate::softirq::{self, Softirq};
use core::sync::atomic::{AtomicUsize, Ordering};

static PROBE: AtomicUsize = AtomicUsize::new(0);
static NMI_PROBE: AtomicUsize = AtomicUsize::new(0);
static CALL: AtomicUsize = AtomicUsize::new(0);
static TIMER_PROBE: AtomicUsize = AtomicUsize::new(0);

/// What the software vector runs, besides returning: for tests, benches and the console.
pub fn set_probe(function: Option<fn(&mut SavedRegs)>) {
    PROBE.store(function.map_or(0, |function| function as usize), Ordering::Release);
}

/// What an NMI runs, where there are any.
pub fn set_nmi_probe(function: Option<fn(&mut SavedRegs)>) {
    NMI_PROBE.store(function.map_or(0, |function| function as usize), Ordering::Release);
}

/// What the timer's interrupt runs, besides what it is for.
pub fn set_timer_probe(function: Option<fn(&mut SavedRegs)>) {
    TIMER_PROBE.store(function.map_or(0, |function| function as usize), Ordering::Release);
}

/// What the next [`vector::CALL`] runs on the CPU it is sent to.
pub fn set_call(function: fn(&mut SavedRegs)) {
    CALL.store(function as usize, Ordering::Release);
}

fn run_probe(probe: &AtomicUsize, regs: &mut SavedRegs) {
    let probe = probe.load(Ordering::Acquire);
    if probe != 0 {
        // SAFETY: (1) only the functions above store here, and they store functions of this type.
        let probe: fn(&mut SavedRegs) =
            unsafe { core::mem::transmute::<usize, fn(&mut SavedRegs)>(probe) };
        probe(regs);
    }
}

/// An interrupt, on the stack the library chose, interrupts off.
pub fn on_interrupt(number: u8, regs: &mut SavedRegs) {
    if number == vector::SOFTWARE {
        return run_probe(&PROBE, regs);
    }
    let cpu = cpus::this();
    match irqchip::acknowledge(number) {
        vector::SPURIOUS => return,
        vector::TIMER => {
            cpu.ticks.fetch_add(1, Ordering::Relaxed);
            if cpu.id().get() == 0 && crate::time::tick() {
                softirq::raise(Softirq::Timer);
            }
            if crate::sched::somebody_waits() {
                cpu.local.ask_for_preemption();
            }
            run_probe(&TIMER_PROBE, regs);
        }
        vector::CONSOLE => crate::console::input_arrived(),
        vector::RESCHEDULE => {
            cpu.ipis.fetch_add(1, Ordering::Relaxed);
            crate::halt::park_if_asked();
            cpu.local.ask_for_preemption();
        }
        vector::FLUSH => {
            cpu.ipis.fetch_add(1, Ordering::Relaxed);
            smp::answer_flush();
        }
        vector::CALL => {
            cpu.ipis.fetch_add(1, Ordering::Relaxed);
            run_probe(&CALL, regs);
        }
        _ => {}
    }
    irqchip::end_of_interrupt();
}

/// An NMI: sent when the machine ends, and by tests.
pub fn on_nmi(regs: &mut SavedRegs) {
    if irqchip::acknowledge_nmi() {
        crate::halt::park_if_asked();
        run_probe(&NMI_PROBE, regs);
    }
}

static DEBUG_PROBE: AtomicUsize = AtomicUsize::new(0);
static BREAKPOINT_PROBE: AtomicUsize = AtomicUsize::new(0);

/// What a debug exception in the kernel runs.
pub fn set_debug_probe(function: Option<fn(&mut SavedRegs)>) {
    DEBUG_PROBE.store(function.map_or(0, |function| function as usize), Ordering::Release);
}

/// What a breakpoint in the kernel runs.
pub fn set_breakpoint_probe(function: Option<fn(&mut SavedRegs)>) {
    BREAKPOINT_PROBE.store(function.map_or(0, |function| function as usize), Ordering::Release);
}

/// Nothing runs any more, whatever was set: what a test leaves behind must not be the next one's.
pub fn forget_probes() {
    set_probe(None);
    set_nmi_probe(None);
    set_debug_probe(None);
    set_breakpoint_probe(None);
}

/// A debug exception in the kernel: tests set hardware breakpoints; nothing else does.
pub fn on_debug(regs: &mut SavedRegs) {
    run_probe(&DEBUG_PROBE, regs);
}

/// A breakpoint instruction in the kernel.
pub fn on_breakpoint(regs: &mut SavedRegs) {
    run_probe(&BREAKPOINT_PROBE, regs);
}
