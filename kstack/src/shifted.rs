//! The handlers of calls from user mode, as far down their stack as the CPU's offset says
//! ([`kstack_core::offset`]).
//!
//! With an offset of zero, and so in a kernel that never stirs one, the handler is called as it
//! would be without this file. With another it is called on "another stack" which is the same one,
//! further down: its frames have a frame record of [`call_on_stack`]'s above them, which the
//! unwinder follows as any other.

use crate::arch::current::call::call_on_stack;
use crate::arch::current::regs::SavedRegs;
use crate::arch::current::this_cpu;
use crate::hooks::hooks;
use kstack_core::addr::Addr;

/// A system call.
#[inline(always)]
pub(crate) fn syscall(regs: &mut SavedRegs) {
    let offset = this_cpu::this().entry_offset().bytes().get();
    if offset == 0 {
        return (hooks().syscall)(regs);
    }
    shift(offset, carry_out, core::ptr::from_mut(regs) as usize);
}

extern "C" fn carry_out(regs: usize, _: usize) {
    // SAFETY: (1) `syscall`'s own reference, handed through the call.
    (hooks().syscall)(unsafe { &mut *(regs as *mut SavedRegs) });
}

/// An exception of a program's.
struct Exception<'a> {
    vector: u8,
    fault: Addr,
    regs: &'a mut SavedRegs,
}

/// An exception in user mode.
pub(crate) fn user_exception(vector: u8, fault: Addr, regs: &mut SavedRegs) {
    let offset = this_cpu::this().entry_offset().bytes().get();
    if offset == 0 {
        return (hooks().user_exception)(vector, fault, regs);
    }
    let mut exception = Exception { vector, fault, regs };
    shift(offset, raise, &raw mut exception as usize);
}

extern "C" fn raise(exception: usize, _: usize) {
    // SAFETY: (1) `user_exception`'s own, which waits for this function, handed through the call.
    let exception = unsafe { &mut *(exception as *mut Exception<'_>) };
    (hooks().user_exception)(exception.vector, exception.fault, exception.regs);
}

/// Calls it so many bytes below SP.
#[inline(always)]
fn shift(offset: usize, callee: extern "C" fn(usize, usize), first: usize) {
    let top = (this_cpu::sp() - offset - BELOW) & !15;
    // SAFETY: (1) below everything that is on this stack, and near its top: the entry came from
    // user mode; (2) both callees return, or end their thread, which gives up the whole stack; (3)
    // an interrupt finds SP on the thread's stack, as it is.
    unsafe { call_on_stack(first, 0, callee, top) };
}

/// What [`call_on_stack`] itself puts below SP before it moves it, and more.
const BELOW: usize = 64;
