//! What a thread has to do about signals before it goes to user mode.

use crate::abi::signals::SIGKILL;
use crate::process::exit::exit_thread;
use machine::arch::regs::SavedRegs;
use threads::sched;

/// Before user mode: does this thread have to die?
pub fn die_if_killed(_regs: &mut SavedRegs) {
    if sched::current().killed() {
        // What was decided counts; a thread alone is killed for a new program.
        exit_thread(SIGKILL as i32);
    }
}
