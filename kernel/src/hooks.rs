//! The kernel's answers to the library's hooks, and the table of entries it can print.

use crate::entry::{interrupts, probes, softirq};
use crate::report::{overflow, symbols};
use crate::{process, sched};
use kstack::hooks::Hooks;
use kstack_core::addr::Addr;
use kstack_core::verdict::Context;
use machine::arch::exceptions::{self, UserFault};
use machine::arch::regs::SavedRegs;
use machine::arch::{cpu, cpu_tables, entries, irqchip, power};
use machine::{cpus, halt, memory};

/// The table.
pub static HOOKS: Hooks = Hooks {
    interrupt: interrupts::on_interrupt,
    in_service: irqchip::in_service,
    softirqs: softirq::run,
    preempt: sched::preempt,
    syscall: process::syscall::dispatch,
    before_user,
    user_exception,
    kernel_exception,
    after_switch: sched::after_switch,
    nmi: interrupts::on_nmi,
    debug: probes::on_debug,
    code: symbols::code_at,
    context,
    end_thread: overflow::end_thread,
    stop: overflow::stop,
};

/// Right before user mode, interrupts off: does somebody else deserve the CPU, is the thread to die?
fn before_user(regs: &mut SavedRegs) {
    let cpu = cpus::this();
    if cpu.local.preemption_is_asked() {
        sched::preempt();
    }
    if sched::current().killed() {
        cpu::interrupts_on();
        process::die_if_killed(regs);
        cpu::interrupts_off();
    }
}

fn user_exception(vector: u8, fault: Addr, regs: &mut SavedRegs) {
    cpu::interrupts_on();
    match exceptions::of_user(vector, regs) {
        UserFault::Page { write, exec } => {
            process::fault::on_user_fault(fault.get() as u64, write, exec);
        }
        other => process::fault::on_user_exception(other),
    }
}

fn kernel_exception(vector: u8, fault: Addr, regs: &mut SavedRegs) {
    if exceptions::is_breakpoint(vector) {
        probes::on_breakpoint(regs);
        return;
    }
    let _unreached = halt::park_others();
    overflow::print_exception(vector, fault, regs);
    power::end(power::End::Panic)
}

/// What the verdict on a fault needs to know of this CPU.
fn context() -> Context {
    let cpu = cpus::this();
    let irq = cpu.local.irq.snapshot();
    let idle = cpu.idle.load(core::sync::atomic::Ordering::Relaxed);
    let thread = sched::current();
    Context {
        // The idle thread cannot be ended.
        thread: if core::ptr::from_ref(thread) as usize == idle { 0 } else { thread.id() },
        spinning_locks: cpu.spinning(),
        in_interrupt: irq.hardirq_depth() > 0,
        in_softirq: irq.in_softirq(),
        in_nmi: cpu_tables::in_nmi(cpu),
        bottom_halves_disabled: irq.bottom_halves_are_disabled(),
        // The library knows it of the fault itself.
        interrupts_off: false,
        kernel_lowest: Addr::new(memory::LOWEST as usize),
    }
}

/// The table of entries on this machine; `i10_` tests compare it with what the CPU does.
pub fn entry_table() -> &'static [entries::EntryRow] {
    entries::TABLE
}
