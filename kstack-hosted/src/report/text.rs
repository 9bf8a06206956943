//! Reports as text, also where nothing may be allocated.

use core::fmt::{self, Write};
use kstack_core::stacks::ThreadId;
use kstack_core::unwind::{End, Step};
use kstack_core::verdict::{Cause, OverflowReport};

/// Writes a report.
pub(crate) fn write(f: &mut dyn Write, report: &OverflowReport) -> fmt::Result {
    let OverflowReport { verdict, fault, backtrace, .. } = report;
    let what = match verdict.cause {
        Cause::GuardHit => "stack overflow",
        Cause::FrameBeyondGuard => "stack overflow, by one frame larger than the guard",
        // `GuardAccess`, and what later versions of the core may find that is no overflow either.
        _ => "guard of a stack accessed, by no overflow",
    };
    write!(f, "{what}: ")?;
    match verdict.stack.owner {
        ThreadId::NONE => write!(f, "a stack without a coroutine")?,
        id => write!(f, "coroutine {id}")?,
    }
    let range = verdict.stack.range;
    let distance = verdict.distance.get();
    writeln!(f, ", stack {range:?} of {} KiB, on thread {}", range.size().get() / 1024, fault.cpu)?;
    let bytes = if distance == 1 { "byte" } else { "bytes" };
    writeln!(f, "  {distance} {bytes} {} its edge", verdict.side.name())?;
    writeln!(f, "  address {}  sp {}  pc {}", fault.address, fault.sp, fault.pc)?;
    writeln!(f, "  calls, innermost first:")?;
    for (step, times) in backtrace.steps() {
        match step {
            Step::Caller(pc) => write!(f, "    {pc}")?,
            Step::Interrupted(regs) => write!(f, "    {}", regs.pc)?,
            Step::Seam { to, .. } if to.owner.is_none() => write!(f, "    on the thread's stack:")?,
            Step::Seam { to, .. } => write!(f, "    on the stack of coroutine {}:", to.owner)?,
            Step::End(end) => {
                if backtrace.dropped() != 0 {
                    writeln!(f, "    and {} more", backtrace.dropped())?;
                }
                write!(f, "  end: {}", reason(*end))?;
            }
            // The boundary to user mode is a kernel's.
            _ => continue,
        }
        if *times > 1 {
            write!(f, "  {times} times")?;
        }
        writeln!(f)?;
    }
    Ok(())
}

/// What the end of a walk means.
fn reason(end: End) -> &'static str {
    match end {
        End::Reliable => "the outermost frame",
        End::InnermostMayBeMissing(_) | End::FrameMayBeMissing(_) => {
            "the outermost frame; functions built without frame pointers are not shown"
        }
        End::TooLong => "more frames or stacks than a report has room for",
        _ => "a function built without frame pointers, or the outermost frame of a C library",
    }
}

/// Writes a report to standard error, with a buffer on the stack. Usable in a handler of signals.
pub(crate) fn tell(report: &OverflowReport) {
    let mut lines = Lines::to(|portion| write_all(portion, to_standard_error));
    // It cannot fail: `Lines` does not.
    let _done = write(&mut lines, report);
    lines.flush();
}

/// The system's call.
fn to_standard_error(text: &[u8]) -> isize {
    // SAFETY: (1) the bytes are the text's.
    unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) }
}

/// Writes all of a text by a function that says how much it has taken; up to where it takes none.
fn write_all(mut text: &[u8], write: impl Fn(&[u8]) -> isize) {
    while !text.is_empty() {
        match usize::try_from(write(text)) {
            Ok(written @ 1..) => text = text.get(written..).unwrap_or_default(),
            _ => break,
        }
    }
}

/// Bytes that are written at once.
const PORTION: usize = 512;

/// Text in portions, each written when it is full.
struct Lines<Out> {
    buffer: [u8; PORTION],
    length: usize,
    out: Out,
}

impl<Out: FnMut(&[u8])> Lines<Out> {
    const fn to(out: Out) -> Self {
        Self { buffer: [0; PORTION], length: 0, out }
    }

    /// Writes what is left.
    fn flush(&mut self) {
        (self.out)(&self.buffer[..self.length]);
        self.length = 0;
    }
}

impl<Out: FnMut(&[u8])> Write for Lines<Out> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut text = text.as_bytes();
        while !text.is_empty() {
            let free = &mut self.buffer[self.length..];
            let (now, rest) = text.split_at(text.len().min(free.len()));
            free[..now.len()].copy_from_slice(now);
            self.length += now.len();
            text = rest;
            if self.length == PORTION {
                self.flush();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
