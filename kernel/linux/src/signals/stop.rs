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
use crate::process::current;
use crate::process::send::one_less;
use crate::process::shared_signals::Stop;

/// The calling thread has taken a signal that stops its process: all its threads stop when they come by, the caller too.
pub(super) fn begin(signal: Signal) {
    let process = current();
    process.crew.notify_all(|count| {
        let mut signals = process.signals.lock();
        if signals.stop == Stop::Running {
            signals.stop = Stop::Stopping { signal, left: count };
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
    one_less(process);
    // Killed: it ends instead.
    let _killed = process.resumed.wait_unless_killed(is_to_run);
}
