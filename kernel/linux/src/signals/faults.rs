//! Faults and exceptions of programs, and the signals they become.

use super::deliver::force;
use crate::abi;
use crate::abi::signals::{Info, Signal, code};
use crate::memory::space::AccessError;
use crate::process::hardware::ports;
use crate::process::life::exit::{kill_current, tell};
use crate::process::{current, current_task};
use core::sync::atomic::Ordering;
use machine::arch::extras;
use machine::arch::regs::SavedRegs;
use threads::sched;

/// A page fault in user mode: fills the page, copies it, grows the stack; or the program gets a
/// signal.
pub fn on_user_fault(vector: u8, address: u64, regs: &SavedRegs, write: bool, exec: bool) {
    let process = current();
    let result = match process.memory() {
        Some(memory) if extras::is_shadow_access(vector, regs) => {
            memory.lock().shadow_fault(address).map(|_| ())
        }
        Some(memory) => memory.lock().fault(address, write, exec).map(|_| ()),
        None => Err(AccessError::Address),
    };
    match result {
        Ok(()) => {
            process.faults.fetch_add(1, Ordering::Relaxed);
        }
        Err(AccessError::Address) => {
            let mapped = process.memory().is_some_and(|memory| memory.lock().is_mapped(address));
            let code = if mapped { code::SEGV_ACCERR } else { code::SEGV_MAPERR };
            keep_trap(vector, address, regs);
            force(Info::fault(Signal::SEGV, code, address));
        }
        Err(AccessError::Beyond) => force(Info::fault(Signal::BUS, code::BUS_ADDRESS, address)),
        Err(AccessError::NoMemory) => {
            let (id, name) = (process.id, process.name());
            tell(format_args!("out of memory: process {id} ({name}) is killed"));
            kill_current(Signal::KILL)
        }
    }
}

/// An exception in user mode, or a breakpoint in the CPU: the signal that Linux has for it.
pub fn on_user_exception(vector: u8, address: u64, regs: &mut SavedRegs, is_breakpoint: bool) {
    if ports::try_again(vector, regs) {
        return;
    }
    keep_trap(vector, address, regs);
    let Some(floats) = sched::current().fpu() else { return };
    let info = abi::exception(vector, address, regs, &floats.snapshot());
    let code = if is_breakpoint { code::TRAP_HARDWARE } else { info.code };
    force(Info { code, ..info });
}

/// The way to user mode leads nowhere: the exception that the processor would have raised there.
pub fn on_return_fault(vector: u8, regs: &SavedRegs) {
    keep_trap(vector, 0, regs);
    let Some(floats) = sched::current().fpu() else { return };
    force(abi::exception(vector, 0, regs, &floats.snapshot()));
}

fn keep_trap(vector: u8, address: u64, regs: &SavedRegs) {
    let mut trap = current_task().trap.lock();
    *trap = abi::trap(vector, address, regs, *trap);
}
