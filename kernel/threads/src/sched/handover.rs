//! The bare switch between two threads, for measuring it: no queue, no decision.

use super::schedule::leave_cpu;
use super::switch::{after_switch, current, current_arc, switch_to};
use super::thread::{State, Thread};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use machine::arch::cpu;
use machine::cpus;

/// Blocks until `partner`, a new thread, calls [`hand_back`]. For measuring the bare switch.
pub fn hand_to_first(partner: &Arc<Thread>) {
    cpu::without_interrupts(|| {
        // A reference of its own: while it is blocked here, nothing else may hold one to this
        // thread.
        HANDED_FROM.store(Arc::into_raw(current_arc()).cast_mut(), Ordering::Relaxed);
        debug_assert!(partner.state() != State::Dead);
        current().set_state(State::Blocked);
        leave_cpu();
    });
}

static HANDED_FROM: AtomicPtr<Thread> = AtomicPtr::new(core::ptr::null_mut());

static SWITCH_BEGAN: AtomicU64 = AtomicU64::new(0);
static SWITCH_TOOK: AtomicU64 = AtomicU64::new(0);

/// What the last switch by [`hand_to`] took, from right before it in one thread to right after it
/// in the other.
pub fn last_switch_took() -> u64 {
    SWITCH_TOOK.load(Ordering::Relaxed)
}

/// What the two stamps of [`hand_to`] cost with nothing between them.
#[inline(never)]
pub fn stamps_alone() -> u64 {
    SWITCH_BEGAN.store(cpu::cycles(), Ordering::Relaxed);
    cpu::cycles() - SWITCH_BEGAN.load(Ordering::Relaxed)
}

/// Hands the CPU straight to `next`, which has handed it here: no queue, no decision.
pub fn hand_to(next: &Thread) {
    cpu::without_interrupts(|| {
        let me = current();
        me.set_state(State::Blocked);
        // SAFETY: (1) interrupts are off; `next` handed the CPU here, so it is on none; the
        // reference is made here, and dropped by the thread that it hands the CPU to.
        unsafe {
            Arc::increment_strong_count(core::ptr::from_ref(next));
            let cpu = cpus::this();
            SWITCH_BEGAN.store(cpu::cycles(), Ordering::Relaxed);
            let left = switch_to(cpu, (me, false), next);
            SWITCH_TOOK
                .store(cpu::cycles() - SWITCH_BEGAN.load(Ordering::Relaxed), Ordering::Relaxed);
            after_switch(left);
        }
    });
}

/// Hands the CPU back to the caller of [`hand_to`].
pub fn hand_back() {
    // SAFETY: (1) the thread that measures waits for us, so it lives.
    hand_to(unsafe { &*HANDED_FROM.load(Ordering::Relaxed) });
}
