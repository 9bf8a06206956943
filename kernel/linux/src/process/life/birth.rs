//! A process before it has a thread, and what a thread belongs to.

use crate::abi::signals::Signal;
use crate::cgroups::Membership;
use crate::error::Errno;
use crate::files::open::Files;
use crate::files::readiness::Readiness;
use crate::limits::Limits;
use crate::memory::space::Memory;
use crate::process::Process;
use crate::process::attributes::Attributes;
use crate::process::crew::Crew;
use crate::process::identity::credentials::Credentials;
use crate::process::place::Place;
use crate::process::sending::actions::Actions;
use crate::process::sending::shared_signals::ProcessSignals;
use crate::process::time::spent::Spent;
use crate::process::time::timer_list::Timers;
use crate::spaces::pid::{Hold, Holds};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched::{self, Mutex, Name, SpawnError, WaitQueue};

/// A process that is in no table yet and has no thread. `hold`: its numbers in a PID namespace that
/// is not the first one.
pub(crate) fn unborn(
    (id, hold): (u64, Option<Hold>),
    parent: Option<&Process>,
    memory: Arc<Mutex<Memory>>,
    (files, place): (Arc<SpinLock<Files>>, Arc<Place>),
    name: Name,
) -> Result<Arc<Process>, Errno> {
    let of_parent = |number: fn(&Process) -> &AtomicU64, alone: u64| {
        AtomicU64::new(parent.map_or(alone, |parent| number(parent).load(Ordering::Relaxed)))
    };
    let executable = parent.and_then(|parent| parent.executable.lock().clone());
    let (command_line, actions) = match parent {
        Some(parent) => {
            (parent.command_line.lock().clone(), parent.signals.lock().actions.try_clone()?)
        }
        None => (fallible::shared(Vec::new())?, Actions::new()?),
    };
    let numbers = hold.as_ref().map(|hold| hold.numbers().clone());
    let space = numbers.as_ref().map(|numbers| numbers.space().clone());
    let local = numbers.as_ref().map_or(id, |numbers| numbers.own());
    Ok(fallible::shared(Process {
        id,
        local,
        is_protected: AtomicBool::new(local == 1 && space.is_some()),
        space,
        numbers,
        times: SpinLock::new(parent.and_then(|parent| parent.times.lock().clone())),
        holds: SpinLock::new(match parent {
            Some(parent) => parent.holds_for_child(hold),
            None => Holds::default(),
        }),
        parent: AtomicU64::new(parent.map_or(0, |parent| parent.id)),
        group: of_parent(|parent| &parent.group, id),
        session: of_parent(|parent| &parent.session, id),
        is_first: parent.is_none(),
        memory: SpinLock::new(Some(memory)),
        files: SpinLock::new(Some(files)),
        place: SpinLock::new(place),
        host: SpinLock::new(parent.and_then(|parent| parent.host.lock().clone())),
        ipc: SpinLock::new(parent.and_then(|parent| parent.ipc.lock().clone())),
        name: SpinLock::new(name),
        executable: SpinLock::new(executable),
        command_line: SpinLock::new(command_line),
        crew: Crew::new(),
        core_notes: SpinLock::new(None),
        ended: SpinLock::new(None),
        changed: WaitQueue::new(),
        is_waited_for: AtomicBool::new(false),
        ends: Readiness::new(),
        exit_signal: AtomicU8::new(Signal::CHLD.number()),
        borrows_memory: AtomicBool::new(false),
        signals: SpinLock::new(ProcessSignals::new(actions)),
        credentials: SpinLock::new(match parent {
            Some(parent) => parent.credentials(),
            None => fallible::shared(Credentials::root(fallible::shared(Vec::new())?))?,
        }),
        attributes: parent.map_or(Attributes::first(), |parent| parent.attributes.copy()),
        born: threads::time::nanoseconds(),
        limits: parent.map_or(Limits::first(), |parent| parent.limits.copy()),
        timers: Timers::new(),
        faults: AtomicU64::new(0),
        spent: Spent::new(),
        tracer: AtomicU64::new(0),
        tracees: SpinLock::new(Some(Vec::new())),
        resumed: WaitQueue::new(),
        membership: match parent {
            // It gets its maker's when it is born: `cgroups::Birth`.
            Some(_) => Membership::none(),
            None => Membership::first(),
        },
    })?)
}

impl From<SpawnError> for Errno {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::Stack(sched::StackError::OverLimit) => Self::EAGAIN,
            _ => Self::ENOMEM,
        }
    }
}
