//! What a thread of a program has of its own, beside its process: it is what the thread belongs to,
//! and the way from a thread to its process.

use super::Process;
use super::apart_state::{Apart, Parts};
use super::filters::asked_dispatch::Asked;
use super::filters::seccomp_state::Mode;
use super::futex::queues::Waiter;
use super::hardware::port_map::TaskPorts;
use super::hardware::registered::Registered;
use super::hardware::shadow_state::Shadow;
use super::identity::credentials::Credentials;
use super::place::Place;
use super::sending::pending::Pending;
use super::time::spent::{Moved, Shown};
use super::tracing::state::Own as Tracing;
use crate::abi::signals::{Signal, SignalSet, Trap};
use crate::cgroups::Birth;
use crate::error::Errno;
use crate::files::open::Files;
use crate::spaces::pid::{Hold, Own};
use crate::spaces::time::Times;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU16, AtomicU32, AtomicU64, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched::{self, Mutex, Name, Owned, OwnerKind, Thread};

/// The stack that `sigaltstack` named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct AlternateStack {
    pub(crate) lowest: u64,
    /// 0: there is none.
    pub(crate) bytes: u64,
    pub(crate) auto_disarm: bool,
}

impl AlternateStack {
    /// Whether a stack pointer is on it. One that disarms itself has no stack pointer on it, as
    /// Linux has it.
    pub(crate) const fn holds(&self, sp: u64) -> bool {
        !self.auto_disarm && sp > self.lowest && sp - self.lowest <= self.bytes
    }
}

/// What a thread has of signals. Another thread changes only `pending`.
#[derive(Debug, Default)]
pub(crate) struct TaskSignals {
    /// Those that wait until they are let through.
    pub(crate) blocked: SignalSet,
    /// The mask to go back to after the call that waits with another one (sigsuspend, ppoll).
    pub(crate) saved_mask: Option<SignalSet>,
    /// Those that a `sigtimedwait` takes, though they are blocked: they wake it.
    pub(crate) awaited: SignalSet,
    /// Those for this thread and no other.
    pub(crate) pending: Pending,
    pub(crate) stack: AlternateStack,
}

/// What a call asked for that a signal cut short. Only the thread itself has to do with it.
#[derive(Debug, Default)]
pub(crate) struct Interruption(AtomicU16);

impl Interruption {
    pub(crate) fn set(&self, asked: Errno) {
        self.0.store(asked.number(), Ordering::Relaxed);
    }

    /// What was asked for, once.
    #[inline]
    pub(crate) fn take(&self) -> Option<Errno> {
        let asked = Errno::of_number(self.0.load(Ordering::Relaxed));
        if asked.is_some() {
            self.0.store(0, Ordering::Relaxed);
        }
        asked
    }
}

/// How a call with a relative timeout continues when no handler ran: as the same call, with the
/// time it was to end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Continuation {
    pub(crate) run: fn(Continuation) -> crate::error::SysResult,
    /// When it ends at the latest, in nanoseconds since boot.
    pub(crate) deadline: u64,
    pub(crate) arguments: [u64; 4],
}

/// How a thread is scheduled, by Linux's numbers.
pub(crate) mod policy {
    pub(crate) const OTHER: u32 = 0;
    pub(crate) const FIFO: u32 = 1;
    pub(crate) const ROUND_ROBIN: u32 = 2;
    pub(crate) const BATCH: u32 = 3;
    pub(crate) const IDLE: u32 = 5;
    pub(crate) const DEADLINE: u32 = 6;
    /// A child begins with the normal one.
    pub(crate) const RESET_ON_FORK: u32 = 0x4000_0000;
}

/// See the module's head.
#[derive(Debug)]
pub struct Task {
    pub process: Arc<Process>,
    /// Its number in its PID namespace.
    pub(crate) local: AtomicU64,
    /// That its numbers are in use, if they are not its process's and not of the first namespace.
    pub(super) hold: SpinLock<Option<Hold>>,
    /// The PID namespace of the processes that it makes.
    pub(super) children: SpinLock<Own>,
    /// Their time namespace.
    pub(super) child_times: SpinLock<Times>,
    pub(crate) signals: SpinLock<TaskSignals>,
    /// A word of the program that is cleared when the thread ends; 0: none.
    pub(crate) clear_on_exit: AtomicU64,
    /// Where it reads which CPU it is on, and names what may not be interrupted.
    pub(crate) sequences: SpinLock<Option<Registered>>,
    /// The head of its list of robust futexes; 0: none.
    pub(crate) robust_list: AtomicU64,
    /// What it sleeps on words as, while it does.
    pub(crate) waiter: SpinLock<Option<Arc<Waiter>>>,
    /// What it calls itself (`PR_SET_NAME`); the program's name before.
    pub(crate) name: SpinLock<Option<Name>>,
    /// Its CPU time by mode, as it was shown last.
    pub(crate) shown: SpinLock<Shown>,
    /// What it has read and written.
    pub(super) moved: Moved,
    /// Whether its CPU time is its process's already.
    is_counted: AtomicBool,
    pub(crate) interruption: Interruption,
    pub(crate) continuation: SpinLock<Option<Continuation>>,
    /// Room for the bytes that a call of it moves: here, and not in the call's frame, which may be
    /// given up.
    pub(crate) room: Mutex<Vec<u8>>,
    /// Whether it has stopped because its process is to (job control).
    pub(crate) is_stopped: AtomicBool,
    /// The process that traces it; 0: none does.
    pub(crate) tracer: AtomicU64,
    /// What it has of that.
    pub(crate) tracing: Tracing,
    /// Which of its calls it carries out itself.
    pub(super) user_dispatch: Asked,
    /// What of its calls it makes.
    pub(crate) seccomp: SpinLock<Mode>,
    /// Its last fault.
    pub(crate) trap: SpinLock<Trap>,
    /// The I/O ports it may use.
    pub(crate) ports: SpinLock<TaskPorts>,
    /// Its shadow stack. Only the thread itself changes it, or its creator before it runs.
    pub(crate) shadow: SpinLock<Shadow>,
    /// Whom it acts for, and what it has apart from its process: see [`super::apart`].
    pub(super) credentials: SpinLock<Arc<Credentials>>,
    /// `SCHED_…`, with the bit that its children begin with the normal one.
    pub(crate) policy: AtomicU32,
    /// -20 to 19.
    pub(crate) nice: AtomicI32,
    pub(super) apart_files: Apart<SpinLock<Files>>,
    pub(super) apart_place: Apart<Place>,
    /// What a clone of it that is under way has taken.
    pub(super) birth: Birth,
}

impl Task {
    /// A task whose mask and whose users are its creator's.
    pub(crate) fn new(
        process: Arc<Process>,
        blocked: SignalSet,
        credentials: Arc<Credentials>,
        parts: Parts,
    ) -> Result<Arc<Self>, Errno> {
        let signals = TaskSignals { blocked, ..TaskSignals::default() };
        let times = process.times();
        Ok(fallible::shared(Self {
            local: AtomicU64::new(process.local),
            hold: SpinLock::new(None),
            children: SpinLock::new(process.space.clone()),
            child_times: SpinLock::new(times),
            process,
            signals: SpinLock::new(signals),
            clear_on_exit: AtomicU64::new(0),
            sequences: SpinLock::new(None),
            robust_list: AtomicU64::new(0),
            waiter: SpinLock::new(None),
            name: SpinLock::new(None),
            shown: SpinLock::new(Shown::default()),
            moved: Moved::new(),
            is_counted: AtomicBool::new(false),
            interruption: Interruption::default(),
            continuation: SpinLock::new(None),
            room: Mutex::new(Vec::new()),
            is_stopped: AtomicBool::new(false),
            tracer: AtomicU64::new(0),
            tracing: Tracing::new(None),
            user_dispatch: Asked::new(),
            seccomp: SpinLock::new(Mode::default()),
            trap: SpinLock::new(Trap::default()),
            ports: SpinLock::new(TaskPorts::default()),
            shadow: SpinLock::new(Shadow::default()),
            credentials: SpinLock::new(credentials),
            policy: AtomicU32::new(0),
            nice: AtomicI32::new(0),
            apart_files: Apart::new(parts.files),
            apart_place: Apart::new(parts.place),
            birth: Birth::none(),
        })?)
    }

    /// What it is called: what it says itself, or as its process is.
    pub(crate) fn name_of(&self) -> Name {
        let own = *self.name.lock();
        own.unwrap_or_else(|| self.process.name())
    }

    /// Whether another process traces it.
    pub(crate) fn is_traced(&self) -> bool {
        self.tracer.load(Ordering::Acquire) != 0
    }

    /// Whether its CPU time is its process's already.
    pub(super) fn is_counted(&self) -> bool {
        self.is_counted.load(Ordering::Relaxed)
    }

    /// It is from now on. Says whether it was not. Under the lock of what the process has spent.
    pub(super) fn set_counted(&self) -> bool {
        !self.is_counted.swap(true, Ordering::Relaxed)
    }

    /// Whether it takes a signal now: not blocked, or waited for. Under the lock of its process's
    /// signals.
    pub(super) fn takes(&self, signal: Signal) -> bool {
        let signals = self.signals.lock_uninterrupted();
        !signals.blocked.contains(signal) || signals.awaited.contains(signal)
    }
}

/// What the threads know a task by.
static KIND: OwnerKind<Task> = OwnerKind::new();

/// A task as what a thread belongs to.
pub(crate) fn owned(task: Arc<Task>) -> Owned {
    Owned::new(task, &KIND)
}

/// The task of a thread of a program.
pub(crate) fn of(thread: &Thread) -> Option<&Task> {
    thread.owner_of_kind(&KIND)
}

/// The task that runs. A reference, not a count: what a system call keeps only in its frame would
/// be lost if its stack overflowed.
#[inline]
pub fn current_task() -> &'static Task {
    sched::current().owner_of_kind(&KIND).expect("system calls and faults come from programs")
}

/// The same; `None`: the thread is none of a program.
pub(crate) fn of_current() -> Option<&'static Task> {
    sched::current().owner_of_kind(&KIND)
}

/// The process of the thread that runs. A reference, not a count: what a system call keeps only in
/// its frame would be lost if its stack overflowed.
#[inline]
pub fn current() -> &'static Process {
    &current_task().process
}

/// The same, to keep where others find it.
pub fn current_arc() -> Arc<Process> {
    current_task().process.clone()
}

/// The word that is cleared when the running thread ends.
pub(crate) fn set_clear_on_exit(at: u64) {
    current_task().clear_on_exit.store(at, Ordering::Relaxed);
}
