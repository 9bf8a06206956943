//! Interrupts, softirqs, exceptions and system calls: where they stand.

use super::answer::{Answer, irq_stack_with, name_of, own_stack};
use crate::hooks;
use crate::tests::interrupts::{self, Stand, breakpoint_here, interrupt_and_its_softirq, stand};
use crate::tests::support::{on_every_cpu, stack_at, stack_for_user_entries, stack_of_cpu, until};
use crate::tests::user_mode::{
    STACK_TOP, STEPS_SEEN, Seen, interrupt_of_user_mode, overflow_of_a_thread, system_calls,
};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use kstack::addr::PAGE_BYTES;
use kstack::kind::StackKind;
use kstack::stacks::StackId;
use kstack::unwind::{Backtrace, Step};
use machine::arch::irqchip::{self, software_interrupt, vector};
use machine::arch::regs::SavedRegs;
use machine::arch::{cpu, serial};
use machine::cpus;
use machine::spin::SpinLock;
use threads::entry::softirq::{self, Softirq};
use threads::entry::{interrupts as vectors, ksoftirqd, probes};
use threads::report::backtrace::{self as report, STEPS};
use threads::report::overflow;
use threads::sched;

/// What the table of entries says of one.
fn table(entry: &str) -> Result<(&'static str, &'static str), String> {
    let row = hooks::entry_table().iter().find(|row| row.entry == entry);
    let row = row.ok_or_else(|| format!("no row of the table of entries: {entry}"))?;
    Ok((row.lands_on, row.found_through))
}

/// The stack that something stood on.
fn known(stack: Option<StackId>) -> Result<StackId, String> {
    stack.ok_or_else(|| "a handler stood on no stack that is known".into())
}

/// The stack of the few instructions that run in user mode for an experiment.
fn show_program(answer: &mut Answer) {
    let top = STACK_TOP as usize;
    answer.memory("the program's stack (a page)", top - PAGE_BYTES, top);
}

pub(super) fn irq_from_user(answer: &mut Answer) -> Result<(), String> {
    let [handler, softirq] = interrupt_of_user_mode()?;
    let (lands_on, found) = table("interrupt from user")?;
    let thread = known(handler.stack)?;
    let irq = irq_stack_with(handler.irq_top)?;
    show_program(answer);
    answer.stack(&thread);
    answer.stack(&irq);
    let user_sp = handler.regs.sp().get();
    answer.step(user_sp, "SP of the program, when the interrupt came");
    answer.step(handler.frame, "the program's registers, saved by the entry");
    answer.step(handler.sp, "SP in the interrupt's handler");
    answer.step(softirq.sp, "SP in its softirq, on the way out");
    let on = [stack_of(user_sp, &thread), stack_of(handler.frame, &thread)];
    let on = [on[0], on[1], stack_of(handler.sp, &thread)];
    let changes = on.windows(2).filter(|pair| pair[0] != pair[1]).count();
    answer.fact("changes of stack from the program to the handler", changes);
    answer.fact("the IRQ stack is marked as in use", handler.irq_stack_in_use);
    answer.fact("the table of entries says", format!("{lands_on}; {found}"));
    answer.must(changes == 1, format!("{changes} changes of stack, not one"));
    answer.must(thread.kind == StackKind::Thread, format!("the handler stood on {thread:?}"));
    answer.must(!handler.irq_stack_in_use, "the IRQ stack is in use");
    answer.must(lands_on == "thread, and stays", "the table of entries says something else");
    answer.answer(format!(
        "no: {changes} change of stack, to the {}, found through {found}. The IRQ stack is not used.",
        name_of(&thread)
    ));
    Ok(())
}

/// Whether an address is on the thread's stack (1) or elsewhere (0), or on another one (2).
fn stack_of(at: usize, thread: &StackId) -> u32 {
    match stack_at(at) {
        _ if thread.range.contains(kstack::addr::Addr::new(at)) => 1,
        None => 0,
        Some(_) => 2,
    }
}

/// What each CPU told.
struct Told {
    block: usize,
    irq_top: usize,
    handler: usize,
    thread_top: usize,
    for_user: Option<(&'static str, usize)>,
    stack: Option<StackId>,
}

static TOLD: SpinLock<Vec<Told>> = SpinLock::new(Vec::new());

fn show_irq_stacks(answer: &mut Answer, told: &[Told]) -> Result<(), String> {
    for (cpu, one) in cpus::online().zip(told) {
        let id = cpu.id();
        let stack = stack_of_cpu(StackKind::Irq, cpu)?;
        answer.stack(&stack);
        answer.mark(one.irq_top, &format!("irq_top, in the block of CPU {id}"));
        answer.mark(one.handler, &format!("SP in a handler on CPU {id}"));
        answer.fact(
            &format!("CPU {id}"),
            format!(
                "its block is at {:#x}; there irq_top is {:#x}, and thread_top {:#x}",
                one.block, one.irq_top, one.thread_top
            ),
        );
        if let Some((register, top)) = one.for_user {
            answer.fact(&format!("CPU {id}: {register}"), format!("{top:#x}"));
            let on = stack_at(top.wrapping_sub(1));
            answer.must(
                on.is_none_or(|stack| stack.kind != StackKind::Irq),
                format!("{register} leads to {on:?}"),
            );
        }
        answer.must(stack.range.top.get() == one.irq_top, "the block has another top");
        answer.must(
            one.stack.is_some_and(|on| on.range == stack.range),
            format!("the handler stood on {:?}, not on {stack:?}", one.stack),
        );
    }
    Ok(())
}

pub(super) fn irq_stack(answer: &mut Answer) -> Result<(), String> {
    let room = Vec::with_capacity(cpus::online_count() as usize);
    *TOLD.lock() = room;
    on_every_cpu(|_| {
        let local = &cpus::this().local;
        let sp = cpu::stack_pointer();
        TOLD.lock().push(Told {
            block: core::ptr::from_ref(local) as usize,
            irq_top: local.irq_top().get(),
            handler: sp,
            thread_top: local.thread_top().get(),
            for_user: stack_for_user_entries(),
            stack: stack_at(sp),
        });
        Ok(())
    })?;
    let told = core::mem::take(&mut *TOLD.lock());
    show_irq_stacks(answer, &told)?;
    let (lands_on, found) = table("interrupt from kernel")?;
    answer.fact("the table of entries says", format!("{lands_on}; {found}"));
    answer.must(told.len() == cpus::online_count() as usize, "a CPU told nothing");
    let by = told.first().and_then(|one| one.for_user);
    answer.answer(format!(
        "the entry code reads it from the CPU's own block ({}). {}",
        found.rsplit("; ").next().unwrap_or_default(),
        match by {
            Some((register, _)) =>
                format!("{register} is the stack for entries from user mode and no IRQ stack."),
            None => "No register leads to it.".into(),
        }
    ));
    Ok(())
}

/// The first softirq that ran in the thread for them.
static IN_THREAD: SpinLock<Option<Stand>> = SpinLock::new(None);
static ROUNDS: AtomicU32 = AtomicU32::new(0);

/// Raises itself until it has run in the thread.
fn without_end() {
    ROUNDS.fetch_add(1, Ordering::Relaxed);
    let is_in_thread = sched::current().name().starts_with("ksoftirqd/");
    if is_in_thread && IN_THREAD.lock().is_none() {
        stand(0);
        *IN_THREAD.lock() = interrupts::last_stand();
    } else if IN_THREAD.lock().is_none() {
        cpu::without_interrupts(|| softirq::raise(Softirq::Probe));
    }
}

pub(super) fn softirqs(answer: &mut Answer) -> Result<(), String> {
    let forced = ksoftirqd::is_forced();
    if forced {
        answer.say("This machine was started with `threadirqs`: every softirq runs in a thread.");
    } else {
        let [handler, after] = interrupt_and_its_softirq()?;
        let bottom_half = interrupts::softirq_of_a_thread()?;
        let [_, from_user] = interrupt_of_user_mode()?;
        let (in_kernel, in_thread) = (known(after.stack)?, known(bottom_half.stack)?);
        let of_user = known(from_user.stack)?;
        [known(handler.stack)?, in_kernel, in_thread, of_user].iter().for_each(|s| answer.stack(s));
        answer.mark(handler.sp, "a handler of an interrupt from the kernel");
        answer.mark(after.sp, "light load: the softirq that it raised, on the way out");
        answer.mark(bottom_half.sp, "light load: one that a thread raised, bottom halves enabled");
        answer.mark(from_user.sp, "light load: one that an interrupt from user mode raised");
        let (own, _) = table("softirq from thread")?;
        let is_own = |stack: &StackId| stack.kind.name() == own;
        answer.must(is_own(&in_thread), format!("a thread's ran on {in_thread:?}"));
        answer.must(is_own(&in_kernel), format!("the kernel's ran on {in_kernel:?}"));
        let wanted = if own == "irq" { "thread" } else { own };
        answer.must(of_user.kind.name() == wanted, format!("user mode's ran on {of_user:?}"));
    }
    *IN_THREAD.lock() = None;
    ROUNDS.store(0, Ordering::Relaxed);
    let stands = interrupts::stands_of(|| {
        softirq::set_probe(without_end);
        probes::set_probe(Some(|_| softirq::raise(Softirq::Probe)));
        software_interrupt();
        probes::set_probe(None);
        // It raises itself until then: no other condition is there to wait for.
        let _told_below = until("a softirq has run in its thread", || IN_THREAD.lock().is_some());
    });
    drop(stands);
    let heavy = IN_THREAD.lock().take().ok_or("no softirq ran in a thread")?;
    let rounds = ROUNDS.load(Ordering::Relaxed);
    let stack = known(heavy.stack)?;
    answer.stack(&stack);
    answer.mark(heavy.sp, &format!("heavy load: in ksoftirqd/{}, in round {rounds}", heavy.cpu));
    answer.must(stack.kind == StackKind::Thread, format!("ksoftirqd ran on {stack:?}"));
    answer.must(stack.owner == heavy.thread, "the stack is another thread's");
    answer.must(forced || rounds > 1, "the first round was left to the thread");
    answer.answer(format!(
        "light load: on the {} stack, or, where an interrupt came from user mode, where that stood; \
         after {} rounds in a row, in ksoftirqd, on its own thread stack.",
        table("softirq from thread")?.0,
        rounds.saturating_sub(1)
    ));
    Ok(())
}

static OF_KERNEL: SpinLock<Option<Backtrace<STEPS>>> = SpinLock::new(None);

/// Prints a backtrace; how many seams and boundaries of user mode it has.
fn show_backtrace(answer: &mut Answer, title: &str, steps: &Backtrace<STEPS>) -> (usize, usize) {
    let mut text = String::new();
    // A string takes everything.
    let _never_fails = report::write_steps(steps, &mut text);
    answer.say(title);
    answer.say(&text);
    let count = |is: fn(&Step) -> bool| steps.steps().iter().filter(|(step, _)| is(step)).count();
    answer.must(steps.is_reliable(), format!("it is not reliable: {:?}", steps.end()));
    for (step, _) in steps.steps() {
        if let Step::Seam { to, .. } = step {
            answer.stack(to);
        }
    }
    (
        count(|step| matches!(step, Step::Seam { .. })),
        count(|step| matches!(step, Step::UserBoundary(_))),
    )
}

pub(super) fn backtrace(answer: &mut Answer) -> Result<(), String> {
    probes::set_probe(Some(|_| *OF_KERNEL.lock() = Some(report::steps_here())));
    software_interrupt();
    probes::set_probe(None);
    let of_kernel = OF_KERNEL.lock().take().ok_or("the interrupt did not come")?;
    let [seen, _] = interrupt_of_user_mode()?;
    let of_user = STEPS_SEEN.lock().take().ok_or("no backtrace was taken")?;
    let (seams, boundaries) = show_backtrace(
        answer,
        "An interrupt of a kernel thread, seen from its handler:",
        &of_kernel,
    );
    answer.must((seams, boundaries) == (1, 0), format!("{seams} seams, {boundaries} boundaries"));
    let interrupted = of_kernel.steps().iter().find_map(|(step, _)| match step {
        Step::Interrupted(regs) => Some(*regs),
        _ => None,
    });
    let interrupted = interrupted.ok_or("nothing was interrupted")?;
    answer.stack(&own_stack()?);
    answer.step(interrupted.sp.get(), "the kernel was interrupted here: the walk names the place");
    let (user_seams, user_boundaries) =
        show_backtrace(answer, "An interrupt of user mode, seen from its handler:", &of_user);
    answer.must(
        (user_seams, user_boundaries) == (0, 1),
        format!("{user_seams} seams, {user_boundaries} boundaries"),
    );
    let thread = known(seen.stack)?;
    answer.stack(&thread);
    answer.step(seen.frame, "the walk ends: registers of user mode, at the top of the stack");
    answer.answer(format!(
        "yes: from the kernel it crosses {seams} seam between two stacks and continues at what was \
         interrupted; from user mode it crosses {user_seams} and ends at the registers of user mode."
    ));
    Ok(())
}

pub(super) fn addresses(answer: &mut Answer) -> Result<(), String> {
    let [call, ..]: [Seen; 3] = system_calls()?;
    let exception = breakpoint_here()?;
    let [interrupt, _] = interrupt_and_its_softirq()?;
    let handler = overflow_of_a_thread();
    let report = overflow::take_last_report().ok_or("there is no report of the overflow")?;
    let rows = [
        ("a system call", call.sp, known(call.stack)?, "syscall"),
        ("an exception", exception.sp, known(exception.stack)?, "exception from kernel"),
        ("an interrupt", interrupt.sp, known(interrupt.stack)?, "interrupt from kernel"),
    ];
    for (what, sp, stack, row) in &rows {
        answer.stack(stack);
        answer.mark(*sp, &format!("SP in the handler of {what}"));
        let (lands_on, found) = table(row)?;
        answer.fact(what, format!("{sp:#x}, on the {}; found through: {found}", name_of(stack)));
        let last =
            lands_on.rsplit(", then ").next().unwrap_or_default().replace("current", "thread");
        answer.must(
            stack.kind.name() == last,
            format!("the table says {lands_on}, it was {stack:?}"),
        );
    }
    let [(_, _, _, _), (_, _, exception_stack, _), (_, _, interrupt_stack, _)] = &rows;
    answer.must(exception_stack.range == own_stack()?.range, "the exception left the stack");
    answer.must(interrupt_stack.range != exception_stack.range, "the interrupt stayed");
    let overflown = report.verdict.stack;
    answer.stack(&overflown);
    let (sp, lowest) = (report.fault.sp.get(), overflown.range.lowest.get());
    if sp < lowest {
        answer.memory("guard below it", lowest - PAGE_BYTES, lowest);
    }
    answer.mark(sp, "SP of the thread that overflowed, at the fault");
    let on = known(stack_at(handler))?;
    answer.stack(&on);
    answer.mark(handler, "SP in the handler that judged it");
    answer.fact("overflow", format!("{handler:#x}, on the {}", name_of(&on)));
    answer.must(on.kind != StackKind::Thread, format!("its handler stood on {on:?}"));
    answer.answer(format!(
        "a system call and an exception on the thread's own stack, an interrupt on the CPU's IRQ \
         stack, the handler of an overflow on the {}.",
        name_of(&on)
    ));
    Ok(())
}

static DEVICE_STANDS: SpinLock<Vec<Stand>> = SpinLock::new(Vec::new());
static HAS_COME: AtomicBool = AtomicBool::new(false);

/// In the place of the console's handler: the device is quiet again afterwards.
fn on_device(regs: &mut SavedRegs) {
    serial::CONSOLE.let_interrupt(true);
    if !HAS_COME.swap(true, Ordering::AcqRel) {
        stand(core::ptr::from_mut(regs) as usize);
        let last = interrupts::last_stand();
        DEVICE_STANDS.lock().extend(last);
    }
}

pub(super) fn affinity(answer: &mut Answer) -> Result<(), String> {
    let before = vectors::handler(vector::CONSOLE).ok_or("the console has no handler")?;
    *DEVICE_STANDS.lock() = Vec::with_capacity(cpus::online_count() as usize);
    vectors::set_handler(vector::CONSOLE, on_device);
    let mut came = Ok(());
    let stands = interrupts::stands_of(|| {
        for cpu in cpus::online() {
            irqchip::route_console(cpu.hardware_id.load(Ordering::Relaxed));
            HAS_COME.store(false, Ordering::Release);
            serial::CONSOLE.interrupt_when_ready();
            let one = until("the device has interrupted", || HAS_COME.load(Ordering::Acquire));
            serial::CONSOLE.let_interrupt(true);
            came = core::mem::replace(&mut came, Ok(())).and(one);
        }
    });
    drop(stands);
    vectors::set_handler(vector::CONSOLE, before);
    let home = cpus::online().next().ok_or("no CPU")?;
    irqchip::route_console(home.hardware_id.load(Ordering::Relaxed));
    came?;
    let stands = core::mem::take(&mut *DEVICE_STANDS.lock());
    for (cpu, stand) in cpus::online().zip(&stands) {
        let id = cpu.id();
        answer.stack(&stack_of_cpu(StackKind::Irq, cpu)?);
        answer.step(stand.sp, &format!("the serial line's interrupt, routed to CPU {id}"));
        let stack = known(stand.stack)?;
        answer.must(stand.cpu == id, format!("routed to {id}, it came to {}", stand.cpu));
        answer.must(
            stack.kind == StackKind::Irq && stack.cpu == Some(id),
            format!("on CPU {id} it was handled on {stack:?}"),
        );
    }
    let count = stands.len();
    answer.must(count == cpus::online_count() as usize, format!("it came {count} times"));
    answer.answer(format!(
        "that of the CPU it is routed to: {count} CPUs in turn, and each used its own. The device \
         has no stack."
    ));
    Ok(())
}
