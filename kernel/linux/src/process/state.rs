//! What a process holds.

use super::attributes::Attributes;
use super::crew::Crew;
use super::identity::credentials::{Credentials, capability};
use super::names::{host_names, ipc_spaces};
use super::place::Place;
use super::running::Running;
use super::sending::queued::Allowance;
use super::sending::shared_signals::ProcessSignals;
use super::time::spent::Spent;
use super::time::timer_list::Timers;
use super::tracing::state::Tracees;
use crate::cgroups::Membership;
use crate::files::open::Files;
use crate::files::readiness::Readiness;
use crate::limits::{Limits, Resource};
use crate::memory::limits::Limits as MemoryLimits;
use crate::memory::space::Memory;
use crate::spaces::pid::{Holds, Numbers, Own};
use crate::spaces::time::Times;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use machine::arch::cpu::keeps_off_programs;
use machine::spin::SpinLock;
use threads::sched::{Mutex, Name, WaitQueue};

/// A process.
#[derive(Debug)]
pub struct Process {
    /// Its number in the first PID namespace, which is that of its first thread: processes and
    /// threads are counted together.
    pub id: u64,
    /// Its number in its own namespace.
    pub(crate) local: u64,
    /// Its PID namespace; its numbers, where that is not the first one; and that they are in use.
    pub(crate) space: Own,
    pub(crate) numbers: Option<Arc<Numbers>>,
    pub(super) holds: SpinLock<Holds>,
    /// Its time namespace.
    pub(super) times: SpinLock<Times>,
    /// The first one of a namespace: no signal ends it that comes from inside and that it has no
    /// handler for, until it has a fault of its own.
    pub(crate) is_protected: AtomicBool,
    /// The process that waits for it; 0: the kernel, which does not.
    pub parent: AtomicU64,
    /// Its process group, and the session that is in.
    pub group: AtomicU64,
    pub session: AtomicU64,
    /// Started by the kernel: a signal to all processes does not mean it.
    pub(crate) is_first: bool,
    /// Its memory; a child of vfork shares its parent's until execve.
    pub(crate) memory: SpinLock<Option<Arc<Mutex<Memory>>>>,
    /// Its descriptors, which `CLONE_FILES` shares with others; `None`: it has ended.
    pub(super) files: SpinLock<Option<Arc<SpinLock<Files>>>>,
    pub(super) place: SpinLock<Arc<Place>>,
    pub(crate) host: SpinLock<host_names::Own>,
    pub(crate) ipc: SpinLock<ipc_spaces::Own>,
    pub(crate) name: SpinLock<Name>,
    /// Its program, until it ends.
    pub(crate) executable: SpinLock<Option<Arc<Running>>>,
    pub command_line: SpinLock<Arc<Vec<u8>>>,
    /// Its threads that have not ended, and whether there may be more.
    pub crew: Crew,
    /// While one of its threads writes a core file: what the others, which end, leave for it.
    pub(crate) core_notes: SpinLock<Option<Vec<Vec<u8>>>>,
    /// Its wait status (Linux), once it has ended. Changes under the table's lock.
    pub(crate) ended: SpinLock<Option<i32>>,
    /// Something a waiting parent or child looks for has changed.
    pub changed: WaitQueue,
    /// Whether it is in no table any more: a parent has waited for it, or none will.
    pub(super) is_waited_for: AtomicBool,
    /// Told of the end of each thread, and of what follows it: for those who hold it as a file.
    pub(crate) ends: Readiness,
    /// The signal that its parent gets at its end; 0: none.
    pub(crate) exit_signal: AtomicU8,
    /// Whether a parent sleeps until this child of vfork is done with its memory.
    pub borrows_memory: AtomicBool,
    /// What its threads share of signals.
    pub(crate) signals: SpinLock<ProcessSignals>,
    pub(crate) attributes: Attributes,
    /// Those of its first thread: what others ask of the process.
    pub(super) credentials: SpinLock<Arc<Credentials>>,
    /// Nanoseconds since boot at its birth.
    pub(crate) born: u64,
    /// What it may use.
    pub limits: Limits,
    pub(crate) timers: SpinLock<Timers>,
    /// Pages that came when they were touched.
    pub(crate) faults: AtomicU64,
    /// CPU time that is not its living threads'.
    pub(crate) spent: SpinLock<Spent>,
    /// The process that traces its first thread; 0: none does.
    pub(crate) tracer: AtomicU64,
    /// The threads that it traces.
    pub(crate) tracees: Tracees,
    /// It continues after a stop.
    pub(crate) resumed: WaitQueue,
    /// Which control group it is in.
    pub(crate) membership: Membership,
}

impl Process {
    /// Those of its first thread. A thread asks for its own:
    /// [`Task::credentials`](super::task::Task::credentials).
    pub(crate) fn credentials(&self) -> Arc<Credentials> {
        self.credentials.lock().clone()
    }

    pub(super) fn set_credentials(&self, to: Arc<Credentials>) {
        let before = core::mem::replace(&mut *self.credentials.lock(), to);
        drop(before);
    }

    /// What may still be queued of signals for it.
    pub(crate) fn allowance(&self) -> Allowance {
        let user = self.credentials.lock().user.real;
        Allowance::new(user, self.limits.soft(Resource::PendingSignals))
    }

    /// Whether it is in no table any more: nothing is left of it but what holds it.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.is_waited_for.load(Ordering::Acquire)
    }

    /// Its descriptors. `None`: it has ended.
    pub fn files_if_alive(&self) -> Option<Arc<SpinLock<Files>>> {
        self.files.lock().clone()
    }

    /// The number of its parent, as programs see it: 1, as of Linux's init, where the kernel itself
    /// waits for an orphan.
    pub(crate) fn parent_number(&self) -> u64 {
        match self.parent.load(Ordering::Relaxed) {
            0 if !self.is_first => 1,
            number => number,
        }
    }

    /// Gives it other descriptors; gives out those it had.
    pub(crate) fn set_files(
        &self,
        to: Option<Arc<SpinLock<Files>>>,
    ) -> Option<Arc<SpinLock<Files>>> {
        core::mem::replace(&mut *self.files.lock(), to)
    }

    /// Its current directory and its like.
    pub fn place(&self) -> Arc<Place> {
        self.place.lock().clone()
    }

    /// Gives it another one.
    pub(super) fn set_place(&self, to: Arc<Place>) {
        let before = core::mem::replace(&mut *self.place.lock(), to);
        drop(before);
    }

    /// The memory, to look at or change.
    pub fn memory(&self) -> Option<Arc<Mutex<Memory>>> {
        self.memory.lock().clone()
    }

    pub fn set_memory(&self, memory: Option<Arc<Mutex<Memory>>>) -> Option<Arc<Mutex<Memory>>> {
        let before = core::mem::replace(&mut *self.memory.lock(), memory);
        if let Some(before) = &before {
            let peak = before.lock().resident_peak();
            self.spent.lock().keep_peak(peak);
        }
        before
    }

    /// How much memory it may have: the limits that count for its address space.
    pub(crate) fn memory_limits(&self) -> MemoryLimits {
        MemoryLimits {
            stack: self.limits.soft(Resource::Stack),
            space: self.limits.soft(Resource::AddressSpace),
            data: self.limits.soft(Resource::Data),
            locked: self.limits.soft(Resource::Locked),
            may_lock: self.credentials().can(capability::IPC_LOCK),
            // Where a null pointer of the kernel would read what a program wrote, none may.
            may_lie_lowest: keeps_off_programs() && self.credentials().can(capability::SYS_RAWIO),
        }
    }

    /// Its limits have changed: its address space knows them.
    pub(crate) fn limit_memory(&self) {
        if let Some(memory) = self.memory() {
            let limits = self.memory_limits();
            memory.lock().limits = limits;
        }
    }

    /// Whether its programs' parts lie where they always do.
    pub(crate) fn has_fixed_layout(&self) -> bool {
        const ADDR_NO_RANDOMIZE: u32 = 0x0004_0000;
        self.attributes.personality.load(Ordering::Relaxed) & ADDR_NO_RANDOMIZE != 0
    }

    /// Where the kernel's code for going back from handlers lies in its memory; 0: nowhere.
    pub(crate) fn trampoline(&self) -> u64 {
        self.memory().map_or(0, |memory| memory.lock().trampoline)
    }

    /// Its name: the program's.
    pub fn name(&self) -> Name {
        *self.name.lock()
    }

    pub fn set_name(&self, name: &str) {
        *self.name.lock() = Name::new(name);
    }

    /// Its wait status, once it has ended.
    pub fn status(&self) -> Option<i32> {
        *self.ended.lock()
    }

    pub(crate) fn set_status(&self, status: i32) {
        *self.ended.lock() = Some(status);
    }
}
