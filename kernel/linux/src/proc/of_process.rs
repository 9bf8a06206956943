//! Files of /proc about one process.

use crate::error::Errno;
use crate::process::{Process, current_arc, table};
use alloc::sync::Arc;
use core::fmt::{self, Write};
use core::sync::atomic::Ordering;
use machine::memory::fallible::Text;

pub(super) fn find(name: &str) -> Result<Arc<Process>, Errno> {
    if name == "self" {
        return Ok(current_arc());
    }
    let number = name.parse().map_err(|_| Errno::ENOENT)?;
    table::find(number).ok_or(Errno::ENOENT)
}

fn state(process: &Process) -> char {
    if process.status().is_some() {
        return 'Z';
    }
    if process.crew.is_on_a_cpu() { 'R' } else { 'S' }
}

pub(super) fn status(process: &Process, text: &mut Text) -> fmt::Result {
    writeln!(text, "Name:\t{}", process.name())?;
    writeln!(text, "State:\t{}", state(process))?;
    writeln!(text, "Pid:\t{}", process.id)?;
    writeln!(text, "PPid:\t{}", process.parent.load(Ordering::Relaxed))?;
    writeln!(text, "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0")?;
    writeln!(text, "Threads:\t{}", process.crew.count())
}

pub(super) fn stat(process: &Process, text: &mut Text) -> fmt::Result {
    write!(text, "{} ({}) {} ", process.id, process.name(), state(process))?;
    let number = |number: &core::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
    write!(text, "{} ", number(&process.parent))?;
    write!(text, "{} {}", number(&process.group), number(&process.session))?;
    // The other 46 fields.
    for _ in 0..46 {
        write!(text, " 0")?;
    }
    writeln!(text)
}

/// Where the process's threads are in the kernel.
pub(super) fn stack(process: &Process, text: &mut Text) -> fmt::Result {
    let me = threads::sched::current();
    for thread in process.crew.threads().map_err(|_| fmt::Error)? {
        if core::ptr::eq(&*thread, me) {
            threads::report::backtrace::print_here(text);
        } else if !threads::report::backtrace::print_thread(&thread, text) {
            text.write_str("running\n")?;
        }
    }
    Ok(())
}
