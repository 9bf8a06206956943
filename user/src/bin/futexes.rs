//! Threads that sleep on words: `futexes NAME`. `all`: status 0 if a wake-up reaches those who
//! sleep on that word of that process, and no others. `deep`: sleeps in processes of their own, one
//! after the other, while a test of the kernel sees to it that some of them have too little stack
//! for it; status 0 if each ended in one of the two ways. `moved`: signals to one who is to be
//! moved to a lock.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU32, Ordering};
use user::arch::{self, THREAD_FLAGS};
use user::calls::{Calls, call, sleep_milliseconds, status_of};
use user::must;
use user::signals::Numbers;

user::entry!(main);

// `FUTEX_WAIT_PRIVATE` and `FUTEX_WAKE_PRIVATE`: no other process sleeps on these words.
const WAIT: usize = 128;
const WAKE: usize = 129;
const EAGAIN: isize = -11;
const ETIMEDOUT: isize = -110;
/// Looks, a tick each, until something that must come is given up.
const MAX_LOOKS: usize = 3000;

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

fn start(stack: &Stack, entry: extern "C" fn() -> !) -> bool {
    arch::clone_and_call(THREAD_FLAGS, stack.0.as_ptr_range().end.addr(), [0; 3], entry) > 0
}

/// Wakes one who sleeps on the word, as soon as there is one.
fn wake_one() -> bool {
    (0..MAX_LOOKS).any(|_| {
        let woken = futex(&WORD, WAKE, 1, 0);
        if woken == 0 {
            sleep_milliseconds(5);
        }
        woken == 1
    })
}

fn woken_are(count: u32) -> bool {
    (0..MAX_LOOKS).any(|_| {
        let are = WOKEN.load(Ordering::SeqCst) == count;
        if !are {
            sleep_milliseconds(5);
        }
        are
    })
}

/// Wakes the one that sleeps on the word.
extern "C" fn waker() -> ! {
    let woken = wake_one();
    user::exit(if woken { 0 } else { 1 })
}

/// Processes that sleep once, until another thread of theirs wakes them.
fn deep() -> i32 {
    /// As many as the kernel's test has depths.
    const SLEEPS: usize = 180;
    const SIGSEGV: i32 = 11;
    let (mut came_back, mut killed) = (0, 0);
    for _ in 0..SLEEPS {
        let child = user::fork();
        if child == 0 {
            must!(start(&STACKS[0], waker), "no thread");
            return if futex(&WORD, WAIT, 0, 0) == 0 { 0 } else { 1 };
        }
        must!(child > 0, "no child");
        match status_of(child) {
            0 => came_back += 1,
            SIGSEGV => killed += 1,
            _ => {
                must!(false, "a sleep ended otherwise");
            }
        }
    }
    must!(came_back > 0 && killed > 0, "all ended in one way");
    0
}

extern "C" fn nothing(_: usize, _: usize, _: usize) {}

/// One sleeps on a word until it is moved to a lock. A signal before that has it sleep on; one
/// after it ends the call, since the lock's word may have changed.
fn moved(calls: &Calls) -> i32 {
    const LOCK: usize = 6;
    const WAIT_FOR_LOCK: usize = 11;
    const MOVE: usize = 12;
    const SHARED_ANONYMOUS: usize = 0x21;
    const SIGUSR1: usize = 10;
    let futex = FUTEX.load(Ordering::Relaxed) as usize;
    let (kill, mmap) = (calls.number("kill"), arch::nr::MMAP);
    let page = call(mmap, [0, 4096, 3, SHARED_ANONYMOUS, usize::MAX, 0]) as usize;
    let (word, lock) = (page, page + 8);
    let child = user::fork();
    if child == 0 {
        let Some(numbers) = Numbers::read() else { return 2 };
        numbers.handle(SIGUSR1, nothing, 0, 0);
        let result = call(futex, [word, WAIT_FOR_LOCK, 0, 0, lock, 0]);
        return if result == EAGAIN { 0 } else { 1 };
    }
    must!(call(futex, [lock, LOCK, 0, 0]) == 0, "the lock is taken");
    sleep_milliseconds(100);
    call(kill, [child as usize, SIGUSR1]);
    sleep_milliseconds(50);
    let is_moved = (0..100).any(|_| {
        let moved = call(futex, [word, MOVE, 1, 0, lock, 0]);
        if moved == 0 {
            sleep_milliseconds(5);
        }
        moved == 1
    });
    must!(is_moved, "a signal ended a sleep that it only interrupts");
    call(kill, [child as usize, SIGUSR1]);
    must!(status_of(child) == 0, "a signal did not end the wait for the lock");
    0
}

fn main() -> i32 {
    let stack = user::first_stack();
    // SAFETY: (1) argc and the pointers behind it are as the kernel laid them out; two arguments
    // were checked for.
    let name = unsafe {
        if *stack != 2 {
            return 2;
        }
        core::ffi::CStr::from_ptr(*stack.add(2) as *const core::ffi::c_char).to_bytes()
    };
    let Ok(calls) = Calls::read() else { return 3 };
    FUTEX.store(calls.number("futex") as u32, Ordering::Relaxed);
    match name {
        b"all" => all(),
        b"deep" => deep(),
        b"moved" => moved(&calls),
        _ => 2,
    }
}

fn all() -> i32 {
    // One who did not fall asleep, or has given up, is not there to be woken.
    must!(futex(&WORD, WAIT, 1, 0) == EAGAIN, "a sleep on another value");
    must!(futex(&WORD, WAKE, 1, 0) == 0, "one who did not fall asleep was woken");
    let time = [0_usize, 1_000_000];
    must!(futex(&WORD, WAIT, 0, time.as_ptr().addr()) == ETIMEDOUT, "a sleep of a millisecond");
    must!(futex(&WORD, WAKE, 1, 0) == 0, "one who has given up was woken");

    // As soon as it has been woken once, it was asleep, and soon will be again.
    must!(start(&STACKS[0], sleeper) && wake_one() && woken_are(1), "nobody sleeps");
    for _ in 0..50 {
        must!(futex(&OTHER, WAKE, 1, 0) == 0, "a sleeper on another word was woken");
        sleep_milliseconds(5);
    }
    let child = user::fork();
    if child == 0 {
        for _ in 0..50 {
            must!(futex(&WORD, WAKE, 1, 0) == 0, "a sleeper of another process was woken");
            sleep_milliseconds(5);
        }
        return 0;
    }
    must!(child > 0 && status_of(child) == 0, "the child has woken a sleeper of its parent");
    must!(WOKEN.load(Ordering::SeqCst) == 1, "a sleeper was woken by others");

    // Two sleep, and one at a time is woken.
    must!(start(&STACKS[1], sleeper), "no thread");
    for round in 2..20 {
        must!(wake_one() && woken_are(round), "two were woken in the place of one, or none");
    }
    0
}
