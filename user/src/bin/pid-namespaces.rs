//! PID namespaces, as on Linux (pid_namespaces(7)): `pid-namespaces NAME`. Status 0 if `numbers`:
//! a number for each level, in calls and in /proc; `first`: the first process of one takes orphans
//! and no signal from inside, and all end with it; `ways`: the ways into one, and what a mount of
//! /proc shows of it.

#![no_std]
#![no_main]

use core::ffi::CStr;
use user::arch::nr;
use user::calls::{Calls, HERE, call, ended_within, number, path, read_file, status_of};
use user::must;

user::entry!(main);

const NEW_PID: usize = 0x2000_0000;
const NEW_MOUNTS: usize = 0x2_0000;
const THREAD: usize = 0x1_0000;
const SIGHAND: usize = 0x800;
const VM: usize = 0x100;
const KILL: usize = 9;
const USR1: usize = 10;
const TERM: usize = 15;
const CHILD_SIGNAL: usize = 17;
const STOP: usize = 19;

const EPERM: isize = -1;
const ESRCH: isize = -3;
const ENOMEM: isize = -12;
const EEXIST: isize = -17;
const EINVAL: isize = -22;
const ENOENT: isize = -2;
const ENOSPC: isize = -28;

struct Test {
    calls: Calls,
}

impl Test {
    fn make<const N: usize>(&self, name: &str, arguments: [usize; N]) -> isize {
        call(self.calls.number(name), arguments)
    }

    fn own(&self) -> isize {
        self.make("getpid", [])
    }

    fn clone(&self, flags: usize) -> isize {
        self.make("clone", [flags | CHILD_SIGNAL, 0, 0, 0, 0])
    }

    /// clone3 with numbers of the caller's choice.
    fn choose(&self, flags: usize, numbers: &[i32]) -> isize {
        let mut arguments = [0_u64; 11];
        (arguments[0], arguments[4]) = (flags as u64, CHILD_SIGNAL as u64);
        (arguments[8], arguments[9]) = (numbers.as_ptr().addr() as u64, numbers.len() as u64);
        self.make("clone3", [arguments.as_ptr().addr(), 88])
    }

    fn kill(&self, process: isize, signal: usize) -> isize {
        self.make("kill", [process as usize, signal])
    }

    fn open(&self, file: &CStr) -> isize {
        self.make("openat", [HERE, path(file), 0, 0])
    }

    fn pipe(&self) -> [u32; 2] {
        let mut ends = [0; 2];
        self.make("pipe2", [ends.as_mut_ptr().addr(), 0]);
        ends
    }

    fn tell(&self, end: u32) -> bool {
        self.make("write", [end as usize, c"x".as_ptr().addr(), 1]) == 1
    }

    fn hear(&self, end: u32) -> bool {
        let mut byte = [0_u8; 1];
        self.make("read", [end as usize, byte.as_mut_ptr().addr(), 1]) == 1
    }

    /// Takes a signal of the set; its number, and who sent it.
    fn take(&self, signal: usize) -> (isize, i32) {
        let set = 1_u64 << (signal - 1);
        let mut info = [0_i32; 32];
        let taken =
            self.make("rt_sigtimedwait", [(&raw const set).addr(), info.as_mut_ptr().addr(), 0, 8]);
        (taken, info[if size_of::<usize>() == 8 { 4 } else { 3 }])
    }

    fn block(&self, signal: usize) {
        let set = 1_u64 << (signal - 1);
        self.make("rt_sigprocmask", [0, (&raw const set).addr(), 0, 8]);
    }
}

/// Writes the path of a process's file in /proc.
fn of_process<'p>(process: isize, name: &[u8], to: &'p mut [u8; 64]) -> &'p CStr {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = process as usize;
    while left > 0 {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    let whole = b"/proc/".iter().chain(&digits[at..]).chain(b"/").chain(name);
    to.fill(0);
    to.iter_mut().zip(whole).for_each(|(to, &byte)| *to = byte);
    CStr::from_bytes_until_nul(to).unwrap_or(c"")
}

/// The numbers behind a key of a file of lines; how many there are.
fn figures(file: &CStr, key: &[u8], to: &mut [usize; 8]) -> usize {
    let mut text = [0; 2048];
    let length = read_file(file, &mut text).unwrap_or(0);
    let mut lines = text[..length].split(|&byte| byte == b'\n');
    let Some(line) = lines.find(|line| line.starts_with(key)) else { return 0 };
    let words = line[key.len()..].split(|&byte| byte == b'\t').filter(|word| !word.is_empty());
    to.iter_mut().zip(words).map(|(to, word)| *to = number(word)).count()
}

fn numbers(test: &Test) -> i32 {
    let me = test.own();
    let (ready, stop) = (test.pipe(), test.pipe());
    // Two levels down: the same process is 1 there, 2 in between, and another one here.
    let outer = test.clone(NEW_PID);
    if outer == 0 {
        must!(test.own() == 1 && test.make("gettid", []) == 1, "the first number");
        must!(user::getppid() == 0, "a parent that is not seen");
        must!(test.make("getpgid", [0]) == 0 && test.make("getsid", [0]) == 0, "groups of outside");
        must!(test.kill(me, 0) == ESRCH || me <= 2, "a process of outside can be named");
        let inner = test.clone(NEW_PID);
        if inner == 0 {
            must!(test.own() == 1, "the first number two levels down");
            must!(test.make("setsid", []) == 1 && test.make("getsid", [0]) == 1, "a session");
            must!(test.tell(ready[1]) && test.hear(stop[0]), "words");
            return 7;
        }
        must!(inner == 2, "a child as its parent knows it");
        must!(test.make("getsid", [2]) >= 0, "the session of a child");
        let mut status = 0_i32;
        let waited = test.make("wait4", [usize::MAX, (&raw mut status).addr(), 0, 0]);
        must!(waited == 2 && status == 7 << 8, "waiting by its own number");
        return 0;
    }
    must!(outer > 0 && test.hear(ready[0]), "a child that is ready");
    let (mut room, mut own) = ([0; 64], [0; 8]);
    let status = of_process(outer, b"status", &mut room);
    must!(figures(status, b"NSpid:", &mut own) == 2, "two levels of numbers");
    must!(own[0] == outer as usize && own[1] == 1, "the numbers of the outer one");
    // The next number here is most likely the inner one's.
    let mut inner = outer + 1;
    while inner < outer + 20 {
        let status = of_process(inner, b"status", &mut room);
        if figures(status, b"NSpid:", &mut own) == 3 {
            break;
        }
        inner += 1;
    }
    must!(own[..3] == [inner as usize, 2, 1], "the numbers of the inner one");
    let status = of_process(inner, b"status", &mut room);
    must!(figures(status, b"NSsid:", &mut own) == 3 && own[1..3] == [2, 1], "its session");
    must!(figures(status, b"PPid:", &mut own) == 1 && own[0] == outer as usize, "its parent");
    must!(test.make("getsid", [inner as usize]) == inner, "its session by a call");
    let file = test.make("pidfd_open", [inner as usize, 0]);
    must!(file >= 0, "it as a file");
    must!(test.tell(stop[1]) && status_of(outer) == 0, "the end of the outer one");
    must!(test.make("pidfd_send_signal", [file as usize, 0, 0, 0]) == ESRCH, "one that is gone");

    // Numbers of the caller's choice, for each level.
    must!(test.choose(NEW_PID, &[2]) == EINVAL, "a first process that is not 1");
    must!(test.choose(NEW_PID, &[1, 0]) == EINVAL, "no number");
    must!(test.choose(0, &[40_000, 40_001]) == EINVAL, "more numbers than levels");
    must!(test.choose(NEW_PID, &[1, me as i32]) == EEXIST, "a number that is in use");
    let chosen = test.choose(NEW_PID, &[1, 41_000]);
    if chosen == 0 {
        must!(test.own() == 1, "a chosen number inside");
        let other = test.choose(0, &[30, 41_001]);
        if other == 0 {
            return if test.own() == 30 { 0 } else { 1 };
        }
        must!(other == 30 && status_of(other) == 0, "a child of a chosen number");
        let next = user::fork();
        if next == 0 {
            return 0;
        }
        must!(next == 2 && status_of(next) == 0, "the next number after a chosen one");
        return 0;
    }
    must!(chosen == 41_000 && status_of(chosen) == 0, "chosen numbers");
    0
}

fn first(test: &Test) -> i32 {
    let (ready, stop) = (test.pipe(), test.pipe());
    test.block(USR1);
    let init = test.clone(NEW_PID);
    if init == 0 {
        // From inside, only what it has a handler for, or waits for.
        must!(test.kill(1, KILL) == 0 && test.kill(1, TERM) == 0, "signals to itself");
        must!(test.kill(1, STOP) == 0, "a stop of itself");
        let child = user::fork();
        if child == 0 {
            must!(test.kill(1, KILL) == 0 && test.kill(1, TERM) == 0, "signals to the first one");
            let orphan = user::fork();
            if orphan == 0 {
                // Until its parent is gone.
                while user::getppid() != 1 {
                    user::yield_now();
                }
                return 5;
            }
            return 0;
        }
        must!(child == 2 && status_of(child) == 0, "a child");
        must!(status_of(3) == 5 << 8, "an orphan is the first one's child");
        must!(test.tell(ready[1]), "a word");
        let (taken, sender) = test.take(USR1);
        must!(taken == USR1 as isize && sender == 0, "a signal from outside says whose it is");
        must!(test.kill(1, USR1) == 0, "a signal to itself");
        must!(test.take(USR1) == (USR1 as isize, 1), "a signal from inside");
        // One that stays, and one of it that is no process's child when all end.
        let child = user::fork();
        if child == 0 {
            test.tell(ready[1]);
            test.hear(stop[0]);
            return 0;
        }
        test.hear(stop[0]);
        return 0;
    }
    must!(init > 0 && test.hear(ready[0]), "a first process");
    must!(test.kill(init, USR1) == 0 && test.hear(ready[0]), "a signal to it, and its child");
    // It stops by a signal from outside, and continues.
    must!(test.kill(init, TERM) == 0, "a signal that it has no handler for");
    must!(test.kill(init, STOP) == 0, "a stop");
    let mut status = 0_i32;
    must!(
        test.make("wait4", [init as usize, (&raw mut status).addr(), 2, 0]) == init
            && status == (STOP as i32) << 8 | 0x7f,
        "it stops"
    );
    must!(test.kill(init, 18) == 0 && test.kill(init, KILL) == 0, "its end from outside");
    must!(ended_within(init, 400) == Some(KILL as i32), "it does not end");
    // Nothing is left of it: the write ends of its processes are closed.
    call(nr::CLOSE, [ready[1] as usize]);
    must!(!test.hear(ready[0]), "a process outlives the first one of its namespace");

    // A namespace without its first process makes no other one.
    let child = user::fork();
    if child == 0 {
        must!(test.make("unshare", [NEW_PID]) == 0, "unshare");
        must!(test.make("unshare", [NEW_PID]) == EINVAL, "one more before the first process");
        let thread = test.make("clone", [THREAD | SIGHAND | VM, 0, 0, 0, 0]);
        must!(thread == EINVAL, "a thread in another namespace than its process");
        let own = test.own();
        let first = user::fork();
        if first == 0 {
            return if test.own() == 1 { 0 } else { 1 };
        }
        must!(first > own && status_of(first) == 0, "the first process after unshare");
        must!(user::fork() == ENOMEM, "a process after the first one's end");
        must!(test.own() == own, "unshare changes the caller's number");
        return 0;
    }
    must!(status_of(child) == 0, "a namespace without its first process");

    // As deep as may be, and no deeper.
    must!(depth(test, 0) == 0, "levels");
    0
}

/// One below another: 32 levels, and no more.
fn depth(test: &Test, level: usize) -> i32 {
    let mut level = level;
    loop {
        let child = test.clone(NEW_PID);
        if child == 0 {
            level += 1;
            continue;
        }
        let fits = child > 0;
        let right = if level < 32 { fits } else { child == ENOSPC };
        let below = if fits { status_of(child) } else { 0 };
        let status = i32::from(!right || below != 0);
        if level == 0 {
            return status;
        }
        user::exit(status);
    }
}

fn ways(test: &Test) -> i32 {
    const PARENT: usize = 0xb702;
    const KIND: usize = 0xb703;
    const IN: usize = 0x8004_b709;
    const FROM: usize = 0x8004_b707;
    const PLACE: &CStr = c"/tmp/pid-namespaces";
    must!(test.make("mkdirat", [HERE, path(PLACE), 0o755]) == 0, "a directory");
    let (ready, stop) = (test.pipe(), test.pipe());
    let init = test.clone(NEW_PID | NEW_MOUNTS);
    if init == 0 {
        let kind = path(c"proc");
        let mut name = [0_u8; 16];
        let read = |link: &CStr, name: &mut [u8; 16]| {
            test.make("readlinkat", [HERE, path(link), name.as_mut_ptr().addr(), name.len()])
        };
        // The first mount has the caller by its number outside.
        must!(read(c"/proc/self", &mut name) > 0 && name[0] != b'1' || name[1] != 0, "outside");
        let options = path(c"subset=pid,hidepid=2");
        must!(test.make("mount", [kind, path(PLACE), kind, 0xe, 0]) == 0, "a mount of /proc");
        name.fill(0);
        must!(
            read(c"/tmp/pid-namespaces/self", &mut name) == 1 && name[0] == b'1',
            "itself in the new mount"
        );
        let mut own = [0; 8];
        let file = c"/tmp/pid-namespaces/self/status";
        must!(figures(file, b"NSpid:", &mut own) == 1 && own[0] == 1, "one level of numbers");
        must!(test.open(c"/tmp/pid-namespaces/uptime") >= 0, "files of the machine");
        must!(test.open(c"/tmp/pid-namespaces/2") == ENOENT, "a process that is not there");
        must!(test.make("umount2", [path(PLACE), 0]) == 0, "umount");
        must!(test.make("mount", [kind, path(PLACE), kind, 0xe, options]) == 0, "with options");
        must!(test.open(c"/tmp/pid-namespaces/uptime") == ENOENT, "what is no process");
        must!(test.open(c"/tmp/pid-namespaces/1/status") >= 0, "a process");
        let wrong = path(c"subset=all");
        must!(test.make("mount", [kind, path(PLACE), kind, 0, wrong]) == EINVAL, "a wrong option");
        must!(test.make("mount", [kind, path(c"/proc"), kind, 0, 0]) == 0, "over /proc");
        must!(read(c"/proc/self", &mut name) == 1, "itself in /proc");
        must!(test.tell(ready[1]), "a word");
        // A visitor is a process of this namespace, whose parent is not seen.
        must!(test.hear(stop[0]), "a word of outside");
        return 0;
    }
    must!(init > 0 && test.hear(ready[0]), "a first process");
    let mut room = [0; 64];
    let own = test.open(c"/proc/self/ns/pid");
    let theirs = test.open(of_process(init, b"ns/pid", &mut room));
    let process = test.make("pidfd_open", [init as usize, 0]);
    must!(own >= 0 && theirs >= 0 && process >= 0, "namespaces as files");
    let ask = |file: isize, what: usize, number: isize| {
        test.make("ioctl", [file as usize, what, number as usize])
    };
    must!(ask(theirs, KIND, 0) == NEW_PID as isize, "its kind");
    must!(ask(own, PARENT, 0) == EPERM && ask(theirs, PARENT, 0) > 0, "its parent");
    must!(ask(theirs, IN, init) == 1 && ask(theirs, FROM, 1) == init, "numbers of both");
    must!(ask(theirs, FROM, 99) == ESRCH && ask(theirs, 0xb7ff, 0) == -25, "what is not there");
    for (file, kinds) in [(theirs, 0), (theirs, NEW_PID), (process, NEW_PID)] {
        let visitor = user::fork();
        if visitor == 0 {
            let number = test.own();
            must!(test.make("setns", [theirs as usize, NEW_MOUNTS]) == EINVAL, "another kind");
            must!(test.make("setns", [file as usize, kinds]) == 0, "setns");
            must!(test.own() == number, "setns changes the caller's number");
            let child = user::fork();
            if child == 0 {
                must!(test.own() > 1 && user::getppid() == 0, "a child in the namespace");
                // Out of it, there is no way.
                must!(test.make("setns", [own as usize, NEW_PID]) == EINVAL, "setns upwards");
                return 0;
            }
            must!(child > 1 && status_of(child) == 0, "a child of a visitor");
            must!(test.make("setns", [own as usize, NEW_PID]) == 0, "back to its own");
            return 0;
        }
        must!(status_of(visitor) == 0, "a visitor");
    }
    // One that is waited for outside: the first process ends when it is gone.
    let child = user::fork();
    if child == 0 {
        must!(test.make("setns", [theirs as usize, NEW_PID]) == 0, "setns");
        let late = user::fork();
        if late == 0 {
            test.hear(ready[0]);
            return 0;
        }
        must!(test.tell(stop[1]), "the end of the first process");
        must!(status_of(late) == KILL as i32, "what the first one's end does to another's child");
        must!(user::fork() == ENOMEM, "a process in what has ended");
        return 0;
    }
    must!(status_of(child) == 0 && status_of(init) == 0, "the end");
    0
}

fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 3 };
    let test = Test { calls };
    match user::only_argument() {
        Some(b"numbers") => numbers(&test),
        Some(b"first") => first(&test),
        Some(b"ways") => ways(&test),
        _ => 2,
    }
}
