//! What a traced thread does: where it halts, and what it tells its tracer.

use super::state::{At, Halted, Resume, Tracing, event, option};
use super::{news, tracer};
use crate::abi::signals::{Fields, Info, Signal, code};
use crate::abi::{self, registers};
use crate::error::Errno;
use crate::process::sending::send;
use crate::process::sending::shared_signals::Stop;
use crate::process::task::Task;
use crate::process::{current, current_task, table};
use core::sync::atomic::Ordering;
use machine::arch::regs::SavedRegs;
use threads::report::asleep;
use threads::sched;

/// Bits of what is told above the signal.
const EVENT_SHIFT: u32 = 8;

fn trap() -> u32 {
    Signal::TRAP.number().into()
}

/// A trap that no instruction caused: its code says what it is.
fn trap_info(told: u32) -> Info {
    let fields = Fields::Sender {
        process: current_task().number() as u32,
        user: current_task().credentials().user.real,
    };
    Info { signal: Signal::TRAP, code: told as i32, fields }
}

/// What the calling thread has of tracing, if it is traced.
fn with<R>(body: impl FnOnce(&mut Tracing) -> R) -> Option<R> {
    let task = current_task();
    if !task.is_traced() {
        return None;
    }
    task.tracing.lock().as_deref_mut().map(body)
}

/// What a tracer has left: the signal that is taken, 0 for none, and what that says.
type Left = (u32, Option<Info>);

/// Halts the calling thread until its tracer resumes it. `None`: it did not halt, since it is not
/// traced, or is to die.
fn halt(regs: &mut SavedRegs, at: At, told: u32, info: Option<Info>) -> Option<Left> {
    let (task, process, thread) = (current_task(), current(), sched::current());
    set_step(regs, false);
    // A call that was cut short: the tracer sees what it asked for, and may change that.
    let asked = task.interruption.take();
    if let Some(asked) = asked {
        abi::set_result(regs, asked.as_result());
    }
    let is_halted = {
        let mut own = task.tracing.lock();
        match own.as_deref_mut() {
            Some(tracing) if task.is_traced() && !thread.killed() => {
                if let Some(floats) = thread.fpu() {
                    registers::read_floats(floats, &mut tracing.floats);
                }
                tracing.is_to_halt = false;
                tracing.signal = 0;
                if matches!(at, At::Signal | At::Stop) {
                    tracing.message = 0;
                }
                tracing.halted = Some(Halted {
                    at,
                    told,
                    info,
                    regs: *regs,
                    bases: thread.bases(),
                    breakpoints: thread.extras().take_breakpoints(),
                    is_changed: false,
                    floats_are_changed: false,
                    is_waited_for: false,
                    listens: false,
                    is_resumed: false,
                });
                true
            }
            _ => false,
        }
    };
    let mut left = None;
    let mut is_changed = false;
    if is_halted {
        tell_tracer(task, at, told);
        let is_to_run = || {
            let is_listening = {
                let mut own = task.tracing.lock();
                own.as_deref_mut().and_then(Tracing::halted).map(|halted| halted.listens)
            };
            match is_listening {
                None => true,
                Some(listens) => listens && process.signals.lock().stop == Stop::Running,
            }
        };
        // Killed: it ends instead.
        let _killed = process.resumed.wait_unless_killed(is_to_run);
        let (signal, info, changed) = resume(regs);
        (left, is_changed) = (Some((signal, info)), changed);
    }
    // What the call that was cut short is to do, if it still is that call.
    let number = (abi::result(regs) as i64).wrapping_neg();
    let is_call = abi::number(regs) as i32 >= 0;
    let restarts = [
        Errno::ERESTARTSYS,
        Errno::ERESTARTNOINTR,
        Errno::ERESTARTNOHAND,
        Errno::ERESTART_RESTARTBLOCK,
    ];
    let found = restarts.into_iter().find(|errno| i64::from(errno.number()) == number);
    if let Some(found) = found
        && (asked.is_some() || is_changed && is_call)
    {
        abi::set_result(regs, Errno::EINTR.as_result());
        if is_call || !is_changed {
            task.interruption.set(found);
            sched::current_arc().notify();
        }
    }
    left
}

/// Takes what a tracer has left: registers, and the signal.
fn resume(regs: &mut SavedRegs) -> (u32, Option<Info>, bool) {
    let (task, thread) = (current_task(), sched::current());
    let mut own = task.tracing.lock();
    let Some(tracing) = own.as_deref_mut() else { return (0, None, false) };
    let Some(halted) = tracing.halted.take() else { return (0, None, false) };
    if halted.breakpoints.is_some() {
        thread.give_breakpoints(halted.breakpoints);
    }
    if !halted.is_resumed {
        // Its process continues, or it is killed.
        tracing.is_to_halt |= halted.listens && !thread.killed();
        return (0, None, false);
    }
    if halted.is_changed {
        *regs = halted.regs;
        thread.set_bases(&halted.bases);
        // Of its selectors the tracer may have chosen any.
        thread.look_at_segments();
    }
    if halted.floats_are_changed
        && let Some(floats) = thread.fpu()
    {
        // What the processor would refuse leaves them as at a program's start.
        let _refused = registers::write_floats(floats, &tracing.floats);
    }
    let signal = tracing.signal;
    let left = if tracing.is_left { own.take() } else { None };
    drop(own);
    drop(left);
    (signal, halted.info, halted.is_changed)
}

/// Tells the tracer that a thread of it has halted or ended.
pub(super) fn tell_tracer(task: &Task, at: At, told: u32) {
    let tracer = table::find(task.tracer.load(Ordering::Acquire));
    let Some(tracer) = tracer else { return };
    let why = if at == At::Stop { code::CHILD_STOPPED } else { code::CHILD_TRAPPED };
    news::tell(&tracer, &task.process, sched::current().number(), (why, told as i32 & 0x7f));
}

/// A signal is about to be taken: the tracer is told, and says which is. `None`: none is.
pub(crate) fn at_signal(regs: &mut SavedRegs, info: Info) -> Option<Info> {
    let signal = info.signal;
    let left = halt(regs, At::Signal, signal.number().into(), Some(info.clone()));
    let Some((number, said)) = left else {
        return (!sched::current().killed()).then_some(info);
    };
    let new = Signal::new(number.into())?;
    if let Some(said) = said.filter(|said| said.signal == new) {
        return Some(said);
    }
    let fields = Fields::Sender { process: 0, user: 0 };
    Some(Info { signal: new, code: code::USER, fields })
}

/// Whether the calling thread runs though its process is stopped: its tracer has resumed it.
pub(crate) fn runs_on() -> bool {
    with(|tracing| tracing.runs_on).unwrap_or(false)
}

/// The process of the calling thread is stopped, by this signal. `false`: it is not traced.
pub(crate) fn at_stop(regs: &mut SavedRegs, signal: Signal) -> bool {
    let number = u32::from(signal.number());
    let seized = with(|tracing| {
        tracing.runs_on = true;
        tracing.is_seized
    });
    let Some(is_seized) = seized else { return false };
    if is_seized {
        let told = number | event::STOP << EVENT_SHIFT;
        let info = Info { signal, ..trap_info(told) };
        halt(regs, At::Stop, told, Some(info));
    } else {
        halt(regs, At::Stop, number, None);
    }
    true
}

/// Another stop of the process begins: a thread that runs on halts once more.
pub(crate) fn stop_begins(task: &Task) {
    if task.is_traced()
        && let Some(tracing) = task.tracing.lock().as_deref_mut()
    {
        tracing.runs_on = false;
    }
}

/// Halts if the tracer has asked for that.
pub(crate) fn if_asked(regs: &mut SavedRegs) {
    set_step(regs, false);
    if with(|tracing| core::mem::take(&mut tracing.is_to_halt)) == Some(true) {
        let told = trap() | event::STOP << EVENT_SHIFT;
        halt(regs, At::Event, told, Some(trap_info(told)));
    }
}

/// A handler was entered by a single step: the tracer sees its first instruction.
pub(crate) fn at_handler(regs: &mut SavedRegs) {
    if is_stepped() {
        halt(regs, At::Event, trap(), Some(trap_info(trap())));
    }
}

/// Whether the calling thread is to stop behind its next instruction.
pub(crate) fn is_stepped() -> bool {
    let steps = [Resume::Step, Resume::StepInsteadOfCall];
    with(|tracing| steps.contains(&tracing.resume)).unwrap_or(false)
}

/// The flag by which the processor traps is set for one way to user mode, and only for that.
pub(crate) fn set_step(regs: &mut SavedRegs, on: bool) {
    let Some(step) = registers::STEP else { return };
    let is_ours = with(|tracing| core::mem::replace(&mut tracing.steps, on)).unwrap_or(false);
    if on || is_ours {
        step(regs, on);
    }
}

/// Whether the tracer of the calling thread carries its next call out instead.
fn is_instead_of_call() -> bool {
    let instead = [Resume::InsteadOfCall, Resume::StepInsteadOfCall];
    with(|tracing| instead.contains(&tracing.resume)).unwrap_or(false)
}

/// Halts at a call, if the tracer asked for that. A signal that it gives is sent.
fn at_call(regs: &mut SavedRegs, at: At) {
    let is_instead = at == At::Call && is_instead_of_call();
    let asked = with(|tracing| {
        let mark = if tracing.options & option::MARK_CALLS != 0 { 0x80 } else { 0 };
        let is_asked = tracing.resume == Resume::ToCall || is_instead;
        if is_asked {
            // `PTRACE_EVENTMSG_SYSCALL_ENTRY` and `PTRACE_EVENTMSG_SYSCALL_EXIT`.
            tracing.message = if at == At::Call { 1 } else { 2 };
        }
        is_asked.then_some(trap() | mark)
    });
    let Some(Some(told)) = asked else { return };
    let left = halt(regs, at, told, Some(trap_info(told)));
    if let Some(signal) = left.and_then(|(signal, _)| Signal::new(signal.into())) {
        let fields = Fields::Sender { process: 0, user: 0 };
        let info = Info { signal, code: code::USER, fields };
        let _told = send::to_thread(current(), &sched::current_arc(), info);
    }
}

/// Before a call. `false`: there is none for the kernel. The tracer carries it out instead, however
/// it has the thread continue, or has taken its number away.
pub(crate) fn before_call(regs: &mut SavedRegs) -> bool {
    if !current_task().is_traced() {
        return true;
    }
    set_step(regs, false);
    if abi::RESULT_REPLACES_NUMBER {
        abi::set_result(regs, Errno::ENOSYS.as_result());
    }
    let is_instead = is_instead_of_call();
    at_call(regs, At::Call);
    !is_instead && abi::number(regs) as i32 != -1
}

/// After a call. Whether a single step has led over it.
pub(crate) fn after_call(regs: &mut SavedRegs) -> bool {
    at_call(regs, At::Return);
    is_stepped() && !is_instead_of_call()
}

/// Whether the tracer of the calling thread has its filters pass everything.
pub(crate) fn suspends_filters() -> bool {
    with(|tracing| tracing.options & option::NO_FILTERS != 0).unwrap_or(false)
}

/// A filter leaves a call to the tracer. `false`: none asked for that.
pub(crate) fn at_filter(regs: &mut SavedRegs, data: u32) -> bool {
    at(At::Filter, regs, (option::FILTER, event::FILTER), data.into())
}

/// Something happened that the tracer may have asked to be told of, with what is told of it.
pub(crate) fn at_event(regs: &mut SavedRegs, asked: u32, event: u32, message: u64) {
    at(At::Event, regs, (asked, event), message);
}

/// Halts if the tracer has asked to be told of this event; whether it has.
fn at(at: At, regs: &mut SavedRegs, (asked, event): (u32, u32), message: u64) -> bool {
    let is_asked = with(|tracing| {
        let is_asked = tracing.options & asked != 0;
        if is_asked {
            tracing.message = message;
        }
        is_asked
    });
    if is_asked != Some(true) {
        return false;
    }
    let told = trap() | event << EVENT_SHIFT;
    halt(regs, at, told, Some(trap_info(told)));
    true
}

/// Another program begins: the tracer is told, or sends it a SIGTRAP as of old.
pub(crate) fn at_exec(regs: &mut SavedRegs, former: u64) {
    let (task, process) = (current_task(), current());
    if !task.is_traced() {
        return;
    }
    process.tracer.store(task.tracer.load(Ordering::Relaxed), Ordering::Relaxed);
    if former != process.id {
        tracer::forget_former_first();
    }
    let is_plain = with(|tracing| !tracing.is_seized && tracing.options & option::EXEC == 0);
    if is_plain == Some(true) {
        let info = Info { code: code::USER, ..trap_info(0) };
        let _told = send::to_thread(process, &sched::current_arc(), info);
    }
    at_event(regs, option::EXEC, event::EXEC, former);
}

/// The calling thread is about to end, with this status.
#[inline(never)]
pub(crate) fn at_exit(status: i32) {
    if !current_task().is_traced() || sched::current().killed() {
        return;
    }
    if let Some(mut regs) = asleep::own_user_regs() {
        at_event(&mut regs, option::EXIT, event::EXIT, status as u64);
    }
}
