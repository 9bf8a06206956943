//! Faults and exceptions of programs.

use super::memory::Bad;
use super::{current, life};

const SIGKILL: i32 = 9;
const SIGSEGV: i32 = 11;

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
            life::tell(format_args!("out of memory: process {id} ({name}) is killed"));
            SIGKILL
        }
    };
    life::kill_current(signal)
}

/// Any other exception in user mode.
pub fn on_user_exception(signal: i32) {
    life::kill_current(signal)
}
