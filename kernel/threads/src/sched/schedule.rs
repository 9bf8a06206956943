//! Leaving the CPU: what a thread that yields, sleeps, ends or is preempted does, and what runs
//! when no thread wants to.

use super::rank::is_in_use;
use super::run_queue::{
    enter_idle, has_waiting, is_any_idle, leave_idle, next_ready, push_back, push_preempted,
    push_ready,
};
use super::switch::{after_switch, current, current_arc, switch_to};
use super::thread::{State, Thread};
use super::urgency;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use machine::arch::cpu;
use machine::cpus;

/// Ends the running thread.
pub fn exit_current() -> ! {
    cpu::interrupts_off();
    let me = current();
    me.set_state(State::Dead);
    // Who waits for this end sees it only after the burial, which is what comes next on this CPU.
    // While no other CPU could run one of them before that, they are ready already, and this CPU
    // goes to the first of them without being idle in between.
    if !is_any_idle() {
        me.exited.wake_all();
    }
    leave_cpu();
    unreachable!("a dead thread was switched to")
}

/// Lets others run, if there are any.
pub fn yield_now() {
    cpu::without_interrupts(leave_cpu);
}

/// Keeps a thread to some CPUs. One that is on another one leaves it: at once if it is the caller,
/// with the next tick if not ([`is_where_it_may`]).
pub fn set_allowed(thread: &Thread, cpus: u64) {
    thread.allowed.store(cpus, Ordering::SeqCst);
    while core::ptr::eq(thread, current()) && !is_allowed_here() {
        yield_now();
    }
}

/// Whether a thread is on no CPU that it is kept from.
pub fn is_where_it_may(thread: &Thread) -> bool {
    !thread.is_on_cpu() || thread.may_run_on(thread.last_cpu())
}

/// Whether the running thread may stay on this CPU.
pub fn is_allowed_here() -> bool {
    cpu::without_interrupts(|| current().may_run_on(cpus::this().id()))
}

/// What an idle CPU does.
pub fn idle_loop() -> ! {
    loop {
        cpu::interrupts_off();
        let me = cpus::this().id();
        enter_idle(me);
        if has_waiting() {
            leave_idle(me);
            leave_cpu();
            cpu::interrupts_on();
        } else {
            cpu::wait_for_interrupt();
        }
    }
}

/// After an interrupt from the kernel, in thread context with interrupts off: gives the CPU to
/// another thread if it is that one's turn.
pub fn preempt() {
    if cpus::this().local.take_preemption_request() && current().state() == State::Running {
        leave_cpu_as::<true>();
    }
}

/// The rank that a thread needs to take the place of one that could run on: its own, or a higher
/// one if that has to leave and takes no turns.
fn least_after(prev: &Thread, is_preempted: bool) -> u8 {
    let cpu = cpus::this();
    let rank = prev.urgency.rank();
    if rank == 0 || !prev.may_run_on(cpu.id()) || urgency::is_spent(cpu) {
        return 0;
    }
    rank + u8::from(is_preempted && !urgency::is_turn_over(cpu.id(), prev))
}

/// Leaves the CPU to the next thread. Interrupts are off. A running thread goes to the end of the
/// run queue; a blocked or dead one does not.
#[inline]
pub(super) fn leave_cpu() {
    leave_cpu_as::<false>();
}

/// The same; whether the thread has to.
fn leave_cpu_as<const IS_PREEMPTED: bool>() {
    let cpu = cpus::this();
    let me = cpus::current_thread() as *const Thread;
    let idle = cpu.idle.load(Ordering::Relaxed) as *const Thread;
    // SAFETY: (1) the CPU's reference to the running thread.
    let prev = unsafe { &*me };
    let runnable = prev.state() == State::Running;
    let least = if runnable { least_after(prev, IS_PREEMPTED) } else { 0 };
    let next = match next_ready(me, least) {
        Some(next) => Arc::into_raw(next),
        None if runnable && prev.may_run_on(cpu.id()) => return,
        None => {
            // SAFETY: (1) the idle thread lives as long as the CPU.
            unsafe { Arc::increment_strong_count(idle) };
            idle
        }
    };
    if core::ptr::eq(next, me) {
        // Woken before it had left.
        prev.set_state(State::Running);
        // SAFETY: (1) the run queue's reference, taken out above; the CPU still has its own.
        drop(unsafe { Arc::from_raw(next) });
        return;
    }
    if runnable {
        prev.set_state(State::Ready);
        // The idle thread runs when no other is ready: it is not in the queue.
        if !core::ptr::eq(me, idle) {
            if IS_PREEMPTED && prev.urgency.rank() > 0 {
                push_preempted(current_arc());
            } else if prev.may_run_on(cpu.id()) {
                push_back(current_arc());
            } else {
                push_ready(current_arc());
            }
        }
    }
    if is_in_use() {
        // SAFETY: (1) the reference in `next`.
        urgency::note_running(cpu.id(), unsafe { &*next }.urgency.rank());
    }
    // SAFETY: (1) `next` carries the reference that this CPU now owns; (2) it is on no CPU
    // (`next_ready`, or our own idle thread, which runs here only); (3) interrupts are off.
    let left = unsafe { switch_to(cpu, (prev, runnable), &*next) };
    after_switch(left);
}
