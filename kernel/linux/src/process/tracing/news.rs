//! A tracer is told that there is something to wait for.

use crate::abi::action::flag;
use crate::abi::signals::{Signal, code};
use crate::process::Process;
use crate::process::sending::send;
use crate::spaces::pid;

/// Sends a tracer SIGCHLD about a thread, unless it does not want to know, and ends its wait.
pub(super) fn tell(tracer: &Process, process: &Process, number: u64, (code, status): (i32, i32)) {
    let flags = tracer.signals.lock().actions.get(Signal::CHLD).flags;
    let is_end = code != code::CHILD_STOPPED && code != code::CHILD_TRAPPED;
    if is_end || flags & flag::NO_CHILD_STOP == 0 {
        let mut info = send::of_child(process, Signal::CHLD, code, status);
        info.change_sender(|[_, user]| [pid::local(&tracer.space, number) as u32, user]);
        let _told = send::to_process(tracer, info);
    }
    tracer.changed.wake_all();
}
