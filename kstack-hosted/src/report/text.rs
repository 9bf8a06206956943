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
    let mut lines = Lines { buffer: [0; 512], length: 0 };
    // It cannot fail: `Lines` does not.
    let _done = write(&mut lines, report);
    lines.flush();
}

/// Text for standard error, in portions.
struct Lines {
    buffer: [u8; 512],
    length: usize,
}

impl Lines {
    fn flush(&mut self) {
        let mut rest = &self.buffer[..self.length];
        while !rest.is_empty() {
            // SAFETY: (1) the bytes are the buffer's.
            let written =
                unsafe { libc::write(libc::STDERR_FILENO, rest.as_ptr().cast(), rest.len()) };
            match usize::try_from(written) {
                Ok(written) if written > 0 => rest = rest.get(written..).unwrap_or_default(),
                _ => break,
            }
        }
        self.length = 0;
    }
}

impl Write for Lines {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.as_bytes().chunks(self.buffer.len()) {
            if self.buffer.len() - self.length < part.len() {
                self.flush();
            }
            self.buffer[self.length..][..part.len()].copy_from_slice(part);
            self.length += part.len();
        }
        Ok(())
    }
}
