//! What else a program's thread may have in the CPU, on machines where that is nothing: neither
//! ports nor a shadow stack.

pub use super::no_breakpoints::{BadBreakpoint, Breakpoints};
pub use super::no_segments::{Description, LocalSegments, MOST, Segment, fault_of_return};
use super::paging::NoMemory;
use crate::arch::regs::SavedRegs;
use alloc::sync::Arc;
use kstack::ports::Ports;
use kstack::shadow::Form;

/// What a thread keeps of it while it does not run.
#[derive(Debug)]
pub struct Extras;

impl Extras {
    /// Nothing.
    pub const fn new() -> Self {
        Self
    }

    /// At the switch away from a thread that has some. Interrupts off.
    pub fn leave(&self) {}

    /// At the switch to one.
    pub fn come(&self) {}

    /// These are of a child of the running thread, which has not run. Says whether it has any by
    /// that.
    pub fn inherit(&self) -> bool {
        false
    }

    /// The running thread, whose these are, starts another program.
    pub fn start_afresh(&self) {}

    /// Takes the breakpoints from the running thread: it has none.
    pub fn take_breakpoints(&self) -> Option<Breakpoints> {
        None
    }

    /// Gives it some.
    pub fn give_breakpoints(&self, breakpoints: Option<Breakpoints>) {
        if let Some(breakpoints) = breakpoints {
            match breakpoints {}
        }
    }

    /// What the last exception of the program was about, as its tracer reads it.
    pub fn events(&self) -> u64 {
        0
    }

    /// Sets that.
    pub fn set_events(&self, _told: u64) {}

    /// Keeps what the CPU says of an exception beside its frame: nothing. Says whether it was about
    /// a breakpoint.
    pub fn keep_cause(&self, _vector: u8, _regs: &mut SavedRegs) -> bool {
        false
    }

    /// Sets the shadow stack's pointer and mode of a thread that does not run.
    pub fn set_shadow(&self, _pointer: u64, _mode: u64) {}

    /// The same for the thread that runs, whose these are. Interrupts off.
    pub fn set_own_shadow(&self, _pointer: u64, _mode: u64) {}

    /// Loads what the running thread has been given since it came: nothing.
    pub fn catch_up(&self) {}

    /// Gives it segments: there are none.
    pub fn give_segments(&self, segments: Arc<LocalSegments>) {
        match *segments {}
    }

    /// Takes them from it.
    pub fn drop_segments(&self) {}
}

/// What shadow stacks look like; `None`: this CPU has none.
pub const fn shadow_form() -> Option<Form> {
    None
}

/// Where the running thread's shadow stack is. Only if it has one.
pub const fn shadow_pointer() -> u64 {
    0
}

/// What calls and returns wrote to shadow stacks is seen by loads from here on, and the reverse.
pub const fn settle_shadow() {}

/// Whether a page fault is of a call, a return, or an instruction for shadow stacks.
pub const fn is_shadow_access(_vector: u8, _regs: &SavedRegs) -> bool {
    false
}

/// What a debug exception in the kernel was about is forgotten: nothing is kept.
pub fn forget_cause() {}

/// Makes what the CPUs need before a port can be permitted.
pub fn prepare_ports() -> Result<(), NoMemory> {
    Ok(())
}

/// Permits ports to user mode on this CPU. Says whether it was something else before.
pub fn permit_ports(_ports: Ports<'_>) -> bool {
    false
}

/// Whether an exception in user mode may have been about a port.
pub fn may_be_about_a_port(_vector: u8) -> bool {
    false
}

/// Steps over an instruction that disables or enables interrupts, by its first byte.
pub fn step_over_interrupt_flag(_code: u8, _regs: &mut SavedRegs) -> bool {
    false
}
