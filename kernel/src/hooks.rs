//! The kernel's answers to the library's hooks, and the table of entries it can print.

use kstack::addr::Addr;
use kstack::hooks::{self, Hooks};
use kstack::verdict::Context;
use machine::arch::exceptions::{self, UserFault};
use machine::arch::regs::SavedRegs;
use machine::arch::{cpu, entries, extras, irqchip, power};
use machine::{cpus, halt, memory};
use threads::entry::{interrupts, ksoftirqd, on_return, probes, softirq_table};
use threads::report::overflow::{self, Failure};
use threads::report::symbols;
use threads::sched;

/// The table.
pub static HOOKS: Hooks = Hooks::new(|| cpus::this().spinning())
    .interrupt(interrupts::on_interrupt)
    .in_service(irqchip::in_service)
    .softirqs(softirq_table::run)
    .softirqs_again(ksoftirqd::again)
    .softirq_thread(ksoftirqd::wake)
    .preempt(sched::preempt)
    .syscall(linux::dispatch::dispatch)
    .before_user(before_user)
    .user_exception(user_exception)
    .kernel_exception(kernel_exception)
    .after_switch(sched::after_switch)
    .thread_returned(sched::exit_current)
    .nmi(interrupts::on_nmi)
    .debug(debug_exception)
    .code(symbols::code_at)
    .frame(symbols::frame_at)
    .context(context)
    .end_thread(overflow::end_thread)
    .stop(overflow::stop);

/// Right before user mode, interrupts off: does another thread deserve the CPU, is the thread to
/// die? Asked again after each answer: the thread may have lost the CPU, or been told something
/// new, while interrupts were on.
pub fn before_user(regs: &mut SavedRegs) {
    // Most often there is nothing: no frame is made for that.
    if has_work() {
        work_before_user(regs);
    }
    if on_return::wanted() != 0 {
        on_return::act();
    }
}

#[inline(always)]
fn has_work() -> bool {
    cpus::this().local.preemption_is_asked() || sched::current().has_work_before_user()
}

#[cold]
#[inline(never)]
fn work_before_user(regs: &mut SavedRegs) {
    loop {
        if cpus::this().local.preemption_is_asked() {
            sched::preempt();
        }
        if !sched::current().has_work_before_user() {
            return;
        }
        if sched::current().has_only_odd_segments() {
            // With interrupts off until user mode, what is there stays there.
            let Some(vector) = extras::fault_of_return(regs) else { return };
            cpu::interrupts_on();
            linux::on_return_fault(vector, regs);
            cpu::interrupts_off();
            continue;
        }
        cpu::interrupts_on();
        linux::before_user(regs);
        cpu::interrupts_off();
    }
}

fn user_exception(vector: u8, fault: Addr, regs: &mut SavedRegs) {
    let address = fault.get() as u64;
    match exceptions::of_user(vector, regs) {
        UserFault::Page { write, exec } => {
            cpu::interrupts_on();
            linux::on_user_fault(vector, address, regs, write, exec);
        }
        UserFault::OldCall => {
            cpu::interrupts_on();
            linux::dispatch::old_call(regs);
        }
        _ => {
            // The next exception of this CPU would put its own there.
            let is_breakpoint = sched::current().extras().keep_cause(vector, regs);
            cpu::interrupts_on();
            linux::on_user_exception(vector, address, regs, is_breakpoint);
        }
    }
}

/// A debug exception in the kernel: a test's, or a program's that a load of SS held back.
fn debug_exception(regs: &mut SavedRegs) {
    extras::forget_cause();
    probes::on_debug(regs);
}

fn kernel_exception(vector: u8, fault: Addr, regs: &mut SavedRegs) {
    if exceptions::is_breakpoint(vector) {
        probes::on_breakpoint(regs);
        return;
    }
    // In the middle of a report: what it was about matters more.
    overflow::continue_stopping(&Failure::Exception(vector, fault, regs.pc()));
    let _unreached = halt::park_others();
    overflow::print_exception(vector, fault, regs);
    power::end(power::End::Panic)
}

/// What the verdict on a fault needs to know of this CPU: what the library knows, and where this
/// kernel's half begins.
fn context() -> Context {
    Context { kernel_lowest: Addr::new(memory::LOWEST as usize), ..hooks::running_context() }
}

/// The table of entries on this machine; `i10_` tests compare it with what the CPU does.
pub fn entry_table() -> &'static [entries::EntryRow] {
    entries::TABLE
}
