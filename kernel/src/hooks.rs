//! The kernel's answers to the library's hooks, and the table of entries it can print.

use crate::arch::regs::SavedRegs;
use crate::arch::{cpu, power};
use crate::{cpus, interrupts, overflow, process, sched, softirq};
use kstack::hooks::Hooks;
use kstack_core::addr::Addr;
use kstack_core::verdict::Context;

/// The table.
pub static HOOKS: Hooks = Hooks {
    interrupt: interrupts::on_interrupt,
    softirqs: softirq::run,
    preempt: sched::preempt,
    syscall: process::syscall::dispatch,
    before_user,
    user_exception,
    kernel_exception,
    after_switch: sched::after_switch,
    nmi: interrupts::on_nmi,
    debug: interrupts::on_debug,
    context,
    end_thread: overflow::end_thread,
    stop: overflow::stop,
};

/// Right before user mode, interrupts off: does somebody else deserve the CPU, is the thread to die?
fn before_user(regs: &mut SavedRegs) {
    let cpu = cpus::this();
    if cpu.need_resched.load(core::sync::atomic::Ordering::Relaxed) != 0 {
        sched::preempt();
    }
    if sched::current().killed() {
        cpu::interrupts_on();
        process::die_if_killed(regs);
        cpu::interrupts_off();
    }
}

const BREAKPOINT: u8 = 3;
const PAGE_FAULT: u8 = 14;

/// What a program did wrong, as a signal's number (Linux).
const fn signal_of(vector: u8) -> i32 {
    const SIGILL: i32 = 4;
    const SIGTRAP: i32 = 5;
    const SIGBUS: i32 = 7;
    const SIGFPE: i32 = 8;
    const SIGSEGV: i32 = 11;
    match vector {
        0 | 16 | 19 => SIGFPE,
        1 | 3 => SIGTRAP,
        6 => SIGILL,
        11 | 12 | 17 => SIGBUS,
        _ => SIGSEGV,
    }
}

fn user_exception(vector: u8, fault: Addr, regs: &mut SavedRegs) {
    cpu::interrupts_on();
    if vector == PAGE_FAULT {
        let error = regs.orig_rax;
        let (present, write, exec) = (error & 1 != 0, error & 2 != 0, error & 16 != 0);
        process::fault::on_user_fault(regs, fault.get() as u64, write, exec, present);
    } else {
        process::fault::on_user_exception(regs, signal_of(vector));
    }
}

fn kernel_exception(vector: u8, fault: Addr, regs: &mut SavedRegs) {
    if vector == BREAKPOINT {
        interrupts::on_breakpoint(regs);
        return;
    }
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
        in_nmi: crate::cpu_stacks::nmi_words(cpus::this()).is_active(),
    }
}

/// One kind of entry: where it lands, and how the CPU or the entry code finds that place.
#[derive(Debug)]
pub struct EntryRow {
    /// What arrives.
    pub entry: &'static str,
    /// The stack it runs on.
    pub lands_on: &'static str,
    /// How that stack is found.
    pub found_through: &'static str,
}

/// The table of entries on this machine; `i10_` tests compare it with what the CPU does.
pub fn entry_table() -> &'static [EntryRow] {
    &[
        EntryRow {
            entry: "syscall",
            lands_on: "thread",
            found_through: "CpuLocal.thread_top, loaded by the entry code",
        },
        EntryRow {
            entry: "interrupt from user",
            lands_on: "thread, and stays",
            found_through: "TSS rsp0",
        },
        EntryRow {
            entry: "interrupt from kernel",
            lands_on: "current, then irq",
            found_through: "no change by the CPU; CpuLocal.irq_top",
        },
        EntryRow {
            entry: "softirq after interrupt",
            lands_on: "where the interrupt ran",
            found_through: "no change",
        },
        EntryRow {
            entry: "softirq from thread",
            lands_on: "irq",
            found_through: "CpuLocal.irq_top",
        },
        EntryRow { entry: "exception from user", lands_on: "thread", found_through: "TSS rsp0" },
        EntryRow {
            entry: "exception from kernel",
            lands_on: "current",
            found_through: "no change",
        },
        EntryRow { entry: "double fault", lands_on: "double-fault", found_through: "TSS ist1" },
        EntryRow {
            entry: "NMI from kernel",
            lands_on: "nmi, then nmi-body",
            found_through: "TSS ist2; word above its frame",
        },
        EntryRow {
            entry: "NMI from user",
            lands_on: "nmi, then thread",
            found_through: "TSS ist2; CpuLocal.thread_top",
        },
        EntryRow { entry: "debug from kernel", lands_on: "debug", found_through: "TSS ist3" },
        EntryRow { entry: "machine check", lands_on: "machine-check", found_through: "TSS ist4" },
    ]
}
