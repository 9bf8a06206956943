//! Many at once: threads that overflow on all CPUs in the same moment, a softirq that never leaves
//! off, threads that are looked at while they come and go.

use super::support::{on_every_cpu, until};
use super::{Outcome, check};
use crate::provoke::{self, How};
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use machine::arch::cpu;
use machine::cpus;
use threads::entry::softirq::{self, Softirq};
use threads::report::{backtrace, overflow};
use threads::{sched, stacks, time};

/// Threads on all CPUs overflow in the same moment, many times. Red if what the entry code uses
/// until it knows where it is were not each CPU's own.
pub fn o1_o5_threads_that_overflow_at_once_are_each_ended_and_reported() -> Outcome {
    /// How long the others may take to get a CPU.
    const MAX_TICKS: u64 = 50;
    static READY: AtomicU32 = AtomicU32::new(0);
    static WANTED: AtomicU32 = AtomicU32::new(0);
    static BACK: AtomicU32 = AtomicU32::new(0);
    fn body(how: usize) {
        READY.fetch_add(1, Ordering::SeqCst);
        let began = time::ticks();
        while READY.load(Ordering::SeqCst) < WANTED.load(Ordering::SeqCst)
            && time::ticks() < began + MAX_TICKS
        {
            core::hint::spin_loop();
        }
        provoke::overflow_here(if how.is_multiple_of(2) {
            How::Recursion
        } else {
            How::GiantFrame
        });
        BACK.fetch_add(1, Ordering::Relaxed);
    }
    let n = cpus::online_count();
    WANTED.store(n, Ordering::SeqCst);
    BACK.store(0, Ordering::Relaxed);
    let census = stacks::census();
    for round in 0..12 {
        READY.store(0, Ordering::SeqCst);
        let before = overflow::contained_count();
        let mut threads = Vec::new();
        for number in 0..n as usize {
            let how = if round % 3 == 0 { number } else { 0 };
            let thread = sched::spawn_kernel("at once", body, how);
            threads.push(thread.map_err(|error| format!("{error:?}"))?);
        }
        for thread in &threads {
            thread.join();
            check!(!thread.has_stack(), "a stack was not taken back");
        }
        let ended = overflow::contained_count() - before;
        check!(ended == u64::from(n), "round {round}: {ended} of {n} contained");
    }
    check!(BACK.load(Ordering::Relaxed) == 0, "a thread came back");
    until("stacks are back", || stacks::census().live <= census.live)
}

/// A softirq that raises itself again each time it runs, on every CPU: threads, timers and sleepers
/// go on.
pub fn i3_i5_a_softirq_that_raises_itself_each_time_starves_no_thread() -> Outcome {
    const SLEEPS: u64 = 20;
    /// Of ten milliseconds, which are three ticks each and a start.
    const MAX_TICKS: u64 = 500;
    static RUNS: AtomicU64 = AtomicU64::new(0);
    static STOP: AtomicBool = AtomicBool::new(false);
    static WORK: AtomicU64 = AtomicU64::new(0);
    static LEAVE: AtomicBool = AtomicBool::new(false);
    fn work(_: usize) {
        while !LEAVE.load(Ordering::Relaxed) {
            WORK.fetch_add(1, Ordering::Relaxed);
            for _ in 0..1000 {
                core::hint::spin_loop();
            }
        }
    }
    STOP.store(false, Ordering::Relaxed);
    LEAVE.store(false, Ordering::Relaxed);
    softirq::set_probe(|| {
        RUNS.fetch_add(1, Ordering::Relaxed);
        for _ in 0..2000 {
            core::hint::spin_loop();
        }
        if !STOP.load(Ordering::Relaxed) {
            cpu::without_interrupts(|| softirq::raise(Softirq::Probe));
        }
    });
    let threads: Result<Vec<_>, _> =
        (0..cpus::online_count() + 2).map(|_| sched::spawn_kernel("work", work, 0)).collect();
    let threads = threads.map_err(|error| format!("{error:?}"))?;
    let raised = on_every_cpu(|_| {
        softirq::raise(Softirq::Probe);
        Ok(())
    });
    let (work_before, began) = (WORK.load(Ordering::Relaxed), time::ticks());
    for _ in 0..SLEEPS {
        time::sleep(10_000_000).map_err(|_| "killed")?;
    }
    let did = WORK.load(Ordering::Relaxed) - work_before;
    let (took, runs) = (time::ticks() - began, RUNS.load(Ordering::Relaxed));
    STOP.store(true, Ordering::Relaxed);
    LEAVE.store(true, Ordering::Relaxed);
    for thread in &threads {
        thread.join();
    }
    // What was raised last runs out.
    until("the softirq has run out", || {
        let before = RUNS.load(Ordering::Relaxed);
        let _slept = time::sleep(time::TICK);
        RUNS.load(Ordering::Relaxed) == before
    })?;
    softirq::set_probe(|| {});
    raised?;
    log!("  work {did}, {runs} runs in {took} ticks");
    check!(
        did > 100 && runs > 100,
        "threads did {did}, the softirq ran {runs} times in {took} ticks"
    );
    check!(took < MAX_TICKS, "{SLEEPS} sleeps of 10 ms took {took} ticks");
    Ok(())
}

/// Other CPUs look at the backtraces of threads that are born, recurse, give way and die: no fault,
/// no endless walk, every text ends with a reason.
pub fn b2_t8_backtraces_in_a_storm_of_threads_harm_nothing() -> Outcome {
    const TICKS: u64 = 500;
    static STOP: AtomicBool = AtomicBool::new(false);
    static LOOKS: AtomicU64 = AtomicU64::new(0);
    static ODD: AtomicU64 = AtomicU64::new(0);
    #[inline(never)]
    fn deep(depth: usize) -> usize {
        let frame = core::hint::black_box([depth; 6]);
        if depth == 0 {
            sched::yield_now();
            return frame[0];
        }
        let below = deep(depth - 1);
        if depth.is_multiple_of(7) {
            sched::yield_now();
        }
        below + core::hint::black_box(frame)[depth % 6]
    }
    fn mortal(depth: usize) {
        core::hint::black_box(deep(depth));
    }
    fn looker(_: usize) {
        while !STOP.load(Ordering::Relaxed) {
            for thread in sched::all() {
                if let Some(text) = backtrace::of_thread(&thread) {
                    LOOKS.fetch_add(1, Ordering::Relaxed);
                    if !text.contains("-- the end") && !text.contains("-- user mode") {
                        ODD.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            sched::yield_now();
        }
    }
    STOP.store(false, Ordering::Relaxed);
    let spawn = |name, body: fn(usize), n| {
        sched::spawn_kernel(name, body, n).map_err(|error| format!("{error:?}"))
    };
    let lookers: Result<Vec<_>, _> = (0..3).map(|_| spawn("looker", looker, 0)).collect();
    let lookers = lookers?;
    let census = stacks::census();
    let end = time::ticks() + TICKS;
    let mut made = 0;
    while time::ticks() < end {
        let threads: Result<Vec<_>, _> =
            (0..6).map(|number| spawn("mortal", mortal, 5 + number * 4)).collect();
        for thread in &threads? {
            thread.join();
            made += 1;
        }
    }
    STOP.store(true, Ordering::Relaxed);
    for thread in &lookers {
        thread.join();
    }
    let (looks, odd) = (LOOKS.load(Ordering::Relaxed), ODD.load(Ordering::Relaxed));
    log!("  {looks} looks at {made} threads, {odd} without an end");
    check!(looks > 20 && made > 20, "only {looks} looks at {made} threads");
    check!(odd == 0, "{odd} of {looks} backtraces had no end");
    until("stacks are back", || stacks::census().live <= census.live)
}
