//! Faults and exceptions of programs, and the signals they become.

use super::deliver::force;
use crate::abi::signals::{Info, Signal, code};
use crate::memory::space::Bad;
use crate::process::current;
use crate::process::exit::{kill_current, tell};
use machine::arch::exceptions::UserFault;
use machine::arch::regs::SavedRegs;

/// A page fault in user mode: fills the page, copies it, grows the stack; or the program gets a signal.
pub fn on_user_fault(address: u64, write: bool, exec: bool) {
    let process = current();
    let result = match process.memory() {
        Some(memory) => memory.lock().fault(address, write, exec).map(|_| ()),
        None => Err(Bad::Address),
    };
    match result {
        Ok(()) => {}
        Err(Bad::Address) => {
            let mapped = process.memory().is_some_and(|memory| memory.lock().is_mapped(address));
            let code = if mapped { code::SEGV_ACCERR } else { code::SEGV_MAPERR };
            force(Info::fault(Signal::SEGV, code, address));
        }
        Err(Bad::Beyond) => force(Info::fault(Signal::BUS, code::BUS_ADDRESS, address)),
        Err(Bad::NoMemory) => {
            let (id, name) = (process.id, process.name());
            tell(format_args!("out of memory: process {id} ({name}) is killed"));
            kill_current(Signal::KILL)
        }
    }
}

/// An exception in user mode: the signal that Linux has for it.
pub fn on_user_exception(fault: UserFault, regs: &SavedRegs) {
    let at = crate::abi::program_counter(regs);
    force(match fault {
        UserFault::Instruction => Info::fault(Signal::ILL, code::ILLEGAL_OPCODE, at),
        UserFault::Trap => Info::fault(Signal::TRAP, code::TRAP_BREAKPOINT, at),
        UserFault::Bus => Info::fault(Signal::BUS, code::BUS_ALIGNMENT, at),
        UserFault::Arithmetic => Info::fault(Signal::FPE, code::FPE_DIVIDE, at),
        UserFault::Page { .. } | UserFault::Protection => Info::kernel(Signal::SEGV),
    });
}
