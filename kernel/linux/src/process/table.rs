//! All processes that have not been waited for, and who is whose child.
//!
//! # Invariants
//!
//! 1. A process enters whole: its threads have joined, and its parent was not on its way out
//!    ([`enter`]).
//! 2. Who is whose child, who has ended, and who leaves the table change under the table's lock
//!    alone. So a child is given to one waiter, and a child that ends while its parent ends is left
//!    to exactly one of them.
//! 3. A process is dropped without the lock: it may own a whole address space.
//! 4. Order of locks: the table, then a crew, then the run queue.
//! 5. The table is sorted by number: one is found in a few steps. What an end costs must not be the
//!    product of how many processes there are and how many ancestors one has.

use super::Process;
use super::identity::credentials::Credentials;
use super::listed::{by_number, place_of};
use super::names::numbers;
use super::names::pidfd;
use super::orphans;
use super::sending::shared_signals::Change;
use super::time::cpu_time;
use super::time::spent::Usage;
use crate::abi::action::{IGNORE, flag};
use crate::abi::signals::Signal;
use crate::error::Errno;
use crate::spaces::pid::{self, Own};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched::{self, Thread};

static TABLE: SpinLock<Vec<Arc<Process>>> = SpinLock::new(Vec::new());

/// Processes taken out of the table before the lock is opened.
const BATCH: usize = 32;

/// Which processes a call means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Any.
    Any,
    /// The one with this number.
    Number(u64),
    /// Those of this group.
    Group(u64),
}

/// What a waiting parent asks for besides children that have ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) ended: bool,
    pub(crate) stopped: bool,
    pub(crate) continued: bool,
    /// Whether the child can be waited for again.
    pub(crate) keep: bool,
    pub(crate) no_hang: bool,
    pub(crate) kind: Kind,
}

/// Which children a waiting parent means: those whose end is told by SIGCHLD, or the others
/// (`__WCLONE`), or both (`__WALL`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Told,
    Clones,
    Both,
}

impl Kind {
    fn holds(self, child: &Process) -> bool {
        let is_told = child.exit_signal.load(Ordering::Relaxed) == Signal::CHLD.number();
        match self {
            Self::Told => is_told,
            Self::Clones => !is_told,
            Self::Both => true,
        }
    }
}

/// A child's news: its number, its wait status, and what it used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct News {
    pub(crate) child: u64,
    pub(crate) status: i32,
    pub(crate) used: Usage,
    /// It is of a traced thread that has halted.
    pub(crate) is_traced: bool,
}

impl Which {
    /// The first argument of `kill` and `wait4`: a process, 0: the caller's group, -1: any, or
    /// minus a group.
    pub(crate) fn of(which: i64, caller: &Process) -> Self {
        match which {
            1.. => Self::Number(numbers::meant(which as u64)),
            0 => Self::Group(caller.group.load(Ordering::Relaxed)),
            -1 => Self::Any,
            _ => Self::Group(numbers::meant(which.unsigned_abs())),
        }
    }

    fn holds(self, process: &Process) -> bool {
        match self {
            Self::Any => true,
            Self::Number(number) => process.id == number,
            Self::Group(group) => process.group.load(Ordering::Relaxed) == group,
        }
    }
}

/// Puts a process into the table. An error if the calling thread's process is on its way out: it
/// would be born without a parent.
pub(crate) fn enter(process: &Arc<Process>, parent: Option<&Process>) -> Result<(), Errno> {
    let mut table = TABLE.lock();
    if parent.is_some_and(|parent| parent.crew.ending().is_some()) || sched::current().killed() {
        return Err(Errno::EINTR);
    }
    // The first process of its namespace ends, and has ended all that it found here.
    if process.space.as_ref().is_some_and(|space| space.is_closed()) {
        return Err(Errno::ENOMEM);
    }
    table.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
    // Most often at the end: numbers begin anew only when all have been given out.
    let place = place_of(&table, process.id);
    table.insert(place, process.clone());
    Ok(())
}

/// The process with this number, if it has not been waited for.
pub fn find(id: u64) -> Option<Arc<Process>> {
    by_number(&TABLE.lock(), id).cloned()
}

/// All processes.
pub fn all() -> Result<Vec<Arc<Process>>, fallible::NoMemory> {
    fallible::collect(TABLE.lock().iter().cloned())
}

/// How many threads of programs there are of some users, and processes that have ended.
pub(crate) fn task_count(is_theirs: impl Fn(&Credentials) -> bool) -> usize {
    let table = TABLE.lock();
    let own = table.iter().filter(|process| is_theirs(&process.credentials()));
    own.map(|process| process.crew.count().max(1)).sum()
}

/// Whether a number means a process, a thread, a group or a session.
pub(crate) fn is_in_use(number: u64) -> bool {
    TABLE.lock().iter().any(|process| {
        process.id == number
            || process.group.load(Ordering::Relaxed) == number
            || process.session.load(Ordering::Relaxed) == number
            || process.crew.find(number).is_some()
    })
}

/// A child of a process that ends, with the signal it asked for then: each once.
pub(crate) fn next_to_tell_of_death(parent: u64) -> Option<(Arc<Process>, u8)> {
    TABLE.lock().iter().find_map(|child| {
        if child.parent.load(Ordering::Relaxed) != parent {
            return None;
        }
        let signal = child.attributes.death_signal.swap(0, Ordering::Relaxed);
        (signal != 0).then(|| (child.clone(), signal))
    })
}

/// How many there are.
pub fn count() -> usize {
    TABLE.lock().len()
}

/// The first one that is meant.
pub(super) fn first(is_meant: impl Fn(&Process) -> bool) -> Option<Arc<Process>> {
    TABLE.lock().iter().find(|process| is_meant(process)).cloned()
}

/// Calls `body`, with the lock held, for each process that is meant; how many there were.
pub(crate) fn for_each(which: Which, mut body: impl FnMut(&Arc<Process>)) -> usize {
    let mut count = 0;
    for process in TABLE.lock().iter().filter(|process| which.holds(process)) {
        body(process);
        count += 1;
    }
    count
}

/// News, and the child if it is taken out with them.
type Found = (News, Option<Arc<Process>>);

/// The news of a child, and the child if it is taken out with them; `Ok(None)`: there are children,
/// and no news. Looked at in order: ended, stopped, continued.
pub(super) fn news(parent: u64, which: Which, wanted: Wanted) -> Result<Option<Found>, Errno> {
    let mut table = TABLE.lock();
    let mut any = false;
    let mut ended = None;
    for (at, child) in table.iter().enumerate() {
        let is_child = child.parent.load(Ordering::Relaxed) == parent;
        if !is_child || !which.holds(child) || !wanted.kind.holds(child) {
            continue;
        }
        let status = child.status();
        // One that has ended and is not asked for has no news to come.
        any |= status.is_none() || wanted.ended;
        let news = |status| News {
            child: child.told(),
            status,
            used: cpu_time::of_process_and_children(child),
            is_traced: false,
        };
        if let Some(status) = status {
            if wanted.ended {
                ended = Some((at, news(status)));
                break;
            }
            continue;
        }
        let status = {
            let mut signals = child.signals.lock();
            let status = match signals.change {
                // Whom the parent traces halts for it instead.
                Some(Change::Stopped(signal))
                    if wanted.stopped && child.tracer.load(Ordering::Relaxed) != parent =>
                {
                    signal.status() << 8 | 0x7f
                }
                Some(Change::Continued) if wanted.continued => 0xffff,
                _ => continue,
            };
            if !wanted.keep {
                signals.change = None;
            }
            status
        };
        // The time it has used is its crew's, whose lock comes before that of its signals.
        return Ok(Some((news(status), None)));
    }
    match ended {
        Some((_, news)) if wanted.keep => Ok(Some((news, None))),
        Some((at, news)) => {
            let gone = table.remove(at);
            gone.is_waited_for.store(true, Ordering::Release);
            Ok(Some((news, Some(gone))))
        }
        None if any => Ok(None),
        None => Err(Errno::ECHILD),
    }
}

/// A living thread with a number, of the process with that number if one is given.
pub(crate) fn find_thread(
    process: Option<u64>,
    thread: u64,
) -> Option<(Arc<Process>, Arc<Thread>)> {
    let table = TABLE.lock();
    let mut meant = table.iter().filter(|other| process.is_none_or(|number| other.id == number));
    meant.find_map(|process| Some((process.clone(), process.crew.find(thread)?)))
}

/// Whether nothing would continue the group of a process.
pub(crate) fn is_orphaned(process: &Process) -> bool {
    let group = process.group.load(Ordering::Relaxed);
    orphans::is_orphaned(&TABLE.lock(), group, None)
}

/// The nearest living ancestor in its namespace that takes orphans (`PR_SET_CHILD_SUBREAPER`);
/// without one, the first process of that does, or the kernel.
fn reaper(table: &[Arc<Process>], of: &Process) -> Option<Arc<Process>> {
    let find = |number: u64| by_number(table, number);
    let mut number = of.parent.load(Ordering::Relaxed);
    // No more steps than there are processes: no process is its own ancestor.
    for _ in 0..table.len() {
        let Some(ancestor) = find(number) else { break };
        if !pid::is_same(&ancestor.space, &of.space) {
            break;
        }
        if ancestor.status().is_none() && ancestor.attributes.is_subreaper.load(Ordering::Relaxed) {
            return Some(ancestor.clone());
        }
        number = ancestor.parent.load(Ordering::Relaxed);
    }
    let init = of.space.as_ref().and_then(|space| space.global(1));
    find(init?).filter(|init| init.status().is_none()).cloned()
}

/// Tells all processes of a namespace and of those below it to die, but one.
pub(super) fn end_all_in(space: &Own, but: &Process) {
    let table = TABLE.lock();
    let others = table.iter().filter(|other| !core::ptr::eq(&***other, but));
    for other in others.filter(|other| other.number_in(space) != 0) {
        other.crew.end(Signal::KILL.status());
    }
}

/// What the end of a process tells another one.
#[derive(Debug, Clone, Copy)]
pub(super) enum OfEnd {
    /// Its parent: that it has ended.
    ToParent,
    /// A member of a group that is orphaned by it.
    HangUp(Signal),
}

/// A process has ended, with this status: its parent is told in the same step, so that it cannot
/// wait for it before. Its children are a reaper's from now on, and it stays in the table only if a
/// parent may wait for it. Gives out that parent, and the reaper of its children, to be woken.
pub(super) fn end(
    process: &Process,
    status: i32,
    tell: &dyn Fn(&Process, OfEnd),
) -> [Option<Arc<Process>>; 2] {
    let ends = {
        let hang_up = |member: &Process, signal| tell(member, OfEnd::HangUp(signal));
        let table = TABLE.lock();
        process.set_status(status);
        orphans::leave(&table, process, None, &hang_up);
        let number = process.parent.load(Ordering::Relaxed);
        let parent = by_number(&table, number).filter(|one| one.status().is_none()).cloned();
        // A parent that ignores SIGCHLD, or says so, does not wait for children that it is told of
        // by that.
        let is_told_as_usual = process.exit_signal.load(Ordering::Relaxed) == Signal::CHLD.number();
        let is_waited_for = parent.as_ref().is_some_and(|parent| {
            let action = parent.signals.lock().actions.get(Signal::CHLD);
            let waits = action.handler != IGNORE && action.flags & flag::NO_CHILD_WAIT == 0;
            waits || !is_told_as_usual
        });
        let is_child = |other: &&Arc<Process>| other.parent.load(Ordering::Relaxed) == process.id;
        // Who has none leaves nothing to a reaper.
        let first = table.iter().position(|other| is_child(&other));
        let reaper = first.and_then(|_| reaper(&table, process));
        let reaper_number = reaper.as_ref().map_or(0, |reaper| reaper.id);
        let children = table[first.unwrap_or(table.len())..].iter().filter(is_child);
        for child in children {
            child.parent.store(reaper_number, Ordering::Relaxed);
            child.exit_signal.store(Signal::CHLD.number(), Ordering::Relaxed);
            orphans::leave(&table, child, Some(process), &hang_up);
        }
        if !is_waited_for {
            process.parent.store(0, Ordering::Relaxed);
        }
        if let Some(parent) = &parent {
            tell(parent, OfEnd::ToParent);
        }
        [parent, reaper]
    };
    while drop_nobodys() {}
    ends
}

/// Ended, and no process's child.
fn is_nobodys(process: &Process) -> bool {
    // Most have a parent, and that is the shorter look.
    process.parent.load(Ordering::Relaxed) == 0 && process.status().is_some()
}

/// Takes some of those out; whether there may be more.
fn drop_nobodys() -> bool {
    let mut gone: [Option<Arc<Process>>; BATCH] = [const { None }; BATCH];
    let mut taken = 0;
    {
        let mut table = TABLE.lock();
        let mut at = 0;
        while at < table.len() && taken < BATCH {
            if is_nobodys(&table[at]) {
                let one = table.remove(at);
                one.is_waited_for.store(true, Ordering::Release);
                gone[taken] = Some(one);
                taken += 1;
            } else {
                at += 1;
            }
        }
    }
    gone.iter().flatten().for_each(|process| {
        process.forget_numbers();
        pidfd::tell(process);
    });
    drop(gone);
    taken == BATCH
}
