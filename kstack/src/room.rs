//! Room on a thread's stack for what cannot be given up half-way.
//!
//! A thread whose stack overflows is ended where it stands, if nothing but itself is half done
//! there (the table is in [`kstack_core::verdict`]). Where interrupts are off, the CPU's own words
//! are half done: the run queue, the switch, a cache of stacks. So nothing of that kind begins
//! without room for all of it, [`RESERVE`] bytes:
//!
//! ```text
//!   thread stack
//!   | frames of the thread                |
//!   |   ...                               |  above: interrupts may be turned off, an interrupt may come in
//!   |- - - - - - - - - - - - - - - - - - -|  lowest + RESERVE
//!   |   plain code, interrupts on         |  below: a thread that asks for either is ended first, with a report
//!   +-------------------------------------+  lowest
//!   | guard                               |
//! ```
//!
//! | where it is asked for | by | who is ended below the line |
//! | --- | --- | --- |
//! | interrupts are turned off by a thread | [`make_sure`] | the thread, before anything has changed |
//! | interrupts are turned off between `disable_bottom_halves` and its reverse | nothing: the former has asked for half as much again | - |
//! | an interrupt or exception comes in from the kernel | the entry code, before its first function | the thread; the interrupt is handled |
//! | the CPU or the entry code itself finds no room (PCs: a push that fails) | the double fault | the same |
//! | the switch | nothing: interrupts are off, so the room is there | - |
//!
//! What runs with interrupts off on a thread's stack must fit in RESERVE, an exception or NMI that
//! comes meanwhile and uses the same stack included. That it does is measured: the sweep of depth
//! (`o6_…` in the kernel's tests) begins each operation at every word around the line, and an
//! overflow with interrupts off stops the machine.

use crate::arch::current::{GEOMETRY, RESERVE, interrupts, this_cpu};

/// Interrupts have just been turned off by the running thread and nothing has been done yet:
/// continues only if there is room, or if they were off before.
///
/// Otherwise interrupts are on again, and the thread is ended as by an overflow right here.
#[inline(always)]
pub fn make_sure(were_on: bool) {
    make_sure_of::<0>(were_on);
}

/// The same for MORE bytes more: for a section that has others in it.
#[inline(always)]
pub(crate) fn make_sure_of<const MORE: usize>(were_on: bool) {
    // The first look costs two or three instructions and says no nearly always.
    if were_on
        && this_cpu::may_be_below_line::<MORE>()
        && left().wrapping_add(IN_GUARD) < RESERVE.get() + MORE + IN_GUARD
    {
        // The entry asks for RESERVE.
        interrupts::trap_without_room::<MORE>();
    }
}

/// How far below the stack SP may stand without a fault so far.
const IN_GUARD: usize =
    if interrupts::OFF_WRITES_TO_STACK { 0 } else { GEOMETRY.guard_below().get() };

/// Bytes left of the running thread's stack, where SP is on it; more than any stack has where it is
/// not. Interrupts off.
#[inline(always)]
pub fn left() -> usize {
    this_cpu::left_on_thread_stack()
}
