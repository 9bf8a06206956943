//! What a traced thread has of it.

use crate::abi::signals::Info;
use crate::process::filters::asked_dispatch::Counted;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::arch::bases::Bases;
use machine::arch::extras::Breakpoints;
use machine::arch::regs::SavedRegs;
use machine::spin::SpinLock;
use threads::sched::Thread;

/// `PTRACE_O_…`.
pub(crate) mod option {
    /// A halt at a call is told with bit 7 of the signal.
    pub(crate) const MARK_CALLS: u32 = 1;
    pub(crate) const FORK: u32 = 1 << 1;
    pub(crate) const VFORK: u32 = 1 << 2;
    pub(crate) const CLONE: u32 = 1 << 3;
    pub(crate) const EXEC: u32 = 1 << 4;
    pub(crate) const VFORK_DONE: u32 = 1 << 5;
    pub(crate) const EXIT: u32 = 1 << 6;
    /// Calls that a filter leaves to the tracer.
    pub(crate) const FILTER: u32 = 1 << 7;
    /// The thread's process is killed when its tracer ends.
    pub(crate) const KILL: u32 = 1 << 20;
    /// Its filters are not asked.
    pub(crate) const NO_FILTERS: u32 = 1 << 21;
    pub(crate) const KNOWN: u32 = 0xff | KILL | NO_FILTERS;
}

/// `PTRACE_EVENT_…`.
pub(crate) mod event {
    pub(crate) const FORK: u32 = 1;
    pub(crate) const VFORK: u32 = 2;
    pub(crate) const CLONE: u32 = 3;
    pub(crate) const EXEC: u32 = 4;
    pub(crate) const VFORK_DONE: u32 = 5;
    pub(crate) const EXIT: u32 = 6;
    pub(crate) const FILTER: u32 = 7;
    pub(crate) const STOP: u32 = 128;
}

/// Where a thread is halted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// It is about to take a signal.
    Signal,
    /// Its process is stopped (job control).
    Stop,
    /// Something happened that its tracer asked to be told of.
    Event,
    /// It is about to make a call; it has made one.
    Call,
    Return,
    /// A filter has left a call to its tracer.
    Filter,
}

/// How a thread continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    Freely,
    /// To the beginning or the end of a call.
    ToCall,
    /// By one instruction.
    Step,
    /// To the beginning of a call, which the tracer carries out instead.
    InsteadOfCall,
    /// The same, or by one instruction, whichever is first.
    StepInsteadOfCall,
}

/// A halted thread.
#[derive(Debug)]
pub(crate) struct Halted {
    pub(crate) at: At,
    /// The signal that is told, and above it the event.
    pub(crate) told: u32,
    /// What the signal says; `None`: there is nothing to be said (a stop).
    pub(crate) info: Option<Info>,
    pub(crate) regs: SavedRegs,
    pub(crate) bases: Bases,
    /// What stops it in the CPU.
    pub(crate) breakpoints: Option<Breakpoints>,
    /// The tracer has changed registers.
    pub(crate) is_changed: bool,
    pub(crate) floats_are_changed: bool,
    /// The tracer has waited for this.
    pub(crate) is_waited_for: bool,
    /// It stays halted, but ends the stop when its process continues.
    pub(crate) listens: bool,
    pub(crate) is_resumed: bool,
}

/// What a traced thread has of it.
#[derive(Debug)]
pub(crate) struct Tracing {
    pub(crate) options: u32,
    /// `PTRACE_SEIZE`: stops are told apart from signals.
    pub(crate) is_seized: bool,
    pub(crate) halted: Option<Halted>,
    pub(crate) resume: Resume,
    /// The signal that it takes when it is resumed; 0: none.
    pub(crate) signal: u32,
    /// The trap flag is set for the tracer.
    pub(crate) steps: bool,
    /// It is to halt as soon as it can.
    pub(crate) is_to_halt: bool,
    /// It has been resumed from a stop of its process, which lasts.
    pub(crate) runs_on: bool,
    /// `PTRACE_GETEVENTMSG`.
    pub(crate) message: u64,
    /// The status of a thread that has ended.
    pub(crate) ended: Option<i32>,
    /// Its tracer has let go of it while it was halted.
    pub(crate) is_left: bool,
    /// Floating point and vector registers of a halted thread.
    pub(crate) floats: Vec<u8>,
    /// Its calls are looked at.
    pub(super) _counted: Counted,
}

impl Tracing {
    /// The halted thread, as long as it is not resumed.
    pub(crate) fn halted(&mut self) -> Option<&mut Halted> {
        self.halted.as_mut().filter(|halted| !halted.is_resumed)
    }
}

/// What a thread has of tracing; `None`: it is not traced.
pub(crate) type Own = SpinLock<Option<Box<Tracing>>>;

/// The threads that a process traces; `None`: it has ended, and takes no more.
pub(crate) type Tracees = SpinLock<Option<Vec<Arc<Thread>>>>;
