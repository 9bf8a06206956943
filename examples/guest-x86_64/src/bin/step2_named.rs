//! Step 2 of docs/adopting.md: an overflow has a name. The kernel's own double fault handler asks
//! which stack's guard it was.
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
use kstack::{addr::Addr, arena::Place};

static TASKS: Scheduler<Guarded> = Scheduler::new();

extern "C" fn run(_: usize) {
    TASKS.run()
}

/// Arithmetic, and one record: no lock, and nothing of the broken stack is read.
fn name(address: u64) {
    if let Place::GuardBelow { slot, distance } = STACKS.arena().place(Addr::new(address as usize))
        && let Some(stack) = STACKS.registry().record(slot).stack(STACKS.arena(), slot)
    {
        println!("overflow, {} bytes below the {stack}", distance.get());
    }
}

fn main(start_info: u64) -> ! {
    // SAFETY: once, with the boot code's argument.
    unsafe { guest_x86_64::init(start_info) };
    interrupts::load_tables();
    interrupts::on_double_fault(name);
    TASKS.adopt(Guarded::boot());
    exit::expect_failure();
    TASKS.join(TASKS.spawn(run, overflow::overflow));
    unreachable!("an overflow went unnoticed")
}
entry!(main);
