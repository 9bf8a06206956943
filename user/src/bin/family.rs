//! fork, vfork and a thread, each with the stack it should have; status 0 if all is as it should
//! be.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicUsize, Ordering};
use user::arch::{self, THREAD_FLAGS, VFORK_FLAGS, nr};
use user::calls::call;
use user::must;

user::entry!(main);

const MONOTONIC: usize = 1;

static SHARED: AtomicUsize = AtomicUsize::new(0);

#[repr(align(16))]
struct Stack([AtomicUsize; 512]);

static STACK: Stack = Stack([const { AtomicUsize::new(0) }; 512]);

/// The child sees the same address, and what it writes there stays its own.
fn forked() -> i32 {
    let mine = AtomicUsize::new(1);
    let child = user::fork();
    if child == 0 {
        let seen = mine.load(Ordering::Relaxed);
        mine.store(2, Ordering::Relaxed);
        SHARED.store(99, Ordering::Relaxed);
        // The address, to be compared: its page number in two parts would not fit a status; the low
        // byte does.
        user::exit(if seen == 1 && mine.load(Ordering::Relaxed) == 2 { 7 } else { 8 });
    }
    must!(child > 0, "fork failed");
    must!(user::wait() == Ok(7 << 8), "the child of fork did not see what it should");
    must!(mine.load(Ordering::Relaxed) == 1, "the child wrote to its parent's stack");
    must!(SHARED.load(Ordering::Relaxed) == 0, "the child wrote to its parent's data");
    0
}

/// The child runs on the parent's memory; the parent sleeps until it is done.
fn vforked() -> i32 {
    let child = arch::clone_that_ends(VFORK_FLAGS, 0, SHARED.as_ptr());
    must!(child > 0, "vfork failed");
    let seen = SHARED.load(Ordering::Relaxed);
    must!(seen != 0, "the child of vfork did not borrow the memory, or was not waited for");
    let here = (&raw const seen).addr();
    must!(seen.abs_diff(here) < 4096, "the child of vfork had another stack");
    must!(user::wait() == Ok(3 << 8), "the child of vfork ended otherwise");
    0
}

/// A thread runs on the stack it is given, in the same memory.
fn threaded() -> i32 {
    let top = STACK.0.as_ptr_range().end.addr();
    SHARED.store(0, Ordering::Relaxed);
    let child = arch::clone_that_ends(THREAD_FLAGS, top, SHARED.as_ptr());
    must!(child > 0, "clone failed");
    // Bounded: a thread that never comes is an error, not an endless wait.
    let mut turns = 0_u32;
    while SHARED.load(Ordering::Relaxed) == 0 && turns < 1_000_000 {
        user::yield_now();
        turns += 1;
    }
    must!(SHARED.load(Ordering::Relaxed) == top, "the thread did not run on its stack");
    0
}

/// Nanoseconds that it takes to make so many processes, each the child of the one before, and to
/// see all of them end.
fn line_of_descent(length: u32) -> Option<u64> {
    let now = || {
        let mut time = [0_usize; 2];
        let asked = [MONOTONIC, time.as_mut_ptr().addr()];
        (call(nr::CLOCK_GETTIME, asked) == 0).then(|| {
            let [seconds, rest] = core::hint::black_box(time);
            seconds as u64 * 1_000_000_000 + rest as u64
        })
    };
    let began = now()?;
    let mut left = length;
    let first = loop {
        match user::fork() {
            0 if left > 1 => left -= 1,
            0 => user::exit(5),
            child if left == length => break child,
            // Each tells what the one below it has told.
            child => user::exit(if child > 0 && user::wait() == Ok(5 << 8) { 5 } else { 6 }),
        }
    };
    let is_whole = first > 0 && user::wait() == Ok(5 << 8);
    is_whole.then_some(now()?.saturating_sub(began))
}

/// What an end costs does not grow with the number of ancestors, times that of all processes.
fn descended() -> i32 {
    const FEW: u32 = 400;
    /// Four times as many take 64 times as long if it does, and five times if not.
    const MOST: u64 = 20;
    let (Some(few), Some(many)) = (line_of_descent(FEW), line_of_descent(4 * FEW)) else {
        must!(false, "a line of processes is broken");
        return 1;
    };
    must!(many < MOST * few, "the ends of processes take too long");
    0
}

fn main() -> i32 {
    for part in [forked, vforked, threaded, descended] {
        if part() != 0 {
            return 1;
        }
    }
    0
}
