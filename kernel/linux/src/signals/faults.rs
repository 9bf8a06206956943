//! Faults and exceptions of programs, and the signals they become.

use crate::abi::signals::{SIGBUS, SIGFPE, SIGILL, SIGKILL, SIGSEGV, SIGTRAP};
use crate::memory::space::Bad;
use crate::process::current;
use crate::process::exit::{kill_current, tell};
use machine::arch::exceptions::UserFault;

/// A page fault in user mode: fills the page, copies it, grows the stack; or the process dies.
pub fn on_user_fault(address: u64, write: bool, exec: bool) {
    let process = current();
    let result = match process.memory() {
        Some(memory) => memory.lock().fault(address, write, exec).map(|_| ()),
        None => Err(Bad::Address),
    };
    let signal = match result {
        Ok(()) => return,
        Err(Bad::Address) => SIGSEGV,
        Err(Bad::NoMemory) => {
            let (id, name) = (process.id, process.name());
            tell(format_args!("out of memory: process {id} ({name}) is killed"));
            SIGKILL
        }
    };
    kill_current(signal as i32)
}

/// An exception in user mode: the signal that Linux has for it.
pub fn on_user_exception(fault: UserFault) {
    kill_current(match fault {
        UserFault::Instruction => SIGILL,
        UserFault::Trap => SIGTRAP,
        UserFault::Bus => SIGBUS,
        UserFault::Arithmetic => SIGFPE,
        UserFault::Page { .. } | UserFault::Protection => SIGSEGV,
    } as i32)
}
