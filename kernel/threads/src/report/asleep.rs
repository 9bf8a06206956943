//! What can be told of a thread that sleeps: the functions it sleeps in, and with what registers
//! it left user mode.

use super::symbols;
use crate::sched::Thread;
use core::sync::atomic::{Ordering, fence};
use kstack::arch::current::switch::SwitchFrame;
use kstack::unwind::Step;
use kstack::{first_frame, unwind};
use machine::arch::regs::SavedRegs;

/// Calls `each` with the name of every function that a thread sleeps in, the innermost first.
/// `false`: it does not sleep, or did not all the while.
pub fn functions(thread: &Thread, mut each: impl FnMut(&'static str)) -> bool {
    // Its stack is borrowed until the walk is over: the thread may end meanwhile.
    let Some(stack) = thread.borrow_stack() else { return false };
    if thread.is_on_cpu() {
        return false;
    }
    let sp = thread.saved_sp();
    // SAFETY: (1) the stack is borrowed, so it is mapped; (2) a thread that is off its CPU has a
    // switch frame at its saved SP. If it starts running meanwhile, what is read is old, not wild.
    let frame = unsafe { (sp as *const SwitchFrame).read_volatile() };
    let mut tell = |pc: kstack::addr::Addr| {
        // The call is before the address that it returns to.
        if let Some(symbol) = symbols::lookup((pc.get() as u64).wrapping_sub(1)) {
            each(symbol.name);
        }
    };
    tell(frame.return_address());
    unwind::for_each_of(stack.registry(), stack.stack(), frame.fp(), |step| {
        if let Step::Caller(pc) = step {
            tell(pc);
        }
    });
    is_still(thread, sp)
}

/// The registers with which a thread that sleeps left user mode. `None`: it does not sleep, or
/// never was there.
pub fn user_regs(thread: &Thread) -> Option<SavedRegs> {
    let _borrowed = thread.borrow_stack()?;
    if thread.is_on_cpu() {
        return None;
    }
    let sp = thread.saved_sp();
    let at = first_frame::user_regs_at(thread.stack_range());
    // SAFETY: (1) the stack is borrowed, so it is mapped, and the registers' place is the
    // thread's; (2) if it starts running meanwhile, what was read is given to no caller, below.
    let regs = unsafe { (at.get() as *const SavedRegs).read_volatile() };
    (regs.from_user() && is_still(thread, sp)).then_some(regs)
}

/// The registers with which the caller left user mode. `None`: it never was there.
pub fn own_user_regs() -> Option<SavedRegs> {
    let at = first_frame::user_regs_at(crate::sched::current().stack_range());
    // SAFETY: (1) the caller's own stack, so it is mapped; (2) no other code changes them while the
    // caller is in the kernel.
    let regs = unsafe { (at.get() as *const SavedRegs).read_volatile() };
    regs.from_user().then_some(regs)
}

/// Whether a thread is where it was: what was read until now is of one sleep.
fn is_still(thread: &Thread, sp: usize) -> bool {
    fence(Ordering::Acquire);
    !thread.is_on_cpu() && thread.saved_sp() == sp
}
