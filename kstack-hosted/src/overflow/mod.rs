//! Overflows: named from the alternate signal stack, and survived where the pool says so.
//!
//! ```text
//!   access in a guard ─▶ SIGSEGV on the signal stack ─▶ which stack? (arithmetic on address and SP, the core's verdict)
//!                                                        │ none of ours            │ a coroutine's, grown into its guard
//!                                                        ▼                         ▼
//!                                             the former handler         report: whose, how far, backtrace
//!                                                                          │ pool survives      │ otherwise
//!                                                                          ▼                    ▼
//!                                                       return from the signal as the       text to standard error,
//!                                                       coroutine's last switch             then the former handler
//! ```
//!
//! | fault | what follows |
//! |---|---|
//! | SP in the guard below the running coroutine's stack, or an access to that guard right below SP | the coroutine is cut off, if its pool survives; else the process is told and dies |
//! | an access to a guard that is not near SP: a stray pointer | the process is told and dies: the stack did not overflow |
//! | SP beyond the guard: one frame was larger, without probes | the process is told and dies: other stacks may have been written |
//! | anything else | the handler that was there before, as if this one were not |
//!
//! Nothing is allocated, and no lock is taken, between the fault and the resumer.

use core::fmt;
use kstack_core::addr::{Addr, ByteSize};
use kstack_core::stacks::StackId;
use kstack_core::unwind::Backtrace;
use kstack_core::verdict::{OverflowReport, REPORT_STEPS};
use std::mem::MaybeUninit;

mod former;
mod handler;
mod text;
mod walk;

pub(crate) use handler::install;

/// Where a thread's reports are made: only the thread itself and its handler of signals use it, and
/// a coroutine that is cut off never continues in the midst of reading it.
pub(crate) struct Place {
    report: MaybeUninit<OverflowReport>,
    is_there: bool,
}

/// What a report starts with: copied from here, not made on a stack first.
static NO_STEPS: Backtrace<REPORT_STEPS> = Backtrace::empty();

impl Place {
    pub(crate) const fn new() -> Self {
        Self { report: MaybeUninit::uninit(), is_there: false }
    }
}

/// A stack overflow: which stack, whose, how far, and the calls that led there.
///
/// It displays as text of several lines, with addresses of code; [`Overflow::code_addresses`] is
/// for a program that has symbols.
pub struct Overflow(Box<OverflowReport>);

impl Overflow {
    /// The report that the handler has made on this thread a moment ago.
    #[inline(never)]
    pub(crate) fn of_this_thread() -> Self {
        let place = crate::thread::place();
        // SAFETY: (1) a coroutine has run on this thread, so there is a place; (2) the handler made
        // the report before it cut the coroutine off, which is the only way to get here.
        unsafe {
            assert!((*place).is_there, "a coroutine is cut off by the handler only");
            (*place).is_there = false;
            Self(Box::new((*place).report.assume_init_ref().clone()))
        }
    }

    /// The number of the coroutine: [`Coroutine::id`](crate::Coroutine::id).
    pub fn coroutine(&self) -> u64 {
        self.0.verdict.stack.owner.get()
    }

    /// The stack that overflowed.
    pub fn stack(&self) -> StackId {
        self.0.verdict.stack
    }

    /// How far below the stack's lowest byte it went.
    pub fn distance(&self) -> ByteSize {
        self.0.verdict.distance
    }

    /// Code addresses from the instruction that failed outwards, across stacks; a recursion's equal
    /// return addresses once. Complete as far as the program was built with frame pointers (`-C
    /// force-frame-pointers=yes`).
    pub fn code_addresses(&self) -> impl Iterator<Item = Addr> + '_ {
        self.0.code_addresses()
    }

    /// All there is to say, as a structure.
    pub fn report(&self) -> &OverflowReport {
        &self.0
    }
}

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(f, &self.0)
    }
}

impl fmt::Debug for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for Overflow {}

/// Writes a report to standard error.
pub(crate) fn tell(overflow: &Overflow) {
    text::tell(&overflow.0);
}
