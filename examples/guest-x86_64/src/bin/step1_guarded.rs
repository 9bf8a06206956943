//! Step 1 of docs/adopting.md: guarded stacks. An overflow is a fault at once, and no longer
//! another task's damage.
#![no_std]
#![no_main]

extern crate alloc;

#[path = "parts/guarded.rs"]
mod guarded;
#[path = "parts/overflow.rs"]
mod overflow;

use guarded::{Guarded, STACKS};
use guest_x86_64::sched::Scheduler;
use guest_x86_64::{entry, exit, interrupts, println};

static TASKS: Scheduler<Guarded> = Scheduler::new();

extern "C" fn run(_: usize) {
    TASKS.run()
}

fn turns() {
    for turn in 1..=2 {
        println!("task {} turn {turn}", TASKS.current());
        TASKS.yield_now();
    }
}

fn main(start_info: u64) -> ! {
    // SAFETY: once, with the boot code's argument.
    unsafe { guest_x86_64::init(start_info) };
    interrupts::load_tables();
    TASKS.adopt(Guarded::boot());
    for task in [TASKS.spawn(run, turns), TASKS.spawn(run, turns)] {
        TASKS.join(task);
    }
    TASKS.join(TASKS.spawn(run, turns));
    println!("hits of the cache: {}", STACKS.cache_stats().hits);
    exit::expect_failure();
    TASKS.join(TASKS.spawn(run, overflow::overflow));
    unreachable!("an overflow went unnoticed")
}
entry!(main);
