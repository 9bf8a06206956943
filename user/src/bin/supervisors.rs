//! Calls that a filter leaves to a supervisor (seccomp_unotify(2)), as on Linux: what it hears of
//! them, what it can answer, and what becomes of a call without one. The supervisor is the first
//! thread, the calls are made by another one of the same process. Status 0 if all is as on Linux.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use user::arch::nr;
use user::calls::{Calls, call, read_file, sleep_milliseconds};
use user::memory::child;
use user::must;
use user::signals::Numbers;

user::entry!(main);

const EINTR: isize = -4;
const EBADF: isize = -9;
const ENOENT: isize = -2;
const EFAULT: isize = -14;
const EBUSY: isize = -16;
const EINVAL: isize = -22;
const ENOSYS: isize = -38;
const EINPROGRESS: isize = -115;
const SIGUSR1: usize = 10;

/// The answer of the filter: ask the supervisor.
const ASK: u32 = 0x7fc0_0000;
const ALLOW: u32 = 0x7fff_0000;

/// Flags of a filter.
const FOR_ALL: usize = 1;
const LISTENS: usize = 8;
const NAMES_NONE: usize = 0x10;
const PATIENT: usize = 0x20;

/// Requests.
const RECEIVE: usize = 0xc050_2100;
const ANSWER: usize = 0xc018_2101;
const IS_TOLD: usize = 0x4008_2102;
const GIVE: usize = 0x4018_2103;
const GIVE_MORE: usize = 0xc020_2103;

/// What a poll sees.
const IN: u32 = 1;
const OUT: u32 = 4;
const HUP: u32 = 0x10;

/// Numbers that the thread needs, and its filter's flags.
static SECCOMP: AtomicUsize = AtomicUsize::new(0);
static GETPPID: AtomicUsize = AtomicUsize::new(0);
static FLAGS: AtomicUsize = AtomicUsize::new(0);
/// What the thread has: its number and its listener. 0: not yet.
static THREAD: AtomicIsize = AtomicIsize::new(0);
static LISTENER: AtomicIsize = AtomicIsize::new(0);
/// Calls that it is to make, that it has made, and what the last one gave.
static WANTED: AtomicUsize = AtomicUsize::new(0);
static MADE: AtomicUsize = AtomicUsize::new(0);
static RESULT: AtomicIsize = AtomicIsize::new(0);
/// More than it is ever asked to make: it ends.
const END: usize = usize::MAX;

fn add(seccomp: usize, getppid: usize, flags: usize) -> isize {
    let steps: [[u32; 2]; 4] = [[0x20, 0], [0x15 | 1 << 24, getppid as u32], [6, ASK], [6, ALLOW]];
    let program = [steps.len(), steps.as_ptr().addr()];
    call(seccomp, [1, flags, program.as_ptr().addr()])
}

extern "C" fn caller() -> ! {
    let getppid = GETPPID.load(Ordering::Relaxed);
    THREAD.store(call(nr::GETTID, [0; 0]), Ordering::SeqCst);
    let listener = add(SECCOMP.load(Ordering::Relaxed), getppid, FLAGS.load(Ordering::Relaxed));
    LISTENER.store(listener, Ordering::SeqCst);
    loop {
        match WANTED.load(Ordering::SeqCst) {
            END => break,
            wanted if wanted > MADE.load(Ordering::SeqCst) => {
                RESULT.store(call(getppid, [11, 12, 13, 14, 15, 16]), Ordering::SeqCst);
                MADE.fetch_add(1, Ordering::SeqCst);
            }
            _ => sleep_milliseconds(1),
        }
    }
    call(nr::EXIT, [0]);
    loop {
        core::hint::spin_loop();
    }
}

/// A thread with a listener.
struct Caller {
    ioctl: usize,
    ppoll: usize,
    listener: usize,
}

impl Caller {
    fn new(calls: &Calls, flags: usize) -> Option<Self> {
        const OF_THREADS: usize = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000;
        FLAGS.store(flags, Ordering::Relaxed);
        let stack = user::memory::map(0, 4 * 4096, 3, 0) as usize;
        user::arch::clone_and_call(OF_THREADS, stack + 4 * 4096, [0; 3], caller);
        while LISTENER.load(Ordering::SeqCst) == 0 {
            sleep_milliseconds(1);
        }
        let listener = usize::try_from(LISTENER.load(Ordering::SeqCst)).ok()?;
        Some(Self { ioctl: calls.number("ioctl"), ppoll: calls.number("ppoll"), listener })
    }

    fn ask<T>(&self, request: usize, of: &T) -> isize {
        call(self.ioctl, [self.listener, request, core::ptr::from_ref(of).addr()])
    }

    /// The thread makes a call more.
    fn begin(&self) {
        WANTED.fetch_add(1, Ordering::SeqCst);
    }

    /// What the last call gave, once that has been made.
    fn result(&self) -> isize {
        while MADE.load(Ordering::SeqCst) != WANTED.load(Ordering::SeqCst) {
            sleep_milliseconds(1);
        }
        RESULT.load(Ordering::SeqCst)
    }

    fn receive(&self) -> Result<[u64; 10], isize> {
        let mut notice = [0_u64; 10];
        let at = (&raw mut notice).expose_provenance();
        match call(self.ioctl, [self.listener, RECEIVE, at]) {
            0 => Ok(notice),
            error => Err(error),
        }
    }

    fn answer(&self, id: u64, value: u64, error: i32, flags: u32) -> isize {
        let last = u64::from(error as u32) | u64::from(flags) << 32;
        self.ask(ANSWER, &[id, value, last])
    }

    fn give(&self, id: u64, flags: u32, source: u32, number: u32) -> isize {
        let words = [u64::from(flags) | u64::from(source) << 32, u64::from(number)];
        self.ask(GIVE, &[id, words[0], words[1]])
    }

    fn events(&self) -> u32 {
        let mut asked = [self.listener as u32, IN | OUT];
        call(
            self.ppoll,
            [(&raw mut asked).expose_provenance(), 1, [0_usize; 4].as_ptr().addr(), 0, 0],
        );
        asked[1] >> 16
    }

    /// Waits until a poll sees this: the thread has come so far.
    fn until(&self, events: u32) {
        while self.events() != events {
            sleep_milliseconds(1);
        }
    }
}

fn rules(calls: &Calls) -> i32 {
    let (seccomp, getppid) = (calls.number("seccomp"), calls.number("getppid"));
    let mut sizes = [0_u16; 3];
    must!(call(seccomp, [3, 0, (&raw mut sizes).expose_provenance()]) == 0, "the sizes");
    must!(sizes == [80, 24, 64], "what they are");
    must!(call(seccomp, [3, 1, 0]) == EINVAL, "the sizes, with a flag");
    let action = ASK;
    must!(call(seccomp, [2, 0, (&raw const action).addr()]) == 0, "the action is there");
    must!(add(seccomp, getppid, FOR_ALL | LISTENS) == EINVAL, "a listener for all");
    must!(add(seccomp, getppid, PATIENT) == EINVAL, "patience without a listener");
    must!(call(seccomp, [1, LISTENS, 0]) == EFAULT, "a listener of no filter");
    let second = child(|| {
        let first = add(seccomp, getppid, FOR_ALL | LISTENS | NAMES_NONE);
        let second = add(seccomp, getppid, LISTENS);
        i32::from(first < 0) + 2 * i32::from(second != EBUSY)
    });
    must!(second == 0, "a second listener");
    let alone = child(|| {
        let added = add(seccomp, getppid, 0);
        i32::from(added != 0) + 2 * i32::from(call(getppid, [0; 0]) != ENOSYS)
    });
    must!(alone == 0, "a call that nobody hears of");
    0
}

fn answers(calls: &Calls) -> i32 {
    let Some(caller) = Caller::new(calls, LISTENS) else { return 2 };
    must!(caller.events() == 0, "nothing to hear of");
    caller.begin();
    caller.until(IN);
    let filled = [0_u64, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    must!(caller.ask(RECEIVE, &filled) == EINVAL, "room that is in use");
    let Ok(notice) = caller.receive() else { return 3 };
    let thread = THREAD.load(Ordering::SeqCst) as u64;
    let number = GETPPID.load(Ordering::Relaxed) as u64;
    must!(notice[1] == thread, "who made the call");
    must!(notice[2] & 0xffff_ffff == number && notice[4..] == [11, 12, 13, 14, 15, 16], "which");
    let id = notice[0];
    must!(caller.events() == OUT, "an answer is due");
    must!(caller.ask(IS_TOLD, &id) == 0, "it waits");
    must!(caller.answer(id.wrapping_add(1), 0, 0, 0) == ENOENT, "another's answer");
    must!(caller.answer(id, 0, 0, 2) == EINVAL, "a flag that there is not");
    must!(caller.answer(id, 1, 0, 1) == EINVAL, "a call that is made, and a value");
    must!(MADE.load(Ordering::SeqCst) == 0, "it still waits");
    must!(caller.answer(id, 77, 0, 0) == 0 && caller.result() == 77, "a value");
    must!(caller.ask(IS_TOLD, &id) == ENOENT, "it waits no more");
    for (error, flags, wanted) in [(-5, 0, -5), (0, 1, call(nr::GETPPID, [0; 0]))] {
        caller.begin();
        let Ok([id, ..]) = caller.receive() else { return 4 };
        must!(caller.answer(id, 0, error, flags) == 0, "an answer");
        must!(caller.result() == wanted, "an error; the call itself");
    }
    must!(caller.ask(0x2109, &0) == EINVAL, "a request that there is not");
    0
}

fn descriptors(calls: &Calls) -> i32 {
    let Some(caller) = Caller::new(calls, LISTENS) else { return 2 };
    let fcntl = calls.number("fcntl");
    let close = |number: isize| call(nr::CLOSE, [number as usize]);
    caller.begin();
    let Ok([id, ..]) = caller.receive() else { return 3 };
    must!(caller.give(id, 4, 1, 0) == EINVAL, "a flag that there is not");
    must!(caller.give(id, 0, 1, 9) == EINVAL, "a number that is not asked for");
    must!(caller.give(id, 0, 700, 0) == EBADF, "a descriptor that is not there");
    must!(caller.give(id.wrapping_add(1), 0, 1, 0) == ENOENT, "for a call that there is not");
    must!(caller.ask(GIVE_MORE, &[id, 0, 0, 1]) == -7, "what is behind it");
    let given = caller.give(id, 0, 1, 0);
    must!(given > 2 && call(fcntl, [given as usize, 1]) == 0, "a descriptor");
    must!(caller.give(id, 1, 1, 600) == 600, "one of a number");
    must!(close(given) == 0 && close(600) == 0, "they are there");
    must!(MADE.load(Ordering::SeqCst) == 0, "it still waits");
    let answer = caller.give(id, 2, 1, 0);
    must!(answer > 2 && caller.result() == answer, "one that is the answer");
    must!(caller.give(id, 0, 1, 0) == ENOENT, "for one that is answered");
    must!(close(answer) == 0, "it is there");
    // The thread may be anywhere between one descriptor and the next.
    for _ in 0..200 {
        caller.begin();
        let Ok([id, ..]) = caller.receive() else { return 4 };
        must!(caller.give(id, 1, 1, 600) == 600, "one after the other");
        let answer = caller.give(id, 2, 1, 0);
        must!(answer > 2 && caller.result() == answer, "the second one is the answer");
        must!(close(answer) == 0, "they are there");
    }
    0
}

extern "C" fn nothing(_: usize, _: usize, _: usize) {}

fn interrupted(calls: &Calls) -> i32 {
    let Some(numbers) = Numbers::read() else { return 2 };
    numbers.handle(SIGUSR1, nothing, 0, 0);
    let Some(caller) = Caller::new(calls, LISTENS) else { return 2 };
    let send = || {
        let thread = THREAD.load(Ordering::SeqCst) as usize;
        call(nr::TGKILL, [call(nr::GETPID, [0; 0]) as usize, thread, SIGUSR1])
    };
    caller.begin();
    let Ok([id, ..]) = caller.receive() else { return 3 };
    must!(send() == 0 && caller.result() == EINTR, "a call that a signal cuts short");
    must!(caller.answer(id, 0, 0, 0) == ENOENT && caller.events() == 0, "it waits no more");
    caller.begin();
    let Ok([id, ..]) = caller.receive() else { return 4 };
    must!(call(nr::CLOSE, [caller.listener]) == 0, "the supervisor goes");
    must!(caller.result() == ENOSYS, "a call without one");
    caller.begin();
    must!(caller.result() == ENOSYS && id != 0, "and the next one");
    0
}

/// What /proc says that the thread does.
fn state() -> u8 {
    let mut path = *b"/proc/thread-self/../0000000000/stat\0";
    let mut number = THREAD.load(Ordering::SeqCst) as usize;
    for digit in path[21..31].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    // The number stands without zeros before it.
    let zeros = path[21..31].iter().take_while(|&&digit| digit == b'0').count();
    path[21..].rotate_left(zeros);
    let mut text = [0; 256];
    let Ok(path) = core::ffi::CStr::from_bytes_until_nul(&path) else { return 0 };
    let length = read_file(path, &mut text).unwrap_or(0);
    let end = text[..length].iter().rposition(|&byte| byte == b')').unwrap_or(0);
    text[end + 2]
}

fn patient(calls: &Calls) -> i32 {
    let Some(numbers) = Numbers::read() else { return 2 };
    numbers.handle(SIGUSR1, nothing, 0, 0);
    let Some(caller) = Caller::new(calls, LISTENS | PATIENT) else { return 2 };
    let send = || {
        let thread = THREAD.load(Ordering::SeqCst) as usize;
        call(nr::TGKILL, [call(nr::GETPID, [0; 0]) as usize, thread, SIGUSR1])
    };
    caller.begin();
    caller.until(IN);
    must!(send() == 0 && caller.result() == EINTR, "a call that is not heard of yet");
    caller.begin();
    let Ok([id, ..]) = caller.receive() else { return 3 };
    must!(send() == 0, "a signal for one that is");
    sleep_milliseconds(20);
    must!(MADE.load(Ordering::SeqCst) == 1 && caller.ask(IS_TOLD, &id) == 0, "it still waits");
    must!(state() == b'D', "as one that no signal ends");
    must!(caller.answer(id, 5, 0, 0) == 0 && caller.result() == 5, "its answer");
    must!(caller.answer(id, 5, 0, 0) == ENOENT, "and no other");
    caller.begin();
    let Ok([id, ..]) = caller.receive() else { return 4 };
    must!(caller.answer(id, 5, 0, 0) == 0, "an answer");
    must!([ENOENT, EINPROGRESS].contains(&caller.answer(id, 6, 0, 0)), "a second one");
    must!(caller.result() == 5, "the first one counts");
    WANTED.store(END, Ordering::SeqCst);
    caller.until(HUP);
    must!(caller.receive() == Err(ENOENT), "there is none any more");
    0
}

fn main() -> i32 {
    let Some(named) = user::only_argument() else { return 2 };
    let Ok(calls) = Calls::read() else { return 2 };
    SECCOMP.store(calls.number("seccomp"), Ordering::Relaxed);
    GETPPID.store(calls.number("getppid"), Ordering::Relaxed);
    match named {
        b"rules" => rules(&calls),
        b"answers" => answers(&calls),
        b"descriptors" => descriptors(&calls),
        b"interrupted" => interrupted(&calls),
        b"patient" => patient(&calls),
        _ => 2,
    }
}
