//! What a thread has to do about signals before it goes to user mode.

use super::{frame, restart, stop};
use crate::abi;
use crate::abi::action::{self, Action, flag};
use crate::abi::signals::{DefaultAction, Fields, Info, Signal, SignalSet};
use crate::process::exit::{exit_thread, kill_current};
use crate::process::shared_signals::ProcessSignals;
use crate::process::{current, current_task, sequences, table, timers};
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
            exit_thread(Signal::KILL.status());
        }
        sched::current().clear_notification();
        stop::while_stopped();
        if sched::current().killed() {
            continue;
        }
        let Some((info, action)) = take() else { break };
        if action.is_caught() {
            let interruption = task.interruption.lock().take();
            if let Some(interruption) = interruption {
                restart::for_handler(regs, interruption, &action);
            }
            handle(regs, &info, &action);
            handled = true;
        } else {
            by_default(info.signal);
        }
    }
    let interruption = task.interruption.lock().take();
    if let Some(interruption) = interruption {
        restart::without_handler(regs, interruption);
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
}

/// The mask has changed: once more.
#[inline(never)]
fn before_user_again(regs: &mut SavedRegs) {
    before_user(regs);
}

/// Takes the next signal that does something, of the thread or of its process.
fn take() -> Option<(Info, Action)> {
    let (process, task) = (current(), current_task());
    loop {
        let mut of_process = process.signals.lock();
        let mut of_task = task.signals.lock();
        let allowed = SignalSet::ALL.without(of_task.blocked);
        let taken = of_task.pending.take(allowed).or_else(|| of_process.pending.take(allowed));
        drop(of_task);
        let mut info = taken?;
        if let Fields::Timer { .. } = info.fields {
            // The timer's lock comes before these.
            drop(of_process);
            if !timers::signal_was_taken(&mut info) {
                continue;
            }
            of_process = process.signals.lock();
        }
        if let Some(action) = action_for(&mut of_process, info.signal) {
            return Some((info, action));
        }
    }
}

/// Takes a signal of a set, of the thread or of its process, whatever it would do.
pub(crate) fn take_of(set: SignalSet) -> Option<Info> {
    let (process, task) = (current(), current_task());
    loop {
        let taken = {
            let mut of_process = process.signals.lock();
            let mut of_task = task.signals.lock();
            of_task.pending.take(set).or_else(|| of_process.pending.take(set))
        };
        let mut info = taken?;
        if timers::signal_was_taken(&mut info) {
            return Some(info);
        }
    }
}

/// What a signal that was taken does, unless it is ignored; a handler that runs once is gone.
fn action_for(of_process: &mut ProcessSignals, signal: Signal) -> Option<Action> {
    let action = of_process.actions.get(signal);
    if action.ignores(signal) {
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
fn by_default(signal: Signal) {
    match signal.default() {
        DefaultAction::Ignore | DefaultAction::Continue => {}
        DefaultAction::Stop => {
            // A group that no process could continue is not stopped from the terminal.
            if signal == Signal::STOP || !table::is_orphaned(current()) {
                stop::begin(signal);
            }
        }
        DefaultAction::End | DefaultAction::Core => kill_current(signal),
    }
}

/// Makes the registers those of a handler.
fn handle(regs: &mut SavedRegs, info: &Info, action: &Action) {
    let task = current_task();
    let (mask, stack) = {
        let mut signals = task.signals.lock();
        (signals.saved_mask.take().unwrap_or(signals.blocked), signals.stack)
    };
    let is_ready = sequences::interrupt(regs);
    if is_ready.and_then(|()| frame::push(regs, info, action, mask, stack)).is_err() {
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
}

/// Sends the calling thread a signal that it cannot put off: one that it blocks or ignores ends it.
pub(crate) fn force(info: Info) {
    let (process, task) = (current(), current_task());
    let allowed = process.allowance();
    {
        let mut of_process = process.signals.lock();
        let mut of_task = task.signals.lock();
        let mut action = of_process.actions.get(info.signal);
        let is_blocked = of_task.blocked.contains(info.signal);
        if is_blocked || action.handler == action::IGNORE {
            action.handler = action::DEFAULT;
            of_process.actions.set(info.signal, action);
            of_task.blocked = of_task.blocked.without(SignalSet::of(&[info.signal]));
        }
        // Without memory to keep what is told, the signal is there all the same.
        let _told = of_task.pending.add(info, allowed);
    }
    sched::current_arc().notify();
}

/// Has the calling thread look for signals before user mode, if it has some that it lets through.
pub(crate) fn notify_if_pending() {
    let (process, task) = (current(), current_task());
    let is_there = {
        let of_process = process.signals.lock();
        let of_task = task.signals.lock();
        let there = of_process.pending.set().union(of_task.pending.set());
        !there.without(of_task.blocked).is_empty()
    };
    if is_there {
        sched::current_arc().notify();
    }
}

/// Sets the mask of the calling thread. Signals for the process that it will not take any more go
/// to others.
pub(crate) fn set_mask(mask: SignalSet) {
    let task = current_task();
    let newly = {
        let mut signals = task.signals.lock();
        let before = core::mem::replace(&mut signals.blocked, mask.without(SignalSet::UNBLOCKABLE));
        signals.blocked.without(before)
    };
    if !newly.is_empty() {
        crate::process::send::hand_over(current(), newly);
    }
    notify_if_pending();
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
                // Errors in it are ignored, as on Linux.
                Some(stack) => {
                    let _not_set = frame::set_stack(stack, abi::stack_pointer(regs));
                }
                None => force(Info::kernel(Signal::SEGV)),
            }
        }
        Err(_) => force(Info::kernel(Signal::SEGV)),
    }
    Ok(abi::result(regs))
}
