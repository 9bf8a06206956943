//! The kernel with kstack: everything it needs for that is in `stacks.rs` (and a count in
//! `sync.rs`), between marks.
#![no_std]
#![no_main]

extern crate alloc;

mod stacks;

use alloc::boxed::Box;
use core::hint::black_box;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use guest_x86_64::{entry, exit, interrupts, println};
use stacks::{TASKS, Task};
use x86_64::instructions;

static TURNS: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

extern "C" fn run(_: usize) {
    TASKS.run()
}

/// Works without ever giving way, until the other one has worked too.
fn work<const ME: usize>() {
    while TURNS[1 - ME].load(Ordering::Relaxed) < 1000 || TURNS[ME].load(Ordering::Relaxed) < 1000 {
        TURNS[ME].fetch_add(1, Ordering::Relaxed);
    }
    println!("task {} saw both work", TASKS.current());
}

#[expect(unconditional_recursion, reason = "the stack is to overflow")]
fn deeper(level: u64) -> u64 {
    let frame = black_box([level; 16]);
    deeper(level + 1) + frame[0]
}

fn overflow() {
    black_box(deeper(0));
}

fn tick_says_backtrace() {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Ordering::Relaxed) {
        println!("in the timer's handler:");
        stacks::say_backtrace();
    }
}

fn start(start_info: u64) -> ! {
    // SAFETY: once, with the boot code's argument.
    unsafe { guest_x86_64::init(start_info) };
    stacks::bring_up(|idle| {
        TASKS.adopt(Task(Box::new(idle)));
        let tasks = [TASKS.spawn(run, work::<0>), TASKS.spawn(run, work::<1>)];
        instructions::interrupts::enable();
        for task in tasks {
            TASKS.join(task);
        }
        println!("two tasks ran, preempted by {} ticks", interrupts::ticks());

        let task = TASKS.spawn(run, overflow);
        TASKS.join(task);
        println!("the kernel continues without task {task}");

        println!("in a task:");
        TASKS.join(TASKS.spawn(run, stacks::say_backtrace));
        interrupts::on_tick(tick_says_backtrace);
        let before = interrupts::ticks();
        while interrupts::ticks() < before + 2 {
            instructions::hlt();
        }

        println!("an overflow on the IRQ stack:");
        exit::expect_failure();
        interrupts::on_tick(overflow);
        loop {
            instructions::hlt();
        }
    })
}
entry!(start);
