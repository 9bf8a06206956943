//! Processes as Linux has them: `kinds-of-processes NAME`. Status 0 if what a process is made with,
//! waits for, may use and shows of itself is what Linux gives.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU32, Ordering};
use user::calls::{Calls, call, read_file, status_of};
use user::must;

user::entry!(main);

const CHILD_SIGNAL: u64 = 17;
const FILES: u64 = 0x400;
const VM: u64 = 0x100;
const THREAD: u64 = 0x1_0000;
const SIGHAND: u64 = 0x800;
const NEW_PROCESSES: u64 = 0x2000_0000;
const EPERM: isize = -1;
const E2BIG: isize = -7;
const EBADF: isize = -9;
const ECHILD: isize = -10;
const EAGAIN: isize = -11;
const EEXIST: isize = -17;
const EINVAL: isize = -22;

/// The words of `struct clone_args`, and more than it has.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Arguments([u64; 16]);

impl Arguments {
    fn new(flags: u64, signal: u64) -> Self {
        let mut words = [0; 16];
        (words[0], words[4]) = (flags, signal);
        Self(words)
    }
}

fn clone3(calls: &Calls, arguments: &Arguments, bytes: usize) -> isize {
    call(calls.number("clone3"), [arguments.0.as_ptr().addr(), bytes])
}

fn clones(calls: &Calls) -> i32 {
    let plain = Arguments::new(0, CHILD_SIGNAL);
    must!(clone3(calls, &plain, 63) == EINVAL, "a structure that is too short");
    must!(clone3(calls, &plain, 4097) == E2BIG, "a structure of more than a page");
    let mut longer = plain;
    longer.0[11] = 1;
    must!(clone3(calls, &longer, 96) == E2BIG, "a structure with what is not known");
    for (words, what) in [
        (Arguments::new(CHILD_SIGNAL, 0), "a signal among the flags"),
        (Arguments::new(0, 65), "a signal that is none"),
        (Arguments::new(1 << 40, CHILD_SIGNAL), "a flag that is none"),
        (Arguments::new(THREAD, 0), "a thread without shared handlers"),
        (Arguments::new(SIGHAND, CHILD_SIGNAL), "shared handlers without shared memory"),
        (Arguments::new(NEW_PROCESSES | THREAD | SIGHAND | VM, 0), "a thread in a namespace"),
    ] {
        let made = clone3(calls, &words, 64);
        if made == 0 {
            return 0;
        }
        if made != EINVAL {
            let _ = user::write_all(1, what.as_bytes());
            return 1;
        }
    }
    let mut stack = plain;
    stack.0[5] = 4096;
    must!(clone3(calls, &stack, 64) == EINVAL, "a stack without a size");
    let mut chosen = plain;
    let number = [call(calls.number("getpid"), []) as i32];
    (chosen.0[8], chosen.0[9]) = (number.as_ptr().addr() as u64, 1);
    must!(clone3(calls, &chosen, 80) == EEXIST, "a number that is taken");

    for bytes in [64, 80, 88] {
        let child = clone3(calls, &plain, bytes);
        if child == 0 {
            return 7;
        }
        must!(child > 0 && status_of(child) == 7 << 8, "a child of clone3");
    }
    // Its descriptors are the caller's.
    let child = clone3(calls, &Arguments::new(FILES, CHILD_SIGNAL), 64);
    if child == 0 {
        return if call(calls.number("close"), [2]) == 0 { 0 } else { 1 };
    }
    must!(child > 0 && status_of(child) == 0, "a child that shares descriptors");
    must!(
        call(calls.number("close"), [2]) == EBADF,
        "a shared descriptor was closed for one alone"
    );
    0
}

fn waits(calls: &Calls) -> i32 {
    const PROCESS: usize = 1;
    const ENDED: usize = 4;
    const KEEP: usize = 0x0100_0000;
    const CLONE: usize = 0x8000_0000;
    let waitid = |child: isize, options: usize, info: &mut [u32; 32]| {
        let to = info.as_mut_ptr().addr();
        call(calls.number("waitid"), [PROCESS, child as usize, to, options, 0])
    };
    let mut info = [0_u32; 32];
    must!(waitid(1, 0, &mut info) == EINVAL, "a wait for nothing");
    must!(waitid(1, ENDED, &mut info) == ECHILD, "a wait for no child");
    let child = user::fork();
    if child == 0 {
        return 9;
    }
    for options in [ENDED | KEEP, ENDED] {
        info = [0; 32];
        must!(waitid(child, options, &mut info) == 0, "waitid");
        let fields = if size_of::<usize>() == 8 { 4 } else { 3 };
        must!(info[0] == CHILD_SIGNAL as u32 && info[2] == 1, "an end by exit");
        must!(info[fields] == child as u32 && info[fields + 2] == 9, "the child and its status");
    }
    must!(waitid(child, ENDED, &mut info) == ECHILD, "a child was given out twice");
    // One whose end is told by no signal is waited for by name.
    let child = clone3(calls, &Arguments::new(0, 0), 64);
    if child == 0 {
        return 3;
    }
    let number = child as usize;
    let mut status = 0_u32;
    let at = (&raw mut status).addr();
    must!(call(calls.number("wait4"), [number, at, 0, 0]) == ECHILD, "a clone without __WCLONE");
    must!(call(calls.number("wait4"), [number, at, CLONE, 0]) == child, "a clone with __WCLONE");
    must!(status == 3 << 8, "its status");
    // An orphan is the reaper's.
    const SET_SUBREAPER: usize = 36;
    must!(call(calls.number("prctl"), [SET_SUBREAPER, 1, 0, 0, 0]) == 0, "a reaper");
    let child = user::fork();
    if child == 0 {
        let grandchild = user::fork();
        return if grandchild == 0 { 5 } else { 4 };
    }
    let statuses = [user::wait(), user::wait()].map(|status| status.unwrap_or(-1));
    must!(statuses[0] + statuses[1] == (5 + 4) << 8, "the reaper's two children");
    must!(user::wait().is_err(), "a third child");
    0
}

fn limits(calls: &Calls) -> i32 {
    const STACK: usize = 3;
    const FILES: usize = 7;
    let change = |of: usize, new: Option<[u64; 2]>| {
        let mut old = [0_u64; 2];
        let from = new.as_ref().map_or(0, |new| new.as_ptr().addr());
        let to = old.as_mut_ptr().addr();
        (call(calls.number("prlimit64"), [0, of, from, to]), old)
    };
    must!(change(16, None).0 == EINVAL, "a limit that is none");
    must!(change(STACK, None) == (0, [8 << 20, u64::MAX]), "the stack's limit");
    must!(change(STACK, Some([2, 1])).0 == EINVAL, "a soft limit above the hard one");
    must!(change(FILES, Some([64, 64])).0 == 0, "fewer descriptors");
    must!(change(FILES, Some([64, 1 << 21])).0 == EPERM, "more descriptors than there can be");
    let child = user::fork();
    if child == 0 {
        must!(change(FILES, None) == (0, [64, 64]), "a limit that was not inherited");
        return 0;
    }
    must!(child > 0 && status_of(child) == 0, "the child");
    let mut text = [0; 2048];
    let length = read_file(c"/proc/self/limits", &mut text).unwrap_or(0);
    let line = b"Max open files            64                   64                   files";
    must!(text[..length].windows(line.len()).any(|part| part == line), "/proc/self/limits");
    0
}

static WORDS: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];

fn words(calls: &Calls) -> i32 {
    const CMP_REQUEUE: usize = 4;
    const WAKE_OP: usize = 5;
    const LOCK: usize = 6;
    const UNLOCK: usize = 7;
    const TRY_LOCK: usize = 8;
    let [one, other] = [&WORDS[0], &WORDS[1]].map(|word| word.as_ptr().addr());
    let futex = |operation: usize, value: usize, second: usize, encoded: usize| {
        call(calls.number("futex"), [one, operation, value, second, other, encoded])
    };
    must!(futex(CMP_REQUEUE, 1, 1, 1) == EAGAIN, "another value than the word has");
    must!(futex(CMP_REQUEUE, 1, 1, 0) == 0, "sleepers where there are none");
    // Adds 3 to the other word, and compares its old value with 0.
    must!(futex(WAKE_OP, 1, 1, 1 << 28 | 3 << 12) == 0, "sleepers where there are none");
    must!(WORDS[1].load(Ordering::SeqCst) == 3, "the word was not changed");
    let me = call(calls.number("gettid"), []) as u32;
    must!(futex(UNLOCK, 0, 0, 0) == EPERM, "a lock of nobody's was unlocked");
    must!(futex(LOCK, 0, 0, 0) == 0, "a free lock");
    must!(WORDS[0].load(Ordering::SeqCst) == me, "the owner is not in the word");
    must!(futex(TRY_LOCK, 0, 0, 0) == -35, "a lock was taken twice");
    must!(futex(UNLOCK, 0, 0, 0) == 0, "the lock was not unlocked");
    must!(WORDS[0].load(Ordering::SeqCst) == 0, "the word is not free");
    0
}

fn places(calls: &Calls) -> i32 {
    let set = |set: usize| {
        let mask = [set, 0];
        call(calls.number("sched_setaffinity"), [0, size_of::<usize>(), mask.as_ptr().addr()])
    };
    let mut all = [0_usize; 2];
    let to = all.as_mut_ptr().addr();
    must!(call(calls.number("sched_getaffinity"), [0, 16, to]) > 0, "the set of CPUs");
    must!(all[0] & 1 != 0, "no first CPU");
    must!(set(0) == EINVAL, "no CPU at all");
    for number in 0..usize::BITS {
        if all[0] >> number & 1 == 0 {
            continue;
        }
        must!(set(1 << number) == 0, "one CPU");
        for _ in 0..50 {
            let mut cpu = u32::MAX;
            let at = (&raw mut cpu).addr();
            must!(call(calls.number("getcpu"), [at, 0, 0]) == 0, "getcpu");
            must!(cpu == number, "the thread runs where it may not");
            user::yield_now();
        }
    }
    must!(set(all[0]) == 0, "all CPUs again");
    0
}

fn users(calls: &Calls) -> i32 {
    // What has no number of 32 bits in its name has one on machines of 64 bits only.
    let name = |long: &str, short: &str| match calls.number(long) {
        usize::MAX => calls.number(short),
        number => number,
    };
    let (set, get) = (name("setresuid32", "setresuid"), name("geteuid32", "geteuid"));
    must!(call(get, []) == 0, "the first program is root's");
    must!(call(set, [1000, 1001, 1002]) == 0, "root becomes others");
    must!(call(get, []) == 1001, "the effective user");
    must!(call(set, [usize::MAX, 1002, usize::MAX]) == 0, "the saved user");
    must!(call(set, [0, 0, 0]) == EPERM, "root again");
    must!(call(calls.number("sethostname"), [c"x".as_ptr().addr(), 1]) == EPERM, "a host's name");
    0
}

fn main() -> i32 {
    let Some(name) = user::only_argument() else { return 2 };
    let Ok(calls) = Calls::read() else { return 3 };
    match name {
        b"clones" => clones(&calls),
        b"waits" => waits(&calls),
        b"limits" => limits(&calls),
        b"words" => words(&calls),
        b"places" => places(&calls),
        b"users" => users(&calls),
        _ => 2,
    }
}
