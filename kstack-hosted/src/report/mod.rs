//! What is told of an overflow: where the handler of signals makes a report, and what a program
//! gets.

use core::fmt;
use kstack_core::addr::{Addr, ByteSize};
use kstack_core::stacks::StackId;
use kstack_core::unwind::Backtrace;
use kstack_core::verdict::{OverflowReport, REPORT_STEPS};
use std::mem::MaybeUninit;

pub(crate) mod text;

/// Where a thread's reports are made: only the thread itself and its handler of signals use it, and
/// a coroutine that is cut off never continues in the midst of reading it.
pub(crate) struct Place {
    pub(crate) report: MaybeUninit<OverflowReport>,
    pub(crate) is_there: bool,
}

/// What a report starts with: copied from here, not made on a stack first.
pub(crate) static NO_STEPS: Backtrace<REPORT_STEPS> = Backtrace::empty();

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
    /// Takes the report that the handler has made.
    ///
    /// # Safety
    ///
    /// 1. `place` is this thread's, which lasts, and nothing else uses it meanwhile.
    pub(crate) unsafe fn taken_from(place: *mut Place) -> Self {
        // SAFETY: (1) by the caller's promise; (2) a report that is there is initialised.
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

    /// The whole report, as a structure.
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
