//! Stopping and continuing a process (job control).
//!
//! ```text
//!              a stop signal is taken          the last thread has stopped
//!   Running ─────────────────────────▶ Stopping ───────────────────────▶ Stopped      the parent is told
//!      ▲                                  │                                 │
//!      └──────────────────────────────────┴─────────────────────────────────┘
//!                             SIGCONT is sent, or all are killed
//! ```

use crate::abi::signals::Signal;
use crate::process::sending::send::note_stopped;
use crate::process::sending::shared_signals::Stop;
use crate::process::task;
use crate::process::tracing::halt;
use crate::process::{current, current_task};
use core::sync::atomic::Ordering;
use machine::arch::regs::SavedRegs;

/// The calling thread has taken a signal that stops its process: all its threads stop when they
/// come by, the caller too.
pub(super) fn begin(signal: Signal) {
    let process = current();
    process.crew.with(|threads| {
        threads.iter().filter_map(|thread| task::of(thread)).for_each(halt::stop_begins);
    });
    process.crew.notify_all(|_| {
        let mut signals = process.signals.lock();
        let is_taken = core::mem::take(&mut signals.is_stop_taken);
        if is_taken && signals.stop == Stop::Running {
            signals.stop = Stop::Stopping { signal };
        }
    });
}

/// Stops the calling thread for as long as its process is to be stopped.
pub(super) fn while_stopped(regs: &mut SavedRegs) {
    let (process, task) = (current(), current_task());
    let stop = process.signals.lock().stop;
    let (Stop::Stopping { signal } | Stop::Stopped { signal }) = stop else { return };
    task.is_stopped.store(true, Ordering::Relaxed);
    note_stopped(process);
    if !halt::at_stop(regs, signal) {
        // One that begins to be traced halts instead.
        let is_to_run = || process.signals.lock().stop == Stop::Running || task.is_traced();
        // Killed: it ends instead.
        let _killed = process.resumed.wait_unless_killed(is_to_run);
    }
    task.is_stopped.store(false, Ordering::Relaxed);
}
