//! Interrupts and softirqs: on which stack, and when. `kstack_core::irq` decides; this carries it
//! out.
//!
//! | interrupt comes from | runs on | softirqs on the way out run on |
//! | --- | --- | --- |
//! | user mode | the thread stack, which is empty | the thread stack |
//! | a thread in the kernel | the IRQ stack | the IRQ stack |
//! | the IRQ stack (it came during a softirq) | the IRQ stack, further down | later: softirqs never nest |
//! | a thread that enables bottom halves again | - | the IRQ stack |
//! | the thread that too much is left to | - | its own stack, all but empty |
//!
//! Where softirqs have a stack of their own
//! ([`ArchLocal::softirq_top`](crate::arch::current::local::ArchLocal::softirq_top); i386), they
//! run there in every case, and an interrupt during them runs on the IRQ stack, which is free then.

use crate::arch::current::RESERVE;
use crate::arch::current::call::call_on_stack;
use crate::arch::current::regs::SavedRegs;
use crate::arch::current::{interrupts, this_cpu};
use crate::hooks::hooks;
pub use crate::irq_cell::IrqCell;
use crate::local::CpuLocal;
use crate::room;
pub use kstack_core::irq::{Again, IrqState, MAX_ROUNDS, RunOn};
use kstack_core::kind::StackKind;

/// An interrupt arrived. Interrupts off; `regs` on the stack it arrived on.
#[inline(always)]
pub(crate) fn on_interrupt(vector: u8, regs: &mut SavedRegs) {
    // SAFETY: (1) entry code: the CPU has loaded its block.
    let local = unsafe { CpuLocal::this() };
    crate::meter::sample(local, regs);
    if local.irq.with(|irq| irq.on_interrupt(regs.from_user())) == RunOn::CurrentStack {
        return on_current_stack(vector, regs);
    }
    let (vector, at) = (usize::from(vector), core::ptr::from_mut(regs) as usize);
    let outer = local.enter_own_stack(StackKind::Irq);
    // SAFETY: (1) the in-use mark has just been set, so the IRQ stack is empty and ours; (2)
    // `handle` returns.
    unsafe { call_on_stack(vector, at, handle, local.irq_top().get()) };
    local.leave_own_stack(outer);
    local.irq.with(IrqState::leave_irq_stack);
    run_softirqs_on_their_stack(local);
    if local.preemption_is_asked() {
        preempt(local, regs);
    }
}

/// An interrupt from user mode, or of the IRQ stack: it stays where it is. Not inlined: neither way
/// saves registers for the other.
#[inline(never)]
fn on_current_stack(vector: u8, regs: &mut SavedRegs) {
    handle(usize::from(vector), core::ptr::from_mut(regs) as usize);
    // SAFETY: (1) entry code: the CPU has loaded its block.
    run_softirqs_on_their_stack(unsafe { CpuLocal::this() });
}

/// Preempts the interrupted code now, if it may be preempted. Interrupts off, back on
/// the interrupted stack.
#[cold]
#[inline(never)]
fn preempt(local: &CpuLocal, regs: &SavedRegs) {
    if local.irq.with(|irq| irq.may_switch()) && regs.interrupts_are_on() {
        (hooks().preempt)();
    }
}

/// Does the work of an interrupt that the CPU has taken and whose entry found no room on a thread's
/// stack: the handler and the softirqs, on their stacks. Nothing is preempted. Interrupts off, on
/// what the thread has left of its stack; `regs` are those of the moment the interrupt was taken,
/// or of its entry.
///
/// Where the controller hears of an interrupt from its handler only, there is nothing to do: it
/// comes again.
pub fn complete(regs: &mut SavedRegs) {
    // SAFETY: (1) entry code: the CPU has loaded its block.
    let local = unsafe { CpuLocal::this() };
    if !local.irq.snapshot().is_thread_context() {
        return;
    }
    if let Some(vector) = (hooks().in_service)()
        && local.irq.with(|irq| irq.on_interrupt(false)) == RunOn::IrqStack
    {
        let (vector, at) = (usize::from(vector), core::ptr::from_mut(regs) as usize);
        let outer = local.enter_own_stack(StackKind::Irq);
        // SAFETY: (1) as in `on_interrupt`.
        unsafe { call_on_stack(vector, at, handle, local.irq_top().get()) };
        local.leave_own_stack(outer);
        local.irq.with(IrqState::leave_irq_stack);
        run_softirqs_on_their_stack(local);
    }
}

/// The handler, and the softirqs on the way out.
extern "C" fn handle(vector: usize, regs: usize) {
    // SAFETY: (1) `on_interrupt`'s own reference, handed through a call on another stack.
    let regs = unsafe { &mut *(regs as *mut SavedRegs) };
    (hooks().interrupt)(vector as u8, regs);
    // SAFETY: (1) entry code: the CPU has loaded its block.
    let local = unsafe { CpuLocal::this() };
    if local.arch.softirq_top().is_none() && local.irq.with(IrqState::on_handler_done) {
        run_softirqs_on_way_out(local);
    }
}

/// On the way out of an interrupt that leaves softirqs pending: runs them, if nothing else is under
/// way. Not inlined: an interrupt without softirqs tests no more than whether there are any.
#[inline(never)]
fn run_softirqs_on_way_out(local: &CpuLocal) {
    if local.irq.with(IrqState::start_softirqs) {
        run_rounds(local);
    } else {
        wake_thread(local);
    }
}

/// Tells the kernel that softirqs wait for the thread, if they do, and nothing that is under way
/// here does it later. Interrupts off.
#[cold]
#[inline(never)]
fn wake_thread(local: &CpuLocal) {
    let state = local.irq.snapshot();
    if state.wait_for_thread() != 0 && !state.in_softirq() && !state.bottom_halves_are_disabled() {
        (hooks().softirq_thread)();
    }
}

/// On the way out of an interrupt whose handler has left the IRQ stack: the softirqs, if they have
/// a stack of their own.
#[inline(always)]
fn run_softirqs_on_their_stack(local: &CpuLocal) {
    if let Some(top) = local.arch.softirq_top()
        && local.irq.with(IrqState::on_handler_done)
    {
        if local.irq.with(IrqState::start_softirqs) {
            let outer = local.enter_own_stack(StackKind::Softirq);
            // SAFETY: (1) softirqs never nest, and `start_softirqs` has just said that none are
            // running: their stack is empty and ours; (2) `run_softirqs` returns.
            unsafe { call_on_stack(0, 0, run_softirqs, top.get()) };
            local.leave_own_stack(outer);
        } else {
            wake_thread(local);
        }
    }
}

/// [`run_rounds`], on another stack.
extern "C" fn run_softirqs(_: usize, _: usize) {
    // SAFETY: (1) called from here only, where the CPU has loaded its block.
    run_rounds(unsafe { CpuLocal::this() });
}

/// Runs what is due, round after round, as the kernel allows. Interrupts off on entry and on
/// return.
#[inline(always)]
fn run_rounds(local: &CpuLocal) {
    let mut round = 0;
    while let Some(due) = local.irq.with(IrqState::next_softirqs) {
        run_with_interrupts(due);
        round += 1;
        if local.irq.with(|irq| irq.due()) != 0 && !runs_again(local, round) {
            break;
        }
    }
    if local.irq.with(|irq| irq.pending()) != 0 {
        wake_thread(local);
    }
}

/// Softirqs became due while others ran. False: enough of them, and the state says so.
#[cold]
#[inline(never)]
fn runs_again(local: &CpuLocal, round: u32) -> bool {
    let due = local.irq.with(|irq| irq.due());
    match (hooks().softirqs_again)(round, due) {
        Again::Now => return true,
        Again::InThread(softirqs) => local.irq.with(|irq| irq.leave_to_thread(softirqs)),
        _ => {}
    }
    local.irq.with(IrqState::stop_softirqs);
    false
}

/// Runs these. Interrupts off on entry and on return.
#[inline(always)]
fn run_with_interrupts(softirqs: u32) {
    // SAFETY: (1) in the kernel, with tables loaded; (2) the state says that softirqs run, and
    // nothing else is under way here.
    unsafe { interrupts::on() };
    (hooks().softirqs)(softirqs);
    // SAFETY: (1) as above; (2) the interrupt's end, or `without_interrupts`, turns them on again.
    unsafe { interrupts::mask() };
}

/// Leaves these softirqs, a bit mask, to the thread from now on, and no others: they never run on
/// the way out of an interrupt. On this CPU.
///
/// # Safety
///
/// 1. The CPU has loaded its block.
pub unsafe fn always_leave_to_thread(softirqs: u32) {
    without_interrupts(|_| (), |local| local.irq.with(|irq| irq.always_leave_to_thread(softirqs)));
}

/// Whether softirqs of this CPU wait for the thread: what it sleeps for.
///
/// # Safety
///
/// 1. The CPU has loaded its block, and the thread stays on it.
pub unsafe fn softirqs_wait_for_thread() -> bool {
    // SAFETY: (1) by the caller's promise.
    unsafe { CpuLocal::this() }.irq.snapshot().wait_for_thread() != 0
}

/// Has the thread that softirqs are left to run what is pending on this CPU, once, on the stack it
/// is on, which an interrupt meanwhile leaves for the IRQ stack. True: more became pending, and
/// others may have the CPU first. False: nothing is left, and interrupts see to softirqs again.
///
/// # Safety
///
/// 1. A thread calls this that stays on its CPU, with interrupts on and bottom halves enabled.
/// 2. The CPU has loaded its block.
pub unsafe fn run_softirqs_in_thread() -> bool {
    let mut more = false;
    without_interrupts(room::make_sure_of::<ROOM_FOR_MORE>, |local| {
        if let Some(softirqs) = local.irq.with(IrqState::start_softirqs_in_thread) {
            run_with_interrupts(softirqs);
        }
        more = local.irq.with(IrqState::end_softirqs_in_thread);
    });
    more
}

/// Marks a softirq, 0 to 31, as pending on this CPU. It runs on the way out of the interrupt, or
/// when bottom halves are enabled again.
///
/// # Safety
///
/// 1. Interrupts are off, and this is no NMI: the CPU's state is changed in several steps.
/// 2. The CPU has loaded its block.
#[inline(always)]
pub unsafe fn raise_softirq(number: u32) {
    if let Some(step) = this_cpu::ONE_STEP {
        return (step.raise)(1 << (number & 31));
    }
    // SAFETY: (1) by the caller's promise.
    unsafe { CpuLocal::this() }.irq.with(|irq| irq.raise(number));
}

/// The same for a thread, with interrupts on, that has bottom halves disabled: it runs when they
/// are enabled again.
///
/// # Safety
///
/// 1. Between [`disable_bottom_halves`] and [`enable_bottom_halves`].
/// 2. The CPU has loaded its block.
#[inline(always)]
pub unsafe fn raise_softirq_from_thread(number: u32) {
    if let Some(step) = this_cpu::ONE_STEP {
        return (step.raise)(1 << (number & 31));
    }
    // No look for room: `disable_bottom_halves` has made it, and the thread cannot be ended since.
    without_interrupts(|_| (), |local| local.irq.with(|irq| irq.raise(number)));
}

/// Keeps softirqs from running on this CPU until [`enable_bottom_halves`]; nests. The thread must
/// not sleep meanwhile.
///
/// # Safety
///
/// 1. A thread calls this, not an interrupt handler, a softirq or an NMI.
/// 2. The CPU has loaded its block, and has its IRQ stack.
#[inline(always)]
pub unsafe fn disable_bottom_halves() {
    // From here to the reverse the thread cannot be ended: room for an interrupt, and for what the
    // thread does.
    if let Some(step) = this_cpu::ONE_STEP {
        if this_cpu::may_be_below_line::<ROOM_FOR_MORE>() {
            make_sure_of_room_for_more();
        }
        return (step.disable_bottom_halves)();
    }
    without_interrupts(room::make_sure_of::<ROOM_FOR_MORE>, |local| {
        local.irq.with(IrqState::disable_bottom_halves);
    });
}

/// The longer look, with interrupts off, where the first one says "maybe". Nothing has begun: the
/// thread may be ended here.
#[cold]
#[inline(never)]
fn make_sure_of_room_for_more() {
    without_interrupts(room::make_sure_of::<ROOM_FOR_MORE>, |_| ());
}

/// The reverse. The outermost one runs what became pending, on the IRQ stack.
///
/// # Safety
///
/// 1. As for [`disable_bottom_halves`].
#[inline(always)]
pub unsafe fn enable_bottom_halves() {
    if let Some(step) = this_cpu::ONE_STEP
        && !(step.enable_bottom_halves)()
    {
        return;
    }
    // No look for room: `disable_bottom_halves` has made it, and what follows runs on another
    // stack.
    without_interrupts(
        |_| (),
        |local| {
            let run =
                local.irq.with(match (this_cpu::ONE_STEP.is_some(), local.arch.softirq_top()) {
                    (true, None) => IrqState::start_softirqs_of_thread,
                    (true, Some(_)) => IrqState::start_softirqs_beside_irq_stack,
                    (false, None) => IrqState::enable_bottom_halves,
                    (false, Some(_)) => IrqState::enable_bottom_halves_beside_irq_stack,
                });
            match local.arch.softirq_top() {
                Some(top) if run => {
                    let outer = local.enter_own_stack(StackKind::Softirq);
                    // SAFETY: (1) as in `run_softirqs_on_their_stack`; (2) `run_softirqs` returns.
                    unsafe { call_on_stack(0, 0, run_softirqs, top.get()) };
                    local.leave_own_stack(outer);
                }
                None if run => {
                    let outer = local.enter_own_stack(StackKind::Irq);
                    // SAFETY: (1) the state said yes and set the in-use mark: the IRQ stack is
                    // empty and ours; (2) `run_softirqs` returns.
                    unsafe { call_on_stack(0, 0, run_softirqs, local.irq_top().get()) };
                    local.leave_own_stack(outer);
                    local.irq.with(IrqState::leave_irq_stack);
                }
                _ if local.irq.with(|irq| irq.pending()) != 0 => wake_thread(local),
                _ => {}
            }
        },
    );
}

/// What a thread with bottom halves disabled must have left besides RESERVE: half as much again, as
/// a sum that one instruction of an arm can hold.
const ROOM_FOR_MORE: usize =
    (RESERVE.get() + RESERVE.get() / 2).next_multiple_of(16) - RESERVE.get();

/// Calls `look` with whether interrupts were on, then `body`.
#[inline(always)]
fn without_interrupts(look: impl FnOnce(bool), body: impl FnOnce(&'static CpuLocal)) {
    // SAFETY: (1) in the kernel, by the promise of the two callers; (2) turned on again below.
    let were_on = unsafe { interrupts::off() };
    look(were_on);
    // SAFETY: (1) likewise.
    body(unsafe { CpuLocal::this() });
    if were_on {
        // SAFETY: (1) as above; (2) they were on, and `body` is over.
        unsafe { interrupts::on() };
    }
}
