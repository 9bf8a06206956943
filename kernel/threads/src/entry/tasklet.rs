//! Tasklets: functions that an interrupt handler has run right after it, as a softirq, each on one
//! CPU at a time.
//!
//! | state | schedule | the softirq |
//! | --- | --- | --- |
//! | idle | in this CPU's list, scheduled | - |
//! | scheduled | nothing: it runs once | running, not scheduled |
//! | running (anywhere) | in this CPU's list, scheduled and running | another CPU's: back into the list, for the next round |
//! | running, at its end | | idle, or scheduled as it was |
//!
//! A tasklet runs on the CPU that scheduled it, in the order of scheduling.

use super::softirq::{self, Softirq};
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU8, Ordering};
use machine::arch::cpu;
use machine::cpus::{self, MAX_CPUS};

/// A function to run after an interrupt.
#[derive(Debug)]
pub struct Tasklet {
    function: fn(),
    state: AtomicU8,
    /// The one that was scheduled before, in the same list.
    next: AtomicPtr<Self>,
}

const SCHEDULED: u8 = 1;
const RUNNING: u8 = 2;

/// Each CPU's list, the last one first. Used by its CPU only, with interrupts off.
static LISTS: [AtomicPtr<Tasklet>; MAX_CPUS] =
    [const { AtomicPtr::new(ptr::null_mut()) }; MAX_CPUS];

impl Tasklet {
    /// A tasklet that runs a function.
    pub const fn new(function: fn()) -> Self {
        Self { function, state: AtomicU8::new(0), next: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Has it run once more, soon, on this CPU. From a handler, a softirq or a thread.
    pub fn schedule(&'static self) {
        if self.state.fetch_or(SCHEDULED, Ordering::AcqRel) & SCHEDULED != 0 {
            return;
        }
        let is_thread = cpu::without_interrupts(|| {
            self.enter();
            let irq = cpus::this().local.irq.snapshot();
            irq.is_thread_context()
        });
        if is_thread {
            // Where it is raised nothing comes after that would run it: this does.
            softirq::disable_bottom_halves();
            softirq::enable_bottom_halves();
        }
    }

    /// Into this CPU's list. Interrupts off.
    fn enter(&'static self) {
        let list = &LISTS[cpus::this().id().index()];
        self.next.store(list.load(Ordering::Relaxed), Ordering::Relaxed);
        list.store(ptr::from_ref(self).cast_mut(), Ordering::Relaxed);
        softirq::raise(Softirq::Tasklet);
    }

    fn run(&'static self) {
        if self.state.fetch_or(RUNNING, Ordering::AcqRel) & RUNNING != 0 {
            return cpu::without_interrupts(|| self.enter());
        }
        self.state.fetch_and(!SCHEDULED, Ordering::AcqRel);
        (self.function)();
        self.state.fetch_and(!RUNNING, Ordering::AcqRel);
    }
}

/// The softirq: runs what is in this CPU's list.
pub(super) fn run_scheduled() {
    let mut last = cpu::without_interrupts(|| {
        LISTS[cpus::this().id().index()].swap(ptr::null_mut(), Ordering::Relaxed)
    });
    // The other way round: the first one first.
    let mut first = ptr::null_mut();
    // SAFETY: (1) null, or a `&'static Tasklet` that `enter` put into the list.
    while let Some(tasklet) = unsafe { last.cast_const().as_ref() } {
        last = tasklet.next.swap(first, Ordering::Relaxed);
        first = ptr::from_ref(tasklet).cast_mut();
    }
    // SAFETY: (1) as above.
    while let Some(tasklet) = unsafe { first.cast_const().as_ref() } {
        // Before it runs: it may enter a list again.
        first = tasklet.next.load(Ordering::Relaxed);
        tasklet.run();
    }
}
