//! What a tracer does: takes threads, waits for them, resumes them, lets go of them.

use super::news;
use super::state::{At, Resume, Tracing, event, option};
use crate::abi::registers;
use crate::abi::signals::{Info, Signal, how_ended};
use crate::error::Errno;
use crate::process::filters::asked_dispatch::Counted;
use crate::process::identity::credentials::capability;
use crate::process::identity::permissions::{self, Looks};
use crate::process::names::numbers;
use crate::process::sending::send;
use crate::process::table::{News, Wanted, Which};
use crate::process::task::{self, Task};
use crate::process::time::cpu_time;
use crate::process::{Process, current, current_task, table};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use machine::memory::fallible;
use threads::sched::{self, Thread};

/// Puts a thread into a tracer's list. `EPERM`: it is traced already.
fn begin(
    thread: &Arc<Thread>,
    tracer: &Process,
    options: u32,
    is_seized: bool,
) -> Result<(), Errno> {
    let task = task::of(thread).ok_or(Errno::EPERM)?;
    let floats = fallible::zeros(registers::float_bytes())?;
    let mut new = fallible::boxed(Tracing {
        options,
        is_seized,
        halted: None,
        resume: Resume::Freely,
        signal: 0,
        steps: false,
        is_to_halt: false,
        runs_on: false,
        message: 0,
        ended: None,
        is_left: false,
        floats,
        _counted: Counted::new(),
    })?;
    let before = {
        let mut list = tracer.tracees.lock();
        // A tracer that has ended traces nothing.
        let list = list.as_mut().ok_or(Errno::ESRCH)?;
        let mut own = task.tracing.lock();
        if task.is_traced() || own.as_deref().is_some_and(|own| own.ended.is_some()) {
            return Err(Errno::EPERM);
        }
        fallible::push(list, thread.clone())?;
        // The last tracer has just let go of it, and it is about to run.
        new.halted = own.as_deref_mut().and_then(|own| own.halted.take());
        task.tracer.store(tracer.id, Ordering::Release);
        if thread.number() == task.process.id {
            task.process.tracer.store(tracer.id, Ordering::Release);
        }
        own.replace(new)
    };
    drop(before);
    Ok(())
}

/// `PTRACE_TRACEME`: the parent of the calling thread's process traces it.
pub(crate) fn trace_me() -> Result<(), Errno> {
    if current_task().is_traced() {
        return Err(Errno::EPERM);
    }
    let parent = table::find(current().parent.load(Ordering::Relaxed));
    let Some(parent) = parent else { return Ok(()) };
    match begin(&sched::current_arc(), &parent, 0, false) {
        // It has ended.
        Err(Errno::ESRCH) => Ok(()),
        result => result,
    }
}

/// `PTRACE_ATTACH` and `PTRACE_SEIZE`.
pub(crate) fn attach(
    process: &Process,
    thread: &Arc<Thread>,
    seize: Option<u32>,
) -> Result<(), Errno> {
    if process.id == current().id || !permissions::may_look_into(process, Looks::AsReal) {
        return Err(Errno::EPERM);
    }
    begin(thread, current(), seize.unwrap_or(0), seize.is_some())?;
    if seize.is_none() {
        // Told to stop already, it does so all the same.
        let _told = send::to_thread(process, thread, Info::kernel(Signal::STOP));
    }
    // One that is stopped halts for its tracer instead.
    process.resumed.wake_all();
    Ok(())
}

/// A thread that the caller makes is traced as the caller is, if the tracer asked for that. Whether
/// it is.
pub(crate) fn inherit(thread: &Arc<Thread>, asked: u32) -> Result<bool, Errno> {
    let mine = current_task();
    if !mine.is_traced() {
        return Ok(false);
    }
    let mine = (mine.tracer.load(Ordering::Acquire), {
        let own = mine.tracing.lock();
        own.as_deref().map_or((0, false), |own| (own.options, own.is_seized))
    });
    let (tracer, (options, is_seized)) = mine;
    let Some(tracer) = table::find(tracer).filter(|_| options & asked != 0) else {
        return Ok(false);
    };
    match begin(thread, &tracer, options, is_seized) {
        Err(Errno::ESRCH) => return Ok(false),
        result => result?,
    }
    let Some(task) = task::of(thread) else { return Ok(false) };
    if is_seized {
        if let Some(own) = task.tracing.lock().as_deref_mut() {
            own.is_to_halt = true;
        }
    } else {
        let allowed = task.process.allowance();
        // A standard signal is there in any case, if without what is told with it.
        let _told = task.signals.lock().pending.add(Info::kernel(Signal::STOP), allowed);
    }
    thread.notify();
    Ok(true)
}

/// Takes a thread out of the list of its tracer.
fn take_out(tracer: &Process, thread: &Thread) {
    let taken = {
        let mut list = tracer.tracees.lock();
        let Some(list) = list.as_mut() else { return };
        let at = list.iter().position(|other| core::ptr::eq(&**other, thread));
        at.map(|at| list.swap_remove(at))
    };
    drop(taken);
}

/// A thread that was to be traced is not born.
pub(crate) fn not_born(thread: &Thread) {
    let Some(task) = task::of(thread).filter(|task| task.is_traced()) else { return };
    if let Some(tracer) = table::find(task.tracer.load(Ordering::Acquire)) {
        take_out(&tracer, thread);
    }
}

/// Ends the tracing of a thread that is in no list any more. It runs, and takes this signal first.
fn release(task: &Task, signal: u32) {
    let left = {
        let mut own = task.tracing.lock();
        task.tracer.store(0, Ordering::Release);
        match own.as_deref_mut() {
            Some(tracing) if tracing.halted.is_some() => {
                tracing.is_left = true;
                tracing.resume = Resume::Freely;
                if let Some(halted) = tracing.halted() {
                    halted.is_resumed = true;
                    tracing.signal = signal;
                }
                None
            }
            _ => own.take(),
        }
    };
    drop(left);
    let _ours =
        task.process.tracer.compare_exchange(current().id, 0, Ordering::AcqRel, Ordering::Relaxed);
    task.process.resumed.wake_all();
}

/// `PTRACE_DETACH`.
pub(crate) fn detach(thread: &Thread, signal: u32) {
    take_out(current(), thread);
    if let Some(task) = task::of(thread) {
        release(task, signal);
    }
}

/// A process ends: it lets go of all threads that it traces, or kills them, as it asked for.
pub(in crate::process) fn ends(process: &Process) {
    let list = process.tracees.lock().take();
    for thread in list.iter().flatten() {
        let Some(task) = task::of(thread) else { continue };
        let options = task.tracing.lock().as_deref().map_or(0, |own| own.options);
        release(task, 0);
        if options & option::KILL != 0 {
            task.process.crew.end(Signal::KILL.status());
        }
    }
    drop(list);
}

/// Has a traced thread ended, with this status? Its tracer can wait for that.
fn set_ended(tracer: &Process, task: &Task, number: u64, status: i32) {
    if let Some(own) = task.tracing.lock().as_deref_mut() {
        own.ended = Some(status);
        own.halted = None;
    }
    news::tell(tracer, &task.process, number, how_ended(status));
}

/// The calling thread, which is not its process's first one, ends.
pub(in crate::process) fn thread_ends(status: i32) {
    let (task, thread) = (current_task(), sched::current());
    if !task.is_traced() || thread.number() == task.process.id {
        return;
    }
    let tracer = table::find(task.tracer.load(Ordering::Acquire));
    if let Some(tracer) = tracer {
        set_ended(&tracer, task, thread.number(), status);
    }
}

/// A process ends whose first thread is traced. Its parent waits for it as for any other child.
pub(in crate::process) fn process_ends(process: &Process, status: i32) {
    let Some(tracer) = table::find(process.tracer.load(Ordering::Acquire)) else { return };
    let first = {
        let list = tracer.tracees.lock();
        let mut list = list.iter().flatten();
        list.find(|thread| thread.number() == process.id && is_of(thread, process)).cloned()
    };
    let Some(first) = first else { return };
    let Some(task) = task::of(&first) else { return };
    if tracer.id == process.parent.load(Ordering::Relaxed) {
        take_out(&tracer, &first);
        let left = task.tracing.lock().take();
        drop(left);
    } else {
        set_ended(&tracer, task, process.id, status);
    }
}

fn is_of(thread: &Thread, process: &Process) -> bool {
    task::of(thread).is_some_and(|task| core::ptr::eq(&*task.process, process))
}

/// The calling thread has taken the number of its process's first one, which has ended without
/// being waited for.
pub(super) fn forget_former_first() {
    let (task, me) = (current_task(), sched::current());
    let Some(tracer) = table::find(task.tracer.load(Ordering::Acquire)) else { return };
    let former = {
        let list = tracer.tracees.lock();
        let mut list = list.iter().flatten();
        let is_former =
            |other: &&Arc<Thread>| other.number() == me.number() && !core::ptr::eq(&***other, me);
        list.find(is_former).cloned()
    };
    if let Some(former) = former {
        take_out(&tracer, &former);
    }
}

/// Whether a process traces a thread that a wait means.
pub(in crate::process) fn has(me: &Process, which: Which) -> bool {
    me.tracees.lock().iter().flatten().any(|thread| is_meant(which, thread))
}

fn is_meant(which: Which, thread: &Thread) -> bool {
    match which {
        Which::Any => true,
        Which::Number(number) => thread.number() == number,
        Which::Group(group) => {
            task::of(thread).is_some_and(|task| task.process.group.load(Ordering::Relaxed) == group)
        }
    }
}

/// The news of a thread that a process traces: it has halted or ended. With the thread, which is
/// dropped where nothing is locked.
pub(in crate::process) fn news(
    me: &Process,
    which: Which,
    wanted: Wanted,
) -> Option<(News, Arc<Thread>)> {
    let (thread, status, has_ended) = {
        let mut list = me.tracees.lock();
        let list = list.as_mut()?;
        let found = list.iter().enumerate().find_map(|(at, thread)| {
            let task = task::of(thread).filter(|_| is_meant(which, thread))?;
            let mut own = task.tracing.lock();
            let own = own.as_deref_mut()?;
            if let Some(status) = own.ended {
                return wanted.ended.then_some((at, status, true));
            }
            let halted = own.halted().filter(|halted| !halted.is_waited_for)?;
            halted.is_waited_for = !wanted.keep;
            Some((at, (halted.told << 8 | 0x7f) as i32, false))
        });
        let (at, status, has_ended) = found?;
        let thread = list[at].clone();
        if has_ended && !wanted.keep {
            // The caller's is another one.
            drop(list.swap_remove(at));
        }
        (thread, status, has_ended)
    };
    let news = News {
        child: numbers::told(thread.number()),
        status,
        used: cpu_time::of_process_and_children(&task::of(&thread)?.process),
        is_traced: !has_ended,
    };
    Some((news, thread))
}

/// A thread that the caller traces.
pub(crate) fn find(number: u64) -> Result<Arc<Thread>, Errno> {
    let number = numbers::meant(number);
    let list = current().tracees.lock();
    let found = list.iter().flatten().find(|thread| thread.number() == number).cloned();
    found.ok_or(Errno::ESRCH)
}

/// Runs `body` with what a thread has of tracing, which is halted.
pub(crate) fn with_halted<R>(
    thread: &Thread,
    body: impl FnOnce(&mut Tracing) -> Result<R, Errno>,
) -> Result<R, Errno> {
    let task = task::of(thread).ok_or(Errno::ESRCH)?;
    let mut own = task.tracing.lock();
    let tracing = own.as_deref_mut().ok_or(Errno::ESRCH)?;
    if tracing.halted().is_none() {
        return Err(Errno::ESRCH);
    }
    body(tracing)
}

/// Resumes a halted thread, which takes this signal first.
pub(crate) fn resume(thread: &Thread, how: Resume, signal: u32) -> Result<(), Errno> {
    with_halted(thread, |tracing| {
        tracing.resume = how;
        tracing.signal = signal;
        if let Some(halted) = tracing.halted() {
            halted.is_resumed = true;
        }
        Ok(())
    })?;
    wake(thread);
    Ok(())
}

fn wake(thread: &Thread) {
    if let Some(task) = task::of(thread) {
        task.process.resumed.wake_all();
    }
}

/// `PTRACE_LISTEN`: a thread that is halted by a stop of its process stays so, until that
/// continues.
pub(crate) fn listen(thread: &Thread) -> Result<(), Errno> {
    with_halted(thread, |tracing| {
        let is_seized = tracing.is_seized;
        match tracing.halted() {
            Some(halted) if is_seized && halted.told >> 8 == event::STOP => {
                halted.listens = true;
                Ok(())
            }
            _ => Err(Errno::EIO),
        }
    })?;
    wake(thread);
    Ok(())
}

/// `PTRACE_INTERRUPT`: a seized thread halts as soon as it can.
pub(crate) fn interrupt(thread: &Arc<Thread>) -> Result<(), Errno> {
    let task = task::of(thread).ok_or(Errno::ESRCH)?;
    {
        let mut own = task.tracing.lock();
        let tracing = own.as_deref_mut().filter(|own| own.is_seized).ok_or(Errno::EIO)?;
        match tracing.halted() {
            // It listens: it halts anew.
            Some(halted) if halted.listens => {
                halted.listens = false;
                halted.is_waited_for = false;
                halted.at = At::Event;
            }
            _ => tracing.is_to_halt = true,
        }
    }
    thread.notify();
    current().changed.wake_all();
    Ok(())
}

/// Whether the tracer of the calling thread has no right to what a set-user-ID program may.
pub(crate) fn holds_back() -> bool {
    let tracer = current_task().tracer.load(Ordering::Acquire);
    let may = |tracer: &Process| tracer.credentials().can(capability::SYS_PTRACE);
    tracer != 0 && !table::find(tracer).is_some_and(|tracer| may(&tracer))
}
