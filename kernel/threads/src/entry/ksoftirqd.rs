//! The thread of each CPU that runs the softirqs which are too many for the way out of interrupts.
//!
//! On the way out of an interrupt, softirqs that become due again run again, but not without end:
//! after [`MAX_ROUNDS`], after [`MAX_TIME`], or when another thread is to have the CPU, the rest is
//! left to this thread, which takes its turns among the others. Meanwhile those softirqs do not run
//! on the way out of interrupts any more, unlike in Linux since 6.4: a storm leaves half of the CPU
//! to a thread that wants it. The timer's is never left: it ends by itself, and a sleeper is woken
//! in time under every load.
//!
//! With the boot option `threadirqs` all softirqs run in this thread, always.

use super::softirq::Softirq;
use crate::clock;
use crate::sched::{self, WaitQueue};
use alloc::format;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use kstack::irq::{self, Again, MAX_ROUNDS};
use machine::arch::cpu;
use machine::cpus::{self, MAX_CPUS};
use machine::options;

/// Nanoseconds for which softirqs run again and again on the way out of an interrupt.
pub const MAX_TIME: u64 = 2_000_000;

/// A CPU's thread.
struct Worker {
    /// It sleeps here until something is left to it.
    work: WaitQueue,
    /// When the rounds on the way out of an interrupt are over.
    end_of_rounds: AtomicU64,
    /// How often it had a turn.
    turns: AtomicU64,
    state: AtomicU8,
}

/// No thread: what is too much waits for the next interrupt.
const ABSENT: u8 = 0;
/// There is a thread.
const PRESENT: u8 = 1;

static WORKERS: [Worker; MAX_CPUS] = [const {
    Worker {
        work: WaitQueue::new(),
        end_of_rounds: AtomicU64::new(0),
        turns: AtomicU64::new(0),
        state: AtomicU8::new(ABSENT),
    }
}; MAX_CPUS];

/// Whether interrupts have threads: the boot option `threadirqs`.
pub fn is_forced() -> bool {
    options::has("threadirqs")
}

/// Starts the thread of the CPU this runs on, once it is up.
pub fn start() {
    let id = cpus::this().id();
    let started = sched::spawn_on(id, &format!("ksoftirqd/{id}"), run, id.index());
    started.expect("a thread at boot");
}

/// How often the thread of a CPU has had a turn.
pub fn turns(cpu: usize) -> u64 {
    WORKERS[cpu].turns.load(Ordering::Relaxed)
}

fn run(cpu: usize) {
    let worker = &WORKERS[cpu];
    if is_forced() {
        // SAFETY: (1) threads run on CPUs that are up.
        unsafe { irq::always_leave_to_thread(u32::MAX) };
    }
    worker.state.store(PRESENT, Ordering::Relaxed);
    loop {
        // SAFETY: (1) threads run on CPUs that are up, and this one on no other than its own.
        worker.work.wait_uninterruptibly(|| unsafe { irq::softirqs_wait_for_thread() });
        loop {
            worker.turns.fetch_add(1, Ordering::Relaxed);
            // SAFETY: (1) as above, with interrupts on and bottom halves enabled; (2) as above.
            if !unsafe { irq::run_softirqs_in_thread() } {
                break;
            }
            // An interrupt that asked for the CPU found softirqs there and left them alone.
            cpu::without_interrupts(sched::preempt);
        }
    }
}

/// The library asks what becomes of softirqs that became due while others ran. Interrupts off.
pub fn again(round: u32, due: u32) -> Again {
    let cpu = cpus::this();
    let worker = &WORKERS[cpu.id().index()];
    let now = clock::nanoseconds();
    if round == 1 {
        worker.end_of_rounds.store(now + MAX_TIME, Ordering::Relaxed);
    }
    let is_in_time = now < worker.end_of_rounds.load(Ordering::Relaxed);
    if round < MAX_ROUNDS && is_in_time && !cpu.local.preemption_is_asked() {
        return Again::Now;
    }
    let left = due & !(1 << Softirq::Timer as u32);
    if left == 0 || worker.state.load(Ordering::Relaxed) == ABSENT {
        Again::Later
    } else {
        Again::InThread(left)
    }
}

/// The library says that softirqs wait for the thread. Interrupts off.
pub fn wake() {
    WORKERS[cpus::this().id().index()].work.wake_all();
}
