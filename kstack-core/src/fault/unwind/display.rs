//! Backtraces as people read them, one step a line.
//!
//! ```text
//!     0xffffffff80101f3c ext_read+0x3c
//!       ... 5 times
//!   -- from the irq stack to the thread stack of thread 7 [0xffffc90000003000..0xffffc90000007000)
//!     0xffffffff80100a10 worker+0x10
//!   -- the end; reliable
//! ```
//!
//! Names of code are the kernel's business: a closure answers for an address, and what it answers
//! is printed behind it.

use super::steps::{Backtrace, End, Step};
use crate::addr::{Addr, ByteSize};
use core::fmt::{self, Display, Formatter};

impl Display for End {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reliable => f.write_str("reliable"),
            Self::InnermostMayBeMissing(pc) => {
                write!(f, "not reliable: the caller of what was interrupted at {pc} may be missing")
            }
            Self::FrameMayBeMissing(pc) => {
                write!(f, "not reliable: the caller of the function at {pc} may be missing")
            }
            Self::NotKept(at) => {
                write!(f, "not reliable: the stack at {at} may be unmapped while it is read")
            }
            Self::NotAnEntry(at) => {
                write!(f, "not reliable: the registers of user mode at {at} are no entry's")
            }
            Self::Misaligned(fp) => write!(f, "not reliable: frame pointer {fp} is not aligned"),
            Self::UnknownStack(at) => write!(f, "not reliable: {at} is on no stack"),
            Self::NotOutwards(at) => write!(f, "not reliable: {at} does not lead outwards"),
            Self::StackTwice(at) => {
                write!(f, "not reliable: {at} leads back to a stack that was left")
            }
            Self::Unreadable(at) => write!(f, "not reliable: {at} cannot be read"),
            Self::TooLong => f.write_str("not reliable: more frames or stacks than are followed"),
        }
    }
}

/// A step as text, without the end of its last line.
#[derive(Clone, Copy, Debug)]
pub struct NamedStep<'s, F> {
    step: &'s Step,
    symbol: F,
}

/// A backtrace as text with names of code: one step a line, equal ones folded.
#[derive(Clone, Copy, Debug)]
pub struct NamedBacktrace<'b, F, const N: usize> {
    backtrace: &'b Backtrace<N>,
    symbol: F,
}

fn write_code<S: Display>(
    f: &mut Formatter<'_>,
    pc: Addr,
    symbol: impl FnOnce() -> Option<S>,
) -> fmt::Result {
    match symbol() {
        Some(symbol) => write!(f, "    {pc} {symbol}"),
        None => write!(f, "    {pc}"),
    }
}

impl<S: Display, F: Fn(Addr) -> Option<S>> Display for NamedStep<'_, F> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let symbol = |pc| (self.symbol)(pc);
        match self.step {
            // A return address: the call is right before it.
            Step::Caller(pc) => write_code(f, *pc, || symbol(pc.wrapping_sub(ByteSize::new(1)))),
            Step::Interrupted(regs) => {
                write_code(f, regs.pc, || symbol(regs.pc))?;
                write!(f, "\n      (interrupted here, sp {})", regs.sp)
            }
            Step::Seam { from, to } => write!(f, "  -- from the {from} stack to the {to}"),
            Step::UserBoundary(regs) => {
                write!(f, "  -- user mode, pc {} sp {}", regs.pc, regs.sp)
            }
            Step::End(end) => write!(f, "  -- the end; {end}"),
        }
    }
}

impl<S: Display, F: Fn(Addr) -> Option<S>, const N: usize> Display for NamedBacktrace<'_, F, N> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (step, times) in self.backtrace.steps() {
            writeln!(f, "{}", step.with_symbols(&self.symbol))?;
            if *times > 1 {
                writeln!(f, "      ... {times} times")?;
            }
        }
        match self.backtrace.dropped() {
            0 => Ok(()),
            dropped => writeln!(f, "    ({dropped} steps left out)"),
        }
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.with_symbols(|_| None::<&str>).fmt(f)
    }
}

/// One step a line, equal ones folded; addresses without names.
impl<const N: usize> Display for Backtrace<N> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.with_symbols(|_| None::<&str>).fmt(f)
    }
}

impl Step {
    /// The step as text; `symbol` names the function in which an address lies.
    pub fn with_symbols<S: Display, F: Fn(Addr) -> Option<S>>(
        &self,
        symbol: F,
    ) -> NamedStep<'_, F> {
        NamedStep { step: self, symbol }
    }
}

impl<const N: usize> Backtrace<N> {
    /// The steps as text; `symbol` names the function in which an address lies.
    pub fn with_symbols<S: Display, F: Fn(Addr) -> Option<S>>(
        &self,
        symbol: F,
    ) -> NamedBacktrace<'_, F, N> {
        NamedBacktrace { backtrace: self, symbol }
    }
}

#[cfg(test)]
mod tests {
    use super::super::steps::SavedRegs;
    use super::*;
    use std::string::ToString;

    #[test]
    fn b1_steps_are_written_a_line_each_with_the_names_of_their_functions() {
        let name = |pc: Addr| (pc.get() < 0x2000).then_some("worker");
        let caller = Step::Caller(Addr::new(0x1000));
        let regs = SavedRegs {
            pc: Addr::new(0x3000),
            sp: Addr::new(0x8000),
            fp: Addr::new(0),
            link: None,
            from_user: false,
        };
        assert!(caller.with_symbols(name).to_string().ends_with("1000 worker"));
        assert!(caller.to_string().ends_with("1000"));
        let interrupted = Step::Interrupted(regs).with_symbols(name).to_string();
        assert!(interrupted.contains("3000\n") && interrupted.contains("interrupted here, sp"));
        let mut backtrace = Backtrace::<2>::empty();
        for step in [caller, caller, Step::Caller(Addr::new(0x1800)), Step::End(End::Reliable)] {
            backtrace.keep(step, step == Step::End(End::Reliable));
        }
        let text = backtrace.with_symbols(name).to_string();
        assert!(text.contains("... 2 times"), "{text}");
        assert!(text.contains("-- the end; reliable"), "{text}");
        assert!(text.contains("(1 steps left out)"), "{text}");
    }
}
