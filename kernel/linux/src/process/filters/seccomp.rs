//! Calls that a program keeps itself from making: seccomp (seccomp(2), kernel/seccomp.c).
//!
//! A thread is in one of three modes, and leaves only the first: all calls, four of them, or those
//! that its filters let through. A filter stays for good; a new one is asked before those that were
//! there, and the strictest answer counts. A child has its parent's mode and filters.

use super::asked_dispatch::Counted;
use super::filter::{DATA_WORDS, Instruction, Program};
use super::listener::{Answer, DATA_BYTES, Given, Listener, Supervisor};
use super::seccomp_state::{Filter, Mode, filters};
use crate::abi::signals::{Fields, Info, Signal};
use crate::abi::{self, Way};
use crate::error::{Errno, SysResult};
use crate::files::open::{OpenFile, flag};
use crate::process::identity::credentials::capability;
use crate::process::life::exit::{exit_thread, kill_current};
use crate::process::tracing::halt;
use crate::process::user_memory;
use crate::process::{current, current_task, task};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use machine::arch::regs::SavedRegs;
use machine::memory::fallible;
use threads::sched::{self, Thread};

/// What a filter says of a call: an action, and 16 bits of its own.
pub(crate) mod action {
    pub(crate) const KILL_PROCESS: u32 = 0x8000_0000;
    pub(crate) const KILL_THREAD: u32 = 0;
    pub(crate) const TRAP: u32 = 0x0003_0000;
    pub(crate) const ERROR: u32 = 0x0005_0000;
    /// Another process says what becomes of the call.
    pub(crate) const ASK: u32 = 0x7fc0_0000;
    pub(crate) const TRACE: u32 = 0x7ff0_0000;
    pub(crate) const LOG: u32 = 0x7ffc_0000;
    pub(crate) const ALLOW: u32 = 0x7fff_0000;
    pub(super) const WHOLE: u32 = 0xffff_0000;
    /// All that there are.
    pub(crate) const ALL: [u32; 8] =
        [KILL_PROCESS, KILL_THREAD, TRAP, ERROR, ASK, TRACE, LOG, ALLOW];
}

/// Instructions of all filters of a thread: each counts four more.
const MAX_OF_ALL: usize = 32768;
const COST: usize = 4;
/// The highest number of an error.
const MAX_ERROR: u32 = 4095;

/// A new thread of the caller's has its mode and filters. `all`: what no thread changes meanwhile.
pub(in crate::process) fn inherit(thread: &Thread) {
    let Some(theirs) = task::of(thread) else { return };
    let mine = current_task().seccomp.lock().copy();
    let before = core::mem::replace(&mut *theirs.seccomp.lock(), mine);
    drop(before);
}

/// Whether a filter of a thread, counted from the oldest on, was to be logged.
pub(crate) fn is_logged(task: &task::Task, place: u64) -> Result<bool, Errno> {
    let mode = task.seccomp.lock();
    let newest = mode.filter().ok_or(Errno::EINVAL)?;
    let count = filters(Some(newest)).count();
    let place = usize::try_from(place).ok().filter(|&place| place < count).ok_or(Errno::ENOENT)?;
    let found = filters(Some(newest)).nth(count - 1 - place).ok_or(Errno::ENOENT)?;
    Ok(found.is_logged)
}

/// The caller's mode.
pub(crate) fn mode() -> u64 {
    current_task().seccomp.lock().number()
}

/// Four calls from now on.
pub(crate) fn be_strict() -> SysResult {
    let mut mode = current_task().seccomp.lock();
    match *mode {
        Mode::All => *mode = Mode::Strict(Counted::new()),
        Mode::Strict(_) => {}
        Mode::Filtered(..) => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// What is asked for with a new filter.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// All threads of the process have it.
    pub(crate) for_all: bool,
    /// If one cannot, that is an error, and not its number.
    pub(crate) names_none: bool,
    /// What it does not allow is logged.
    pub(crate) is_logged: bool,
    /// Who is told of calls that it leaves to another program.
    pub(crate) listener: Option<Arc<Listener>>,
}

/// A listener for a new filter, and its file.
pub(crate) fn listener(
    first_id: u64,
    is_patient: bool,
) -> Result<(Arc<Listener>, Arc<OpenFile>), Errno> {
    let listener = Listener::new(first_id, is_patient)?;
    let file = Supervisor::file(listener.clone(), flag::READ_WRITE)?;
    Ok((listener, file))
}

/// A filter more. Gives out 0, or the number of a thread that has others.
pub(crate) fn add(instructions: Vec<Instruction>, asked: Asked) -> SysResult {
    let task = current_task();
    let is_bound = current().attributes.no_new_privileges.load(Ordering::Relaxed);
    if !is_bound && !task.credentials().can_here(capability::SYS_ADMIN) {
        return Err(Errno::EACCES);
    }
    let program = Program::new(instructions)?;
    // No thread comes or changes its filters meanwhile.
    let result = current().crew.with(|threads| {
        let mine = match &*task.seccomp.lock() {
            Mode::Strict(_) => return Err(Errno::EINVAL),
            mode => mode.filter().cloned(),
        };
        let there = filters(mine.as_ref()).map(|filter| filter.program.len() + COST).sum::<usize>();
        if program.len() + there > MAX_OF_ALL {
            return Err(Errno::ENOMEM);
        }
        let others =
            || threads.iter().filter(|thread| !core::ptr::eq(&***thread, sched::current()));
        if asked.for_all
            && let Some(other) = others().find(|thread| !can_follow(thread, mine.as_ref()))
        {
            return if asked.names_none { Err(Errno::ESRCH) } else { Ok((other.number(), None)) };
        }
        // One that hears of a call is enough.
        if asked.listener.is_some() && filters(mine.as_ref()).any(|one| one.listener.is_some()) {
            return Err(Errno::EBUSY);
        }
        let listener = asked.listener.clone();
        let filter = Filter { program, before: mine, listener, is_logged: asked.is_logged };
        let filter = fallible::shared(filter)?;
        set(task, &filter);
        if asked.for_all {
            others().filter_map(|thread| task::of(thread)).for_each(|task| set(task, &filter));
        }
        Ok((0, Some(filter)))
    });
    result.map(|(number, _kept)| number)
}

/// Whether a thread's filters are among the caller's.
fn can_follow(thread: &Thread, mine: Option<&Arc<Filter>>) -> bool {
    let Some(theirs) = task::of(thread) else { return true };
    match &*theirs.seccomp.lock() {
        Mode::All => true,
        Mode::Strict(_) => false,
        Mode::Filtered(theirs, _) => {
            filters(mine).any(|filter| core::ptr::eq(filter, &raw const **theirs))
        }
    }
}

/// What was there before lives on in the filter, so nothing is dropped under a lock.
fn set(task: &task::Task, filter: &Arc<Filter>) {
    let mode = Mode::Filtered(filter.clone(), Counted::new());
    let before = core::mem::replace(&mut *task.seccomp.lock(), mode);
    drop(before);
}

/// What becomes of a call.
#[derive(Debug)]
pub(crate) enum Verdict {
    Allowed,
    /// It is not made, and returns this.
    Refused(u64),
    /// It is not made, and returns what a signal's handler says: the signal is on its way.
    Trapped(Info),
    /// A signal came before another process said what becomes of it.
    Cut(Errno),
    /// The tracer is told of it, with this, and it is made if that lets it through.
    Traced(u32),
}

/// Puts a descriptor that another process gives among the calling thread's.
pub(crate) type Take = dyn Fn(&Given) -> Result<u64, Errno>;

/// Asks the caller's filters.
pub(crate) fn judge(regs: &SavedRegs, way: &Way, take: &Take) -> Verdict {
    if halt::suspends_filters() {
        return Verdict::Allowed;
    }
    let newest = match &*current_task().seccomp.lock() {
        Mode::All => return Verdict::Allowed,
        Mode::Strict(_) => None,
        Mode::Filtered(filter, _) => Some(filter.clone()),
    };
    let number = abi::number(regs);
    let Some(newest) = newest else {
        let is_one = |name| ["read", "write", "exit", "rt_sigreturn", "sigreturn"].contains(&name);
        if abi::name_in(way.names, number).is_some_and(is_one) {
            return Verdict::Allowed;
        }
        exit_thread(Signal::KILL.status());
    };
    let words = words(&(way.moved)(regs), number, way.machine);
    let (answer, listener) = answer(&newest, &words);
    let listener = listener.cloned();
    drop(newest);
    let data = answer & !action::WHOLE;
    match answer & action::WHOLE {
        action::ALLOW => Verdict::Allowed,
        action::LOG => {
            let (id, name) = (current().id, current().name());
            crate::process::life::exit::tell(format_args!(
                "seccomp: process {id} ({name}) makes call {number}"
            ));
            Verdict::Allowed
        }
        action::TRACE => Verdict::Traced(data),
        action::ASK => ask(listener, &words, take),
        action::ERROR => Verdict::Refused(u64::from(data.min(MAX_ERROR)).wrapping_neg()),
        action::TRAP => Verdict::Trapped(info(regs, number, way.machine, data)),
        action::KILL_THREAD if current().crew.count() > 1 => exit_thread(Signal::SYS.status()),
        // Also what there is no such action for.
        _ => kill_current(Signal::SYS),
    }
}

/// Asks the process that has the listener. It may be a long time until that answers.
fn ask(listener: Option<Arc<Listener>>, words: &[u32; DATA_WORDS], take: &Take) -> Verdict {
    let mut data = [0; DATA_BYTES];
    for (bytes, word) in data.chunks_exact_mut(size_of::<u32>()).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    let thread = sched::current().number();
    let answer = listener.map_or(Err(Errno::ENOSYS), |one| one.ask(thread, data, take));
    match answer {
        Ok(Answer::Made) => Verdict::Allowed,
        Ok(Answer::Returns(result)) => Verdict::Refused(result),
        Err(error) if error.is_restart() => Verdict::Cut(error),
        Err(error) => Verdict::Refused(error.as_result()),
    }
}

/// `struct seccomp_data`.
fn words(regs: &SavedRegs, number: u64, machine: u32) -> [u32; DATA_WORDS] {
    let mut data = [0; DATA_WORDS];
    let mut put = |at: usize, value: u64| {
        (data[at], data[at + 1]) = (value as u32, (value >> 32) as u32);
    };
    put(0, number & 0xffff_ffff | u64::from(machine) << 32);
    put(2, abi::program_counter(regs));
    for (argument, at) in abi::arguments::<6>(regs, user_memory::get).into_iter().zip(0..) {
        put(4 + 2 * at, argument);
    }
    data
}

/// The strictest answer, the lowest as a number with a sign, and the listener of the filter that
/// gave it.
fn answer<'a>(
    newest: &'a Arc<Filter>,
    data: &[u32; DATA_WORDS],
) -> (u32, Option<&'a Arc<Listener>>) {
    let order = |answer: u32| (answer & action::WHOLE) as i32;
    let answers = filters(Some(newest)).map(|one| (one.program.run(data), one.listener.as_ref()));
    answers.fold((action::ALLOW, None), |strictest, answer| {
        if order(answer.0) < order(strictest.0) { answer } else { strictest }
    })
}

/// `SYS_SECCOMP`.
fn info(regs: &SavedRegs, number: u64, machine: u32, reason: u32) -> Info {
    const SECCOMP: i32 = 1;
    let address = abi::program_counter(regs);
    let fields = Fields::Call { address, number: number as i32, machine, reason };
    Info { signal: Signal::SYS, code: SECCOMP, fields }
}
