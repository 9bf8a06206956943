//! What a new program and a new thread have of those that made them: `inheritance NAME`. Status 0
//! if it is what Linux gives.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use user::arch::{self, THREAD_FLAGS, nr};
use user::calls::{Calls, call, sleep_milliseconds, status_of};
use user::must;

user::entry!(main);

const EBADF: isize = -9;
const CLOSE_ON_EXEC: usize = 0o2_000_000;
/// Clone flags: tell the parent, tell the child.
const PARENT_WORD: usize = 0x10_0000;
const CHILD_WORD: usize = 0x100_0000;
/// Clone flag: a thread pointer of its own.
const SET_POINTER: usize = 0x8_0000;
const HANDLED: usize = 10;
const IGNORED: usize = 12;
const SOME_HANDLER: usize = 0x1230;
const IGNORE: usize = 1;
/// Bytes of a set of signals.
const SET: usize = 8;

/// A `struct sigaction`, or more: the handler comes first.
type Action = [usize; 8];

fn handler(calls: &Calls, signal: usize) -> usize {
    let mut action: Action = [0; 8];
    call(calls.number("rt_sigaction"), [signal, 0, action.as_mut_ptr().addr(), SET]);
    action[0]
}

fn handle(calls: &Calls, signal: usize, handler: usize) -> isize {
    let action: Action = [handler, 0, 0, 0, 0, 0, 0, 0];
    call(calls.number("rt_sigaction"), [signal, action.as_ptr().addr(), 0, SET])
}

/// The program before: two pipes, one of them to be closed by execve; a signal with a handler, and
/// one that is ignored.
fn before(calls: &Calls) -> i32 {
    let mut pipes = [[0_u32; 2]; 2];
    let made = pipes.each_mut().map(|pipe| pipe.as_mut_ptr().addr());
    must!(call(nr::PIPE2, [made[0], CLOSE_ON_EXEC]) == 0, "a pipe that execve closes");
    must!(call(nr::PIPE2, [made[1], 0]) == 0, "a pipe");
    must!(pipes == [[3, 4], [5, 6]], "descriptors are not the lowest free ones");
    must!(handle(calls, HANDLED, SOME_HANDLER) == 0, "sigaction");
    must!(handle(calls, IGNORED, IGNORE) == 0, "sigaction");
    let child = user::fork();
    if child == 0 {
        must!(call(calls.number("set_tid_address"), [WORDS[0].as_ptr().addr()]) > 0, "a word");
        must!(handler(calls, HANDLED) == SOME_HANDLER, "a child lost its parent's handler");
        let argv = [c"inheritance".as_ptr().addr(), c"after".as_ptr().addr(), 0];
        let path = c"/kstack/bin/inheritance".as_ptr().addr();
        call(nr::EXECVE, [path, argv.as_ptr().addr(), 0]);
        return 5;
    }
    must!(child > 0 && status_of(child) == 0, "what the new program found");
    must!(call(nr::CLOSE, [3]) == 0, "the parent's own descriptor is closed");
    0
}

/// The program after.
fn after(calls: &Calls) -> i32 {
    for closed in [3, 4] {
        must!(call(nr::CLOSE, [closed]) == EBADF, "execve left what it should close");
    }
    for open in [5, 6] {
        must!(call(nr::CLOSE, [open]) == 0, "execve closed what it should leave");
    }
    must!(handler(calls, HANDLED) == 0, "execve left a handler of the old program");
    must!(handler(calls, IGNORED) == IGNORE, "execve forgot what is ignored");
    // The word that the old program wanted cleared at this thread's end is at an address of the new
    // one's.
    WORDS[0].store(7, Ordering::SeqCst);
    let numbers = ["getpid", "tgkill"].map(|name| calls.number(name));
    NUMBERS.iter().zip(numbers).for_each(|(place, number)| place.store(number, Ordering::SeqCst));
    let top = STACK.0.as_ptr_range().end.addr();
    must!(arch::clone_and_call(THREAD_FLAGS, top, [0; 3], last_thread) > 0, "no thread");
    loop {
        call(nr::EXIT, [0]);
    }
}

/// The numbers of `getpid` and `tgkill`.
static NUMBERS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// Waits for the end of the first thread, and looks at the word.
extern "C" fn last_thread() -> ! {
    const ESRCH: isize = -3;
    let [getpid, tgkill] = NUMBERS.each_ref().map(|number| number.load(Ordering::SeqCst));
    let process = call(getpid, [0]) as usize;
    let ended = (0..3000).any(|_| {
        sleep_milliseconds(5);
        call(tgkill, [process, process, 0]) == ESRCH
    });
    let kept = WORDS[0].load(Ordering::SeqCst) == 7;
    user::exit(if !ended {
        6
    } else if kept {
        0
    } else {
        7
    })
}

static WORDS: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];
static SEEN: AtomicUsize = AtomicUsize::new(0);

#[repr(align(16))]
struct Stack([AtomicUsize; 512]);

static STACK: Stack = Stack([const { AtomicUsize::new(0) }; 512]);

extern "C" fn thread() -> ! {
    SEEN.store(1 + WORDS[1].load(Ordering::SeqCst) as usize, Ordering::SeqCst);
    loop {
        call(nr::EXIT, [0]);
    }
}

/// Both words have a new thread's number, the child's before its first instruction.
fn words() -> i32 {
    let top = STACK.0.as_ptr_range().end.addr();
    let [parents, childs] = WORDS.each_ref().map(|word| word.as_ptr().addr());
    let words = [parents, childs, 0];
    let made = arch::clone_and_call(THREAD_FLAGS | PARENT_WORD | CHILD_WORD, top, words, thread);
    must!(made > 0, "no thread");
    must!(WORDS[0].load(Ordering::SeqCst) == made as u32, "the parent's word");
    let mut turns = 0;
    while SEEN.load(Ordering::SeqCst) == 0 && turns < 1_000_000 {
        user::yield_now();
        turns += 1;
    }
    must!(SEEN.load(Ordering::SeqCst) == 1 + made as usize, "the child's word");
    0
}

/// What the pointers of two threads lead to: the first one's, which is also the first thread of the
/// process's, and the second one's.
static POINTED: [AtomicUsize; 2] = [AtomicUsize::new(0x1111), AtomicUsize::new(0x2222)];
static POINTER_STACKS: [Stack; 2] = [const { Stack([const { AtomicUsize::new(0) }; 512]) }; 2];

/// Says what its pointer leads to, from its first look on and across switches.
extern "C" fn pointing_thread() -> ! {
    let first = arch::pointed_at();
    let kept = (0..100).all(|_| {
        user::yield_now();
        arch::pointed_at() == first
    });
    SEEN.store(if kept { first } else { usize::MAX }, Ordering::SeqCst);
    loop {
        call(nr::EXIT, [0]);
    }
}

/// A thread that is given a pointer has that one, one that is not has its parent's, and the parent
/// keeps its own.
fn pointers() -> i32 {
    arch::point_to(&POINTED[0]);
    for (flag, stack, expected) in
        [(SET_POINTER, &POINTER_STACKS[0], &POINTED[1]), (0, &POINTER_STACKS[1], &POINTED[0])]
    {
        SEEN.store(0, Ordering::SeqCst);
        let mut area = [0; 4];
        let words = [0, 0, arch::pointer_argument(&POINTED[1], &mut area)];
        let top = stack.0.as_ptr_range().end.addr();
        let made = arch::clone_and_call(THREAD_FLAGS | flag, top, words, pointing_thread);
        must!(made > 0, "no thread");
        let mut turns = 0;
        while SEEN.load(Ordering::SeqCst) == 0 && turns < 1_000_000 {
            user::yield_now();
            turns += 1;
        }
        let seen = SEEN.load(Ordering::SeqCst);
        must!(seen == expected.load(Ordering::SeqCst), "a new thread's pointer leads elsewhere");
        must!(arch::pointed_at() == POINTED[0].load(Ordering::SeqCst), "the parent's own pointer");
    }
    0
}

fn main() -> i32 {
    let Some(name) = user::only_argument() else { return 2 };
    let Ok(calls) = Calls::read() else { return 3 };
    match name {
        b"execve" => before(&calls),
        b"after" => after(&calls),
        b"words" => words(),
        b"pointers" => pointers(),
        _ => 2,
    }
}
