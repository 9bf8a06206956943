//! Sending signals: who gets one, and what happens at the sending already.
//!
//! # Invariants
//!
//! 1. Order of locks: the table, a crew, the process's signals, a task's signals, the run queue.
//! 2. A signal is added first, and then the thread that is to take it is notified: a thread that
//!    clears its notification looks for signals afterwards, so it sees the signal or is notified
//!    again.
//! 3. A pending signal that a thread could take is always known to one: when a thread stops taking
//!    signals (it blocks them, it ends), it hands over what is pending for the process
//!    ([`hand_over`]).

use super::readers;
use super::shared_signals::{Change, ProcessSignals, Stop};
use crate::abi::action::flag;
use crate::abi::signals::{DefaultAction, Fields, Info, Signal, SignalSet, code};
use crate::error::Errno;
use crate::process::identity::users;
use crate::process::table::Which;
use crate::process::time::cpu_time;
use crate::process::{Process, table, task};
use crate::spaces::user::{self, Kind};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use threads::sched::{State, Thread};

/// Whom a signal is for.
#[derive(Clone, Copy)]
enum To<'t> {
    Process,
    Thread(&'t Arc<Thread>),
}

/// What became of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It is pending.
    Pending,
    /// The process ignores it: it is gone.
    Ignored,
}

/// Sends a signal to a process: any of its threads that does not block it takes it.
pub(crate) fn to_process(process: &Process, info: Info) -> Result<Sent, Errno> {
    send_and_tell(process, To::Process, info)
}

/// Sends a signal to one thread of a process.
pub(crate) fn to_thread(
    process: &Process,
    thread: &Arc<Thread>,
    info: Info,
) -> Result<Sent, Errno> {
    send_and_tell(process, To::Thread(thread), info)
}

fn send_and_tell(process: &Process, to: To<'_>, info: Info) -> Result<Sent, Errno> {
    let signal = info.signal;
    let sent = send(process, to, info);
    // Nothing else leaves something to be told.
    if signal == Signal::CONT {
        tell_parent_if_untold(process);
    }
    sent
}

/// Sends a signal to each process that is meant and that `may` lets through, as one step: a process
/// that is born meanwhile is born before, and gets it, or after its parent has got it. `sent` is
/// told of each.
pub(crate) fn to_each(
    which: Which,
    mut info: impl FnMut(&Process) -> Option<Info>,
    mut sent: impl FnMut(Result<Sent, Errno>),
) {
    table::for_each(which, |process| {
        if let Some(info) = info(process) {
            sent(send(process, To::Process, info));
        }
    });
    tell_parents();
}

/// Sends a signal to a group, from the kernel.
pub(crate) fn to_group(group: u64, signal: Signal) {
    // One that ends has no use for it.
    to_each(Which::Group(group), |_| Some(Info::kernel(signal)), |_ended| {});
}

/// Sends a signal to a process while the table is locked. [`tell_parents`] comes after that.
pub(in crate::process) fn in_table(process: &Process, info: Info) {
    // A standard signal is there in any case, if without what is told with it.
    let _told = send(process, To::Process, info);
}

/// Tells parents what [`in_table`] did to children.
pub(in crate::process) fn tell_parents() {
    while let Some(process) = table::first(|process| process.signals.lock().untold.is_some()) {
        tell_parent_if_untold(&process);
    }
}

fn tell_parent_if_untold(process: &Process) {
    let untold = process.signals.lock().untold.take();
    if let Some(change) = untold {
        tell_parent_of_change(process, change);
    }
}

/// Has who sent a signal be told by the numbers of the receiver's user namespace.
fn change_user(process: &Process, info: &mut Info) {
    let theirs = users::space_of(process);
    let mine = match info.fields {
        // What a program says is in its own numbers.
        Fields::Raw { .. } => users::here(),
        _ => None,
    };
    if !user::is_same(&theirs, &mine) {
        info.change_sender(|[number, who]| {
            let outside = user::outside(&mine, Kind::Users, who);
            [number, outside.map_or(user::OVERFLOW, |who| user::shown(&theirs, Kind::Users, who))]
        });
    }
}

/// A signal as a process in a namespace of its own sees it, and whether that must take SIGKILL and
/// SIGSTOP: from outside, or from the kernel (`send_signal_locked`).
fn as_seen_inside(process: &Process, mut info: Info) -> (Info, bool) {
    if info.code == code::KERNEL {
        return (info, true);
    }
    change_user(process, &mut info);
    // What the kernel tells of timers, files and children says nothing of the thread that runs.
    let is_of_caller = info.code <= code::USER && !matches!(info.fields, Fields::Timer { .. });
    let is_seen = |task: &task::Task| task.process.number_in(&process.space) != 0;
    if !is_of_caller || task::of_current().is_some_and(is_seen) {
        return (info, false);
    }
    info.change_sender(|[_, user]| [0, user]);
    (info, true)
}

/// Sends. Takes no lock of the table, which may be held.
fn send(process: &Process, to: To<'_>, info: Info) -> Result<Sent, Errno> {
    let signal = info.signal;
    let (info, is_forced) = match process.space.is_some() || user::exist() {
        true => as_seen_inside(process, info),
        false => (info, true),
    };
    let is_protected = process.is_protected.load(Ordering::Relaxed);
    if signal == Signal::KILL {
        if is_protected && !is_forced {
            return Ok(Sent::Ignored);
        }
        process.crew.end(signal.status());
        return Ok(Sent::Pending);
    }
    let allowed = process.allowance();
    let mut continued = false;
    let mut fatal = false;
    let added = process.crew.with(|threads| {
        let mut signals = process.signals.lock();
        let tasks = || threads.iter().filter_map(|thread| task::of(thread));
        if signal == Signal::CONT {
            signals.pending.discard(SignalSet::STOPPING);
            tasks().for_each(|task| task.signals.lock().pending.discard(SignalSet::STOPPING));
            signals.is_stop_taken = false;
            continued = signals.stop != Stop::Running;
            if continued {
                signals.stop = Stop::Running;
                signals.change = Some(Change::Continued);
                signals.untold = Some(Change::Continued);
            }
        } else if SignalSet::STOPPING.contains(signal) {
            let cont = SignalSet::of(&[Signal::CONT]);
            signals.pending.discard(cont);
            tasks().for_each(|task| task.signals.lock().pending.discard(cont));
        }
        let action = signals.actions.get(signal);
        let takes = |thread: &Arc<Thread>| task::of(thread).is_some_and(|task| task.takes(signal));
        let receiver = match to {
            To::Thread(thread) => takes(thread).then_some(thread),
            To::Process if matches!(info.fields, Fields::Timer { .. }) => {
                one_that_runs(&mut signals, threads, takes)
            }
            To::Process => one_that_wants(process.id, threads, takes),
        };
        // One that is blocked may still be waited for, or get another action.
        let is_for_nothing = action.ignores(signal)
            || is_protected && action.is_default() && !(is_forced && signal == Signal::STOP);
        let is_gone = |thread: &Arc<Thread>| !is_awaited(thread, signal) && !is_traced(thread);
        if is_for_nothing && receiver.is_some_and(is_gone) {
            return Ok(Sent::Ignored);
        }
        match to {
            To::Process => signals.pending.add(info, allowed)?,
            To::Thread(thread) => match task::of(thread) {
                Some(task) => task.signals.lock_uninterrupted().pending.add(info, allowed)?,
                None => return Err(Errno::ESRCH),
            },
        }
        if let Some(thread) = receiver {
            fatal = !action.is_caught()
                && signal.default() == DefaultAction::End
                && !is_awaited(thread, signal)
                && !is_traced(thread);
            if !fatal {
                thread.notify();
            }
        }
        Ok(Sent::Pending)
    });
    if fatal {
        // At once, so that a thread that waits for nothing but its death ends too.
        process.crew.end(signal.status());
    }
    if continued {
        process.resumed.wake_all();
    }
    readers::wake();
    added
}

/// The thread that takes a signal of its process: the first one if it can at once, or another one
/// that can; otherwise one that will (`complete_signal`).
fn one_that_wants(
    leader: u64,
    threads: &[Arc<Thread>],
    takes: impl Fn(&Arc<Thread>) -> bool,
) -> Option<&Arc<Thread>> {
    let wants = |thread: &&Arc<Thread>| {
        takes(thread) && (thread.state() == State::Running || !thread.has_attention())
    };
    let first = threads.iter().find(|thread| thread.number() == leader);
    let first = first.filter(wants).or_else(|| threads.iter().find(wants));
    first.or_else(|| threads.iter().find(|thread| takes(thread)))
}

/// The thread that takes a timer's signal of its process: on Linux the one that the timer
/// interrupts. Here one that runs, or is about to, in turn.
fn one_that_runs<'t>(
    signals: &mut ProcessSignals,
    threads: &'t [Arc<Thread>],
    takes: impl Fn(&Arc<Thread>) -> bool,
) -> Option<&'t Arc<Thread>> {
    let from = signals.next_receiver.checked_rem(threads.len())?;
    let in_turn = || (from..threads.len()).chain(0..from).filter(|&at| takes(&threads[at]));
    let has_state = |at: &usize, state| threads[*at].state() == state;
    let at = in_turn()
        .find(|at| has_state(at, State::Running))
        .or_else(|| in_turn().find(|at| has_state(at, State::Ready)))
        .or_else(|| in_turn().next())?;
    signals.next_receiver = at + 1;
    Some(&threads[at])
}

/// Under the lock of the process's signals.
fn is_awaited(thread: &Thread, signal: Signal) -> bool {
    let awaits = |task: &task::Task| task.signals.lock_uninterrupted().awaited.contains(signal);
    task::of(thread).is_some_and(awaits)
}

/// Whether a tracer is told of each signal of a thread.
fn is_traced(thread: &Thread) -> bool {
    task::of(thread).is_some_and(task::Task::is_traced)
}

/// Has another thread take what is pending for the process and what the caller will not take any
/// more.
pub(crate) fn hand_over(process: &Process, signals: SignalSet) {
    process.crew.with(|threads| {
        let mut left = process.signals.lock().pending.set().intersection(signals);
        for thread in threads {
            let Some(task) = task::of(thread) else { continue };
            let takes = left.without(task.signals.lock().blocked);
            if !takes.is_empty() {
                thread.notify();
                left = left.without(takes);
            }
        }
    });
}

/// Drops pending signals that no thread is to take any more, of the process and of each thread.
pub(crate) fn discard_everywhere(process: &Process, signals: SignalSet) {
    process.crew.with(|threads| {
        process.signals.lock().pending.discard(signals);
        let tasks = threads.iter().filter_map(|thread| task::of(thread));
        tasks.for_each(|task| task.signals.lock().pending.discard(signals));
    });
}

/// A thread of the process has stopped, or has left it: when no other is to stop, the process has,
/// and the parent is told.
pub(crate) fn note_stopped(process: &Process) {
    let stopped = process.crew.with(|threads| {
        let mut signals = process.signals.lock();
        let Stop::Stopping { signal } = signals.stop else { return None };
        let has_stopped = |thread: &Arc<Thread>| {
            task::of(thread).is_none_or(|task| task.is_stopped.load(Ordering::Relaxed))
        };
        let all = !threads.is_empty() && threads.iter().all(has_stopped);
        all.then(|| {
            let change = Change::Stopped(signal);
            signals.stop = Stop::Stopped { signal };
            signals.change = Some(change);
            change
        })
    });
    if let Some(change) = stopped {
        tell_parent_of_change(process, change);
    }
}

/// What a parent is told of a child, in its own numbers.
pub(in crate::process) fn told_to(parent: &Process, process: &Process, mut info: Info) -> Info {
    info.change_sender(|[_, user]| [process.number_in(&parent.space) as u32, user]);
    info
}

/// What a parent is told of a child, but for its number.
pub(in crate::process) fn of_child(
    process: &Process,
    signal: Signal,
    code: i32,
    status: i32,
) -> Info {
    /// Clock ticks, as programs count them, in nanoseconds.
    const CLOCK_TICK: u64 = 10_000_000;
    let times = cpu_time::of_process(process);
    let fields = Fields::Child {
        process: process.id as u32,
        user: process.credentials().user.real,
        status,
        user_time: times.user / CLOCK_TICK,
        system_time: times.system / CLOCK_TICK,
    };
    Info { signal, code, fields }
}

/// The process has stopped or continues: tells its parent, unless that does not want to know.
fn tell_parent_of_change(process: &Process, change: Change) {
    let parent = process.parent.load(Ordering::Relaxed);
    // Each thread that stops tells its tracer.
    if matches!(change, Change::Stopped(_)) && process.tracer.load(Ordering::Relaxed) == parent {
        return;
    }
    let Some(parent) = table::find(parent) else { return };
    let wants = parent.signals.lock().actions.get(Signal::CHLD).flags & flag::NO_CHILD_STOP == 0;
    if wants {
        let (code, status) = match change {
            Change::Stopped(signal) => (code::CHILD_STOPPED, signal.status()),
            Change::Continued => (code::CHILD_CONTINUED, Signal::CONT.status()),
        };
        // As above.
        let info = of_child(process, Signal::CHLD, code, status);
        let _told = to_process(&parent, told_to(&parent, process, info));
    }
    parent.changed.wake_all();
}
