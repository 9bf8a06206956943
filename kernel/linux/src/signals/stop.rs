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
use crate::process::{current, current_task};
use core::sync::atomic::Ordering;

/// The calling thread has taken a signal that stops its process: all its threads stop when they
/// come by, the caller too.
pub(super) fn begin(signal: Signal) {
    let process = current();
    process.crew.notify_all(|_| {
        let mut signals = process.signals.lock();
        let is_taken = core::mem::take(&mut signals.is_stop_taken);
        if is_taken && signals.stop == Stop::Running {
            signals.stop = Stop::Stopping { signal };
        }
    });
}

/// Stops the calling thread for as long as its process is to be stopped.
pub(super) fn while_stopped() {
    let process = current();
    let is_to_run = || process.signals.lock().stop == Stop::Running;
    if is_to_run() {
        return;
    }
    let is_stopped = &current_task().is_stopped;
    is_stopped.store(true, Ordering::Relaxed);
    note_stopped(process);
    // Killed: it ends instead.
    let _killed = process.resumed.wait_unless_killed(is_to_run);
    is_stopped.store(false, Ordering::Relaxed);
}
