//! Calls that a signal cut short: made again, continued, or ended with `EINTR` (signal(7),
//! "Interruption of system calls").
//!
//! | the call asked for | no handler runs | a handler with SA_RESTART | a handler without |
//! | --- | --- | --- | --- |
//! | ERESTARTNOINTR | again | again | again |
//! | ERESTARTSYS | again | again | EINTR |
//! | ERESTARTNOHAND | again | EINTR | EINTR |
//! | ERESTART_RESTARTBLOCK | continued, with the time that is left | EINTR | EINTR |

use crate::abi;
use crate::abi::action::{Action, flag};
use crate::error::{Errno, SysResult};
use crate::process::current_task;
use crate::process::task::Continuation;
use machine::arch::regs::SavedRegs;
use threads::sched;

/// A call asks for one of them. What becomes of it is decided before user mode, which the thread is
/// told not to go past.
#[cold]
pub(crate) fn note(regs: &mut SavedRegs, error: Errno) {
    abi::set_result(regs, Errno::EINTR.as_result());
    current_task().interruption.set(error);
    sched::current_arc().notify();
}

/// Keeps how the call continues.
pub(crate) fn continue_later(continuation: Continuation) -> Errno {
    *current_task().continuation.lock() = Some(continuation);
    Errno::ERESTART_RESTARTBLOCK
}

/// A handler is about to run.
pub(super) fn for_handler(regs: &mut SavedRegs, asked: Errno, action: &Action) {
    let again = match asked {
        Errno::ERESTARTNOINTR => true,
        Errno::ERESTARTSYS => action.flags & flag::RESTART != 0,
        _ => false,
    };
    if again {
        abi::rewind_call(regs);
    } else {
        abi::set_result(regs, Errno::EINTR.as_result());
    }
}

/// No handler runs.
pub(super) fn without_handler(regs: &mut SavedRegs, asked: Errno) {
    abi::rewind_call(regs);
    if asked == Errno::ERESTART_RESTARTBLOCK {
        abi::set_number(regs, abi::RESTART_SYSCALL);
    }
}

/// restart_syscall: continues the call that was cut short.
pub(crate) fn restart_syscall() -> SysResult {
    let continuation = current_task().continuation.lock().take();
    match continuation {
        Some(continuation) => (continuation.run)(continuation),
        None => Err(Errno::EINTR),
    }
}
