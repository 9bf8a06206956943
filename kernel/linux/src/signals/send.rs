//! What a signal does to a process. Handlers are not called yet: a signal with a handler, and one that is ignored, does
//! nothing; any other ends the process.

use crate::abi::signals::{SIGCHLD, SIGCONT, SIGKILL, SIGURG, SIGWINCH};
use crate::process::Process;
use crate::process::actions::{Action, handler};

/// Whether a signal ends a process that said this of it.
fn is_fatal(signal: u64, action: &Action) -> bool {
    const IGNORED_BY_DEFAULT: [u64; 4] = [SIGCHLD, SIGCONT, SIGURG, SIGWINCH];
    match handler(action) {
        0 => !IGNORED_BY_DEFAULT.contains(&signal),
        _ => signal == SIGKILL,
    }
}

/// Sends a signal to a process. The number must be one of those there are; 0 asks only whether the process is there.
pub(crate) fn send(process: &Process, signal: u64) {
    if signal == 0 {
        return;
    }
    let action = process.actions.lock().get(signal);
    if is_fatal(signal, &action) {
        process.crew.end(signal as i32);
    }
}
