//! Whom a wake-up on a word reaches: `futexes`. Status 0 if it is those who sleep on that word of that process, and no others.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU32, Ordering};
use user::arch::{self, THREAD_FLAGS};
use user::calls::{Calls, call, sleep_milliseconds, status_of};
use user::must;

user::entry!(main);

const WAIT: usize = 0;
const WAKE: usize = 1;
const EAGAIN: isize = -11;
const ETIMEDOUT: isize = -110;
/// Looks, a tick each, until something that must come is given up.
const MOST_LOOKS: usize = 3000;

static WORD: AtomicU32 = AtomicU32::new(0);
static OTHER: AtomicU32 = AtomicU32::new(0);
static FUTEX: AtomicU32 = AtomicU32::new(0);
static WOKEN: AtomicU32 = AtomicU32::new(0);

#[repr(align(16))]
struct Stack([AtomicU32; 1024]);

static STACKS: [Stack; 2] = [const { Stack([const { AtomicU32::new(0) }; 1024]) }; 2];

fn futex(word: &AtomicU32, operation: usize, value: usize, time: usize) -> isize {
    call(FUTEX.load(Ordering::Relaxed) as usize, [word.as_ptr().addr(), operation, value, time])
}

/// Sleeps on the word again and again, and counts how often it was woken.
extern "C" fn sleeper() -> ! {
    loop {
        if futex(&WORD, WAIT, 0, 0) == 0 {
            WOKEN.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn start(stack: &Stack) -> bool {
    arch::clone_and_call(THREAD_FLAGS, stack.0.as_ptr_range().end.addr(), [0; 2], sleeper) > 0
}

/// Wakes one who sleeps on the word, as soon as there is one.
fn wake_one() -> bool {
    (0..MOST_LOOKS).any(|_| {
        let woken = futex(&WORD, WAKE, 1, 0);
        if woken == 0 {
            sleep_milliseconds(1);
        }
        woken == 1
    })
}

fn woken_are(count: u32) -> bool {
    (0..MOST_LOOKS).any(|_| {
        let are = WOKEN.load(Ordering::SeqCst) == count;
        if !are {
            sleep_milliseconds(1);
        }
        are
    })
}

fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 3 };
    FUTEX.store(calls.number("futex") as u32, Ordering::Relaxed);

    // One who did not fall asleep, or has given up, is not there to be woken.
    must!(futex(&WORD, WAIT, 1, 0) == EAGAIN, "a sleep on another value");
    must!(futex(&WORD, WAKE, 1, 0) == 0, "one who did not fall asleep was woken");
    let time = [0_usize, 1_000_000];
    must!(futex(&WORD, WAIT, 0, time.as_ptr().addr()) == ETIMEDOUT, "a sleep of a millisecond");
    must!(futex(&WORD, WAKE, 1, 0) == 0, "one who has given up was woken");

    // As soon as it has been woken once, it was asleep, and soon will be again.
    must!(start(&STACKS[0]) && wake_one() && woken_are(1), "nobody sleeps");
    for _ in 0..50 {
        must!(futex(&OTHER, WAKE, 1, 0) == 0, "a sleeper on another word was woken");
        sleep_milliseconds(1);
    }
    let child = user::fork();
    if child == 0 {
        for _ in 0..50 {
            must!(futex(&WORD, WAKE, 1, 0) == 0, "a sleeper of another process was woken");
            sleep_milliseconds(1);
        }
        return 0;
    }
    must!(child > 0 && status_of(child) == 0, "the child has woken a sleeper of its parent");
    must!(WOKEN.load(Ordering::SeqCst) == 1, "a sleeper was woken by others");

    // Two sleep, and one at a time is woken.
    must!(start(&STACKS[1]), "no thread");
    for round in 2..20 {
        must!(wake_one() && woken_are(round), "two were woken in the place of one, or none");
    }
    0
}
