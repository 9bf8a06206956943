//! The first use of a stack by a CPU, where a CPU may fault on a page that has just been mapped:
//! see `ABSENT_IS_REMEMBERED`.

use crate::tests::{Outcome, check};
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use kstack::cache::CACHE_STACKS;
use kstack::first_frame::Start;
use machine::arch::cpu;
use machine::cpus;
use threads::{sched, stacks, time};

/// How long the threads may take before they are waited for asleep.
const MAX_TICKS: u64 = 2500;

/// Threads that ran on a CPU that was not coherent with their stack.
static ASTRAY: AtomicU32 = AtomicU32::new(0);

extern "C" fn end(_: usize) {
    let record = sched::current().stack_record();
    if cpu::without_interrupts(|| record.needs_flush(cpus::this().id())) {
        ASTRAY.fetch_add(1, Ordering::Relaxed);
    }
    sched::exit_current()
}

/// More threads than stacks are parked, so that some stacks are mapped now; none of them has run
/// when it is looked at. Red if the CPU that builds the first frame writes to a stack that it has
/// not made itself coherent with: then no CPU is. Red if one runs on a stack without that.
pub fn t5_s1_the_cpu_that_builds_a_first_frame_is_coherent_with_the_stack() -> Outcome {
    const FRESH: usize = 8;
    let parked = stacks::depot_counts().0 as usize + CACHE_STACKS * cpus::online().count();
    let (mut threads, mut built_on) = (Vec::new(), Vec::new());
    for _ in 0..parked + FRESH {
        let start = Start::Kernel { function: end, argument: 0 };
        let thread = sched::create_unstarted("first frame", None, start);
        threads.push(thread.map_err(|error| format!("{error:?}"))?);
        built_on.push(cpu::without_interrupts(|| cpus::this().id()));
    }
    let is_alone = |thread: &sched::Thread| {
        let record = thread.stack_record();
        cpus::online().all(|cpu| record.needs_flush(cpu.id()))
    };
    let alone = threads.iter().filter(|thread| is_alone(thread)).count();
    for thread in &threads {
        sched::start(thread);
    }
    // Without sleeping: this CPU is busy, so that others take them.
    let give_up = time::ticks() + MAX_TICKS;
    while !threads.iter().all(|thread| thread.is_reaped()) && time::ticks() < give_up {
        core::hint::spin_loop();
    }
    for thread in &threads {
        thread.join();
    }
    let elsewhere =
        threads.iter().zip(&built_on).filter(|(thread, built_on)| thread.last_cpu() != **built_on);
    let elsewhere = elsewhere.count();
    let astray = ASTRAY.swap(0, Ordering::Relaxed);
    check!(elsewhere > 0 || cpus::online().count() == 1, "all ran where they were built");
    check!(astray == 0, "{astray} of {} ran where they were not coherent", threads.len());
    check!(alone == 0, "no CPU is coherent with {alone} of {} stacks", threads.len());
    Ok(())
}
