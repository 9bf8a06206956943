//! A kernel for an i386 PC without a heap, a lock, or segment descriptors of its own: its pages,
//! its timer and its round robin are its own, its stacks are kstack's.
//!
//! Two threads that take turns, two that are preempted, an overflow that is survived, and one in
//! the timer's handler, which stops the machine with a report.

#![no_std]
#![no_main]

mod boot;
mod cell;
mod devices;
mod memory;
mod stacks;
mod tasks;

use core::hint::black_box;
use core::sync::atomic::{AtomicBool, Ordering};
use kstack::verdict::OverflowReport;
use stacks::{Task, critical};

/// Whether the next tick overflows its stack.
static OVERFLOW: AtomicBool = AtomicBool::new(false);
/// A thread spins, and no tick has said yet how it was reached.
static MAY_SAY: AtomicBool = AtomicBool::new(false);

/// Where the boot code enters Rust.
extern "C" fn boot_main() -> ! {
    devices::set_up();
    stacks::bring_up(main)
}

fn main(idle: &'static Task) -> ! {
    tasks::begin(idle);
    run(&[(1, takes_turns), (2, takes_turns)]);
    devices::start_timer();
    // SAFETY: the tables are loaded, and nothing here relies on interrupts being off.
    unsafe { kstack::interrupts::on() };
    run(&[(3, spins), (4, spins)]);
    run(&[(5, overflows)]);
    println!("the kernel continues");
    OVERFLOW.store(true, Ordering::Relaxed);
    loop {
        core::hint::spin_loop();
    }
}

/// Runs these threads to their ends.
fn run(threads: &[(usize, extern "C" fn(usize))]) {
    for &(number, function) in threads {
        let task = stacks::task(number, function);
        critical(|_| tasks::add(task));
    }
    while critical(|_| {
        tasks::give_way();
        tasks::clear()
    }) {}
}

extern "C" fn takes_turns(number: usize) {
    for turn in 1..=2 {
        println!("thread {number} turn {turn}");
        critical(|_| tasks::give_way());
    }
}

extern "C" fn spins(number: usize) {
    static FIRST: AtomicBool = AtomicBool::new(true);
    MAY_SAY.fetch_or(FIRST.swap(false, Ordering::Relaxed), Ordering::Relaxed);
    let until = devices::ticks() + 4;
    while devices::ticks() < until {
        core::hint::spin_loop();
    }
    println!("thread {number} was preempted");
}

extern "C" fn overflows(_: usize) {
    println!("{}", deeper(0));
}

#[expect(unconditional_recursion, reason = "the stack is to overflow")]
fn deeper(level: u32) -> u32 {
    let frame = black_box([level; 16]);
    deeper(level + 1) + frame[0]
}

/// In the timer's handler, on the IRQ stack.
fn on_tick() {
    if MAY_SAY.swap(false, Ordering::Relaxed) {
        println!("in the timer's handler:");
        stacks::say_backtrace();
    }
    if OVERFLOW.load(Ordering::Relaxed) {
        println!("{}", deeper(0));
    }
}

fn stop(report: &OverflowReport) -> ! {
    println!("{report}");
    devices::exit(OVERFLOW.load(Ordering::Relaxed))
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    println!("{info}");
    devices::exit(false)
}
