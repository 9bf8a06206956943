//! Programs in the background of their terminal: who reads, writes or changes it is stopped.

use crate::abi::signals::Signal;
use crate::error::Errno;
use crate::files::console::{self, Console};
use crate::files::open::OpenFile;
use crate::files::pty::Slave;
use crate::process::sending::send;
use crate::process::{current, current_task, table};
use core::sync::atomic::Ordering;

/// A read (SIGTTIN) or a write (SIGTTOU) of a terminal from its background: see
/// [`check_background`].
pub(super) fn not_in_background(file: &OpenFile, signal: Signal) -> Result<(), Errno> {
    let Some(object) = file.object() else { return Ok(()) };
    let (holder, stops_output) = if let Some(slave) = object.of_kind::<Slave>() {
        (slave.holder(), slave.stops_output())
    } else if object.of_kind::<Console>().is_some() {
        (console::holder(), console::stops_output())
    } else {
        return Ok(());
    };
    if signal == Signal::TTOU && !stops_output {
        return Ok(());
    }
    check_background(holder.session, holder.foreground, signal)
}

/// Stops the caller's group by a signal, if it is in the background of its terminal; the call is
/// made again then. One that ignores or blocks the signal reads nothing, but may write; one that
/// nothing would continue may neither (`EIO`): `__tty_check_change`.
pub(super) fn check_background(session: u64, foreground: u64, signal: Signal) -> Result<(), Errno> {
    let process = current();
    let group = process.group.load(Ordering::Relaxed);
    let is_its_own = process.session.load(Ordering::Relaxed) == session;
    if !is_its_own || foreground == 0 || foreground == group {
        return Ok(());
    }
    let is_ignored = process.signals.lock().actions.get(signal).ignores(signal);
    if is_ignored || current_task().signals.lock().blocked.contains(signal) {
        return if signal == Signal::TTIN { Err(Errno::EIO) } else { Ok(()) };
    }
    if table::is_orphaned(process) {
        return Err(Errno::EIO);
    }
    send::to_group(group, signal);
    Err(Errno::ERESTARTSYS)
}
