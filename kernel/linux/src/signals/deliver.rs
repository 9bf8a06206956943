//! What a thread has to do about signals before it goes to user mode.

use super::{core_file, frame, restart, stop};
use crate::abi;
use crate::abi::action::{self, Action, flag};
use crate::abi::signals::{DefaultAction, Fields, Info, Signal, SignalSet};
use crate::process::hardware::sequences;
use crate::process::life::exit::{exit_thread, kill_current, kill_current_with_core};
use crate::process::sending::shared_signals::{ProcessSignals, Stop};
use crate::process::task::{AlternateStack, TaskSignals};
use crate::process::time::timers;
use crate::process::tracing::halt;
use crate::process::{Process, current, current_task, table};
use core::sync::atomic::Ordering;
use machine::arch::regs::SavedRegs;
use threads::sched;

/// Before user mode: the thread dies, stops, or runs handlers, as it was told. The stack of
/// handlers is built from the one that is delivered first: the last one delivered runs first.
pub fn before_user(regs: &mut SavedRegs) {
    let task = current_task();
    let mut handled = false;
    if sched::current().take_switched() && sequences::interrupt(regs).is_err() {
        force(Info::kernel(Signal::SEGV));
    }
    loop {
        if sched::current().killed() {
            // What was decided counts; a thread alone is killed for a new program.
            core_file::leave_notes(regs);
            exit_thread(Signal::KILL.status());
        }
        sched::current().clear_notification();
        if task.is_traced() {
            halt::if_asked(regs);
        }
        let taken = match take(regs) {
            Next::Stop => {
                stop::while_stopped(regs);
                continue;
            }
            Next::Taken(taken) => taken,
            Next::Nothing => break,
        };
        if taken.action.is_caught() {
            if let Some(asked) = task.interruption.take() {
                restart::for_handler(regs, asked, &taken.action);
            }
            handle(regs, &taken);
            handled = true;
            // What comes from here on is told of.
            if taken.is_last && !sched::current().has_attention() {
                break;
            }
        } else {
            by_default(regs, &taken.info);
        }
    }
    if let Some(asked) = task.interruption.take() {
        restart::without_handler(regs, asked);
    }
    if !handled {
        let mut signals = task.signals.lock();
        if let Some(mask) = signals.saved_mask.take() {
            signals.blocked = mask;
            drop(signals);
            // What the mask lets through now may be there already.
            notify_if_pending();
            if sched::current().has_attention() {
                before_user_again(regs);
            }
        }
    }
    if task.is_traced() && halt::is_stepped() {
        halt::set_step(regs, true);
    }
}

/// The mask has changed: once more.
#[inline(never)]
fn before_user_again(regs: &mut SavedRegs) {
    before_user(regs);
}

/// What a thread does next.
enum Next {
    /// Its process is to stop, and it with that.
    Stop,
    Taken(Taken),
    Nothing,
}

/// A signal that does something.
struct Taken {
    info: Info,
    action: Action,
    /// The mask and the alternate stack to go back to after a handler.
    mask: SignalSet,
    stack: AlternateStack,
    /// Nothing else was pending, blocked or not.
    is_last: bool,
}

/// Takes the next signal that does something, of the thread or of its process.
fn take(regs: &mut SavedRegs) -> Next {
    let (process, task) = (current(), current_task());
    let mut of_process = process.signals.lock();
    loop {
        if of_process.stop != Stop::Running && !(task.is_traced() && halt::runs_on()) {
            return Next::Stop;
        }
        let mut of_task = task.signals.lock_uninterrupted();
        let allowed = SignalSet::ALL.without(of_task.blocked);
        let taken = of_task.pending.take(allowed).or_else(|| of_process.pending.take(allowed));
        let Some(mut info) = taken else { return Next::Nothing };
        if let Fields::Timer { .. } = info.fields {
            // The timer's lock comes before these.
            drop(of_task);
            drop(of_process);
            let counts = timers::signal_was_taken(&mut info);
            of_process = process.signals.lock();
            if !counts {
                continue;
            }
            of_task = task.signals.lock_uninterrupted();
        }
        if task.is_traced() {
            drop(of_task);
            drop(of_process);
            let left = halt::at_signal(regs, info);
            of_process = process.signals.lock();
            of_task = task.signals.lock_uninterrupted();
            let Some(left) = left else { continue };
            if of_task.blocked.contains(left.signal) {
                let _told = of_task.pending.add(left, process.allowance());
                continue;
            }
            info = left;
        }
        let Some(action) = action_for(process, &mut of_process, info.signal) else { continue };
        let mask = if action.is_caught() {
            of_task.saved_mask.take().unwrap_or(of_task.blocked)
        } else {
            of_task.blocked
        };
        let stack = of_task.stack;
        let left = of_process.pending.set().union(of_task.pending.set());
        return Next::Taken(Taken { info, action, mask, stack, is_last: left.is_empty() });
    }
}

/// Takes a signal of a set, of the thread or of its process, whatever it would do.
pub(crate) fn take_of(set: SignalSet) -> Option<Info> {
    let (process, task) = (current(), current_task());
    loop {
        let taken = {
            let mut of_process = process.signals.lock();
            let mut of_task = task.signals.lock_uninterrupted();
            of_task.pending.take(set).or_else(|| of_process.pending.take(set))
        };
        let mut info = taken?;
        if timers::signal_was_taken(&mut info) {
            return Some(info);
        }
    }
}

/// What a signal that was taken does, unless it is ignored; a handler that runs once is gone.
fn action_for(
    process: &Process,
    of_process: &mut ProcessSignals,
    signal: Signal,
) -> Option<Action> {
    let action = of_process.actions.get(signal);
    if action.ignores(signal) {
        return None;
    }
    // The first process of a namespace: only from outside it does a signal stop it, and that was
    // looked at when it was sent.
    if action.is_default() && signal != Signal::STOP && process.is_protected.load(Ordering::Relaxed)
    {
        return None;
    }
    if action.is_caught() && action.flags & flag::RESET_HANDLER != 0 {
        of_process.actions.set(signal, Action { handler: action::DEFAULT, ..action });
    }
    if !action.is_caught() && signal.default() == DefaultAction::Stop {
        of_process.is_stop_taken = true;
    }
    Some(action)
}

/// What a signal does that was neither caught nor ignored.
fn by_default(regs: &SavedRegs, info: &Info) {
    let signal = info.signal;
    match signal.default() {
        DefaultAction::Ignore | DefaultAction::Continue => {}
        DefaultAction::Stop => {
            // A group that no process could continue is not stopped from the terminal.
            if signal == Signal::STOP || !table::is_orphaned(current()) {
                stop::begin(signal);
            }
        }
        DefaultAction::End => kill_current(signal),
        DefaultAction::Core => match core_file::write(regs, info) {
            core_file::Outcome::Written => kill_current_with_core(signal),
            core_file::Outcome::Nothing => kill_current(signal),
            // It is told to die.
            core_file::Outcome::AnotherThreads => {}
        },
    }
}

/// Makes the registers those of a handler.
fn handle(regs: &mut SavedRegs, Taken { info, action, mask, stack, .. }: &Taken) {
    let task = current_task();
    let is_ready = sequences::interrupt(regs);
    if is_ready.and_then(|()| frame::push(regs, info, action, *mask, stack)).is_err() {
        if info.signal == Signal::SEGV {
            // Its own handler cannot begin: it would never end.
            let mut signals = current().signals.lock();
            signals.actions.set(Signal::SEGV, Action::default());
        }
        return force(Info::kernel(Signal::SEGV));
    }
    let mut signals = task.signals.lock();
    let mut blocked = signals.blocked.union(action.mask);
    if action.flags & flag::NO_DEFER == 0 {
        blocked = blocked.with(info.signal);
    }
    signals.blocked = blocked.without(SignalSet::UNBLOCKABLE);
    if signals.stack.auto_disarm && action.flags & flag::ON_STACK != 0 {
        signals.stack = Default::default();
    }
    drop(signals);
    if task.is_traced() {
        halt::at_handler(regs);
    }
}

/// Sends the calling thread a signal that it cannot put off: one that it blocks or ignores ends it.
pub(crate) fn force(info: Info) {
    let (process, task) = (current(), current_task());
    let allowed = process.allowance();
    {
        let mut of_process = process.signals.lock();
        let mut of_task = task.signals.lock_uninterrupted();
        let mut action = of_process.actions.get(info.signal);
        let is_blocked = of_task.blocked.contains(info.signal);
        if is_blocked || action.handler == action::IGNORE {
            action.handler = action::DEFAULT;
            of_process.actions.set(info.signal, action);
            of_task.blocked = of_task.blocked.without(SignalSet::of(&[info.signal]));
        }
        if action.is_default() {
            process.is_protected.store(false, Ordering::Relaxed);
        }
        // Without memory to keep what is told, the signal is there all the same.
        let _told = of_task.pending.add(info, allowed);
    }
    sched::current_arc().notify();
}

/// Has the calling thread look for signals before user mode, if it has some that it lets through.
pub(crate) fn notify_if_pending() {
    if with_signals(|of_process, of_task| is_there(of_process, of_task)) {
        sched::current_arc().notify();
    }
}

/// Runs `body` with the signals of the calling thread's process and its own.
#[inline(always)]
fn with_signals<R>(body: impl FnOnce(&mut ProcessSignals, &mut TaskSignals) -> R) -> R {
    let task = current_task();
    let mut of_process = task.process.signals.lock();
    let mut of_task = task.signals.lock_uninterrupted();
    body(&mut of_process, &mut of_task)
}

/// Whether a signal is pending that the thread lets through.
fn is_there(of_process: &ProcessSignals, of_task: &TaskSignals) -> bool {
    let there = of_process.pending.set().union(of_task.pending.set());
    !there.without(of_task.blocked).is_empty()
}

/// Sets the mask of the calling thread. Signals for the process that it will not take any more go
/// to others.
pub(crate) fn set_mask(mask: SignalSet) {
    let (newly, is_there) = with_signals(|of_process, of_task| {
        let mask = mask.without(SignalSet::UNBLOCKABLE);
        let before = core::mem::replace(&mut of_task.blocked, mask);
        (mask.without(before), is_there(of_process, of_task))
    });
    if !newly.is_empty() {
        crate::process::sending::send::hand_over(current(), newly);
    }
    if is_there {
        sched::current_arc().notify();
    }
}

/// The frame of a handler is done: back to what it interrupted.
pub(crate) fn sigreturn(regs: &mut SavedRegs) -> crate::error::SysResult {
    match frame::pop(regs) {
        Ok((mask, stack)) => {
            if !abi::has_usual_segments(regs) {
                sched::current().look_at_segments();
            }
            set_mask(mask);
            match stack {
                Some(stack) => {
                    frame::restore_stack(stack, abi::stack_pointer(regs));
                    // The exception that the processor would raise on the way there.
                    if !abi::can_be_gone_to(regs) {
                        force(Info::kernel(Signal::SEGV));
                    }
                }
                None => force(Info::kernel(Signal::SEGV)),
            }
        }
        Err(_) => force(Info::kernel(Signal::SEGV)),
    }
    Ok(abi::result(regs))
}
