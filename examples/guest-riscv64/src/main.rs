//! The kernel with kstack: everything it needs for that is in `stacks.rs` (and a count in
//! `lock.rs`), between marks.
#![no_std]
#![no_main]

extern crate alloc;

mod stacks;

use alloc::boxed::Box;
use core::hint::black_box;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use guest_riscv64::{entry, lock, power, println, timer};
use stacks::{TASKS, Task};

static TURNS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

extern "C" fn run(_: usize) {
    TASKS.run()
}

fn work() {
    for _ in 0..3 {
        TURNS[TASKS.current() - 1].fetch_add(1, Ordering::Relaxed);
        TASKS.give_way();
    }
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

fn start(tree: usize) -> ! {
    // SAFETY: once, with the firmware's argument.
    unsafe { guest_riscv64::init(tree) };
    stacks::bring_up(|idle| {
        TASKS.adopt(Task(Box::new(idle)));
        TASKS.spawn(run, work);
        TASKS.spawn(run, work);
        timer::start();
        lock::restore(true);
        TASKS.join_all();
        assert!(TURNS.iter().all(|turns| turns.load(Ordering::Relaxed) == 3));
        println!("two tasks took turns");

        TASKS.spawn(run, overflow);
        TASKS.spawn(run, || println!("another task continues"));
        TASKS.join_all();

        println!("in a task:");
        TASKS.spawn(run, stacks::say_backtrace);
        TASKS.join_all();
        timer::on_tick(tick_says_backtrace);
        let before = timer::ticks();
        while timer::ticks() < before + 2 {
            riscv::asm::wfi();
        }

        println!("an overflow on the IRQ stack:");
        power::expect_failure();
        timer::on_tick(overflow);
        loop {
            riscv::asm::wfi();
        }
    })
}
entry!(start);
