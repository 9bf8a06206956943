//! Whom a folder of /proc is about: a process, one thread of it, or a thread of the kernel.

use crate::abi::signals::SignalSet;
use crate::error::Errno;
use crate::files::made::{Hides, Seen, View};
use crate::process::identity::permissions::{self, Looks};
use crate::process::task::policy;
use crate::process::{Process, current, current_arc, current_task, table, task, walk};
use crate::spaces::pid::{self, Own};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use threads::sched::{self, Name, Thread};

#[derive(Debug)]
pub(super) enum Subject {
    Process(Arc<Process>),
    Thread(Arc<Process>, Arc<Thread>),
    Kernel(Arc<Thread>),
}

/// How a thread is scheduled.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Scheduled {
    pub(super) policy: u32,
    /// The priority of one of real time; 0: it is none.
    pub(super) rank: u8,
    pub(super) nice: i32,
}

/// The kernel's thread with this number.
fn kernel_thread(number: u64) -> Result<Arc<Thread>, Errno> {
    let mut threads = sched::try_all()?.into_iter();
    threads.find(|thread| thread.id().get() == number && is_of_kernel(thread)).ok_or(Errno::ENOENT)
}

/// Whether a thread has never belonged to a program.
pub(super) fn is_of_kernel(thread: &Thread) -> bool {
    task::of(thread).is_none()
}

impl Subject {
    /// The one that a name in /proc means.
    pub(super) fn of(name: &str, view: &Seen) -> Result<Self, Errno> {
        let space = walk::space_of(view);
        if matches!(name, "self" | "thread-self") && current().number_in(space) == 0 {
            return Err(Errno::ENOENT);
        }
        if name == "self" {
            return Ok(Self::Process(current_arc()));
        }
        if name == "thread-self" {
            return Self::own_thread();
        }
        let number = pid::global(space, number(name)?).ok_or(Errno::ENOENT)?;
        if let Some(process) = table::find(number) {
            if !is_listed(&process, view) {
                return Err(Errno::ENOENT);
            }
            return Ok(Self::Process(process));
        }
        // A thread is found by its number, though it is not listed.
        if let Some((process, thread)) = table::find_thread(None, number) {
            return Ok(Self::Thread(process, thread));
        }
        match space {
            None => kernel_thread(number).map(Self::Kernel),
            Some(_) => Err(Errno::ENOENT),
        }
    }

    pub(super) fn own_thread() -> Result<Self, Errno> {
        Ok(Self::Thread(current_arc(), sched::current_arc()))
    }

    /// Whether the caller may look at what is in its folder.
    pub(super) fn check_inside(&self, view: &Seen) -> Result<(), Errno> {
        match (view, self.process()) {
            (Some(view), Some(process))
                if view.hides != Hides::Nothing && !may_look(process, view) =>
            {
                Err(Errno::EPERM)
            }
            _ => Ok(()),
        }
    }

    /// One of its threads.
    pub(super) fn thread(&self, name: &str, view: &Seen) -> Result<Self, Errno> {
        let number = pid::global(walk::space_of(view), number(name)?).ok_or(Errno::ENOENT)?;
        match self {
            Self::Process(process) | Self::Thread(process, _) => {
                if process.status().is_some() && process.id == number {
                    return Ok(Self::Process(process.clone()));
                }
                let thread = process.crew.find(number).ok_or(Errno::ENOENT)?;
                Ok(Self::Thread(process.clone(), thread))
            }
            Self::Kernel(thread) if thread.id().get() == number => Ok(Self::Kernel(thread.clone())),
            Self::Kernel(_) => Err(Errno::ENOENT),
        }
    }

    /// How it is scheduled; a process, as its first thread.
    pub(super) fn scheduled(&self) -> Scheduled {
        let of = |thread: &Thread| {
            let task = task::of(thread)?;
            let policy = task.policy.load(Ordering::Relaxed) & !policy::RESET_ON_FORK;
            let (rank, nice) = (sched::rank(thread).0, task.nice.load(Ordering::Relaxed));
            Some(Scheduled { policy, rank, nice })
        };
        let found = match self {
            Self::Process(process) => process.crew.find(process.id).and_then(|first| of(&first)),
            Self::Thread(_, thread) => of(thread),
            Self::Kernel(_) => None,
        };
        found.unwrap_or_default()
    }

    pub(super) fn process(&self) -> Option<&Process> {
        match self {
            Self::Process(process) | Self::Thread(process, _) => Some(process),
            Self::Kernel(_) => None,
        }
    }

    /// Its own number, in the first namespace.
    pub(super) fn number(&self) -> u64 {
        match self {
            Self::Process(process) => process.id,
            Self::Thread(_, thread) => thread.number(),
            Self::Kernel(thread) => thread.id().get(),
        }
    }

    /// Its process's number, in the first namespace.
    pub(super) fn leader(&self) -> u64 {
        self.process().map_or_else(|| self.number(), |process| process.id)
    }

    /// The process that traces it, in the first namespace, and whether it is halted for that.
    pub(super) fn tracer(&self) -> (u64, bool) {
        let of = |thread: &Thread| {
            let task = task::of(thread)?;
            let is_halted =
                task.tracing.lock().as_deref_mut().is_some_and(|own| own.halted().is_some());
            Some((task.tracer.load(Ordering::Relaxed), is_halted))
        };
        let found = match self {
            Self::Process(process) => process.crew.find(process.id).and_then(|first| of(&first)),
            Self::Thread(_, thread) => of(thread),
            Self::Kernel(_) => None,
        };
        found.unwrap_or_default()
    }

    pub(super) fn parent(&self, space: &Own) -> u64 {
        self.process().map_or(0, |process| process.parent_in(space))
    }

    pub(super) fn name(&self) -> Name {
        match self {
            Self::Process(process) => process.name(),
            Self::Thread(process, thread) => {
                task::of(thread).map_or_else(|| process.name(), task::Task::name_of)
            }
            Self::Kernel(thread) => Name::new(short(thread.name())),
        }
    }

    pub(super) fn last_cpu(&self) -> u64 {
        match self {
            Self::Process(process) => process
                .crew
                .with(|threads| threads.first().map_or(0, |thread| thread.last_cpu().get().into())),
            Self::Thread(_, thread) | Self::Kernel(thread) => thread.last_cpu().get().into(),
        }
    }

    /// The signals pending for its thread, or the first one, and those that are blocked.
    pub(super) fn signals(&self) -> (SignalSet, SignalSet) {
        let of = |thread: &Thread| {
            task::of(thread).map_or((SignalSet::EMPTY, SignalSet::EMPTY), |task| {
                let signals = task.signals.lock();
                (signals.pending.set(), signals.blocked)
            })
        };
        match self {
            Self::Process(process) => process.crew.with(|threads| {
                threads.first().map_or((SignalSet::EMPTY, SignalSet::EMPTY), |thread| of(thread))
            }),
            Self::Thread(_, thread) | Self::Kernel(thread) => of(thread),
        }
    }

    /// What there is to tell of its thread, or the first one.
    fn of_thread<R: Default>(&self, of: impl FnOnce(&Thread) -> R) -> R {
        match self {
            Self::Process(process) => process
                .crew
                .with(|threads| threads.first().map_or_else(R::default, |thread| of(thread))),
            Self::Thread(_, thread) | Self::Kernel(thread) => of(thread),
        }
    }

    /// What is on of the shadow stack of its thread, or the first one, and what is locked.
    pub(super) fn shadow(&self) -> [u64; 2] {
        self.of_thread(|thread| {
            task::of(thread).map_or([0; 2], |task| {
                let shadow = *task.shadow.lock();
                [shadow.mode, shadow.locked]
            })
        })
    }

    /// Mode and number of the filters of calls of its thread, or the first one.
    pub(super) fn seccomp(&self) -> (u64, usize) {
        self.of_thread(|thread| {
            task::of(thread).map_or((0, 0), |task| {
                let mode = task.seccomp.lock();
                (mode.number(), mode.filters())
            })
        })
    }

    /// How often its thread, or the first one, has left its CPU: with nothing to do, and with more.
    pub(super) fn switches(&self) -> [u64; 2] {
        self.of_thread(|thread| thread.cpu_time().switches())
    }

    /// The numbers of its threads.
    pub(super) fn write_threads(
        &self,
        space: &Own,
        to: &mut dyn core::fmt::Write,
    ) -> core::fmt::Result {
        match self {
            Self::Process(process) | Self::Thread(process, _) => {
                if process.status().is_some() {
                    return writeln!(to, "{}", process.number_in(space));
                }
                process.crew.with(|threads| {
                    threads.iter().try_for_each(|thread| {
                        writeln!(to, "{}", pid::local(space, thread.number()))
                    })
                })
            }
            Self::Kernel(thread) => writeln!(to, "{}", thread.id()),
        }
    }
}

/// Whether the caller may look into a process that a mount of /proc would show it.
fn may_look(process: &Process, view: &View) -> bool {
    if process.id == current().id {
        return true;
    }
    let mine = current_task().credentials();
    let is_in_group = || mine.group.file == view.group || mine.groups.contains(&view.group);
    view.hides != Hides::Untraceable && is_in_group()
        || permissions::may_look_into(process, Looks::AsFile)
}

/// Whether a mount of /proc lists a process for the caller.
pub(super) fn is_listed(process: &Process, view: &Seen) -> bool {
    view.as_ref().is_none_or(|view| view.hides < Hides::Folders || may_look(process, view))
}

/// Whether a mount of /proc has a file of this name that is none of a process.
pub(super) fn is_shown(name: &str, view: &Seen) -> bool {
    let is_of_process = matches!(name, "self" | "thread-self") || walk::number(name).is_some();
    is_of_process || view.as_ref().is_none_or(|view| !view.only_processes)
}

fn number(name: &str) -> Result<u64, Errno> {
    walk::number(name).ok_or(Errno::ENOENT)
}

/// Bytes that a name has in /proc.
const NAME_BYTES: usize = 15;
/// A name, cut as Linux cuts it.
pub(super) fn short(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME_BYTES)]
}
