//! What a thread has apart from others, and programs apart from their terminal: `threads-apart
//! NAME`. `users`: users of one thread. `files`: descriptors and directory of one thread.
//! `background`: who writes to or changes its terminal from the background. `leader`: what the end
//! of a session's leader tells.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use user::arch::{self, THREAD_FLAGS, nr};
use user::calls::{Calls, HERE, call, path, sleep_milliseconds, status_of};
use user::must;
use user::signals::{EINTR, EINVAL, EPERM, Numbers, SIGCONT, SIGKILL, exit_thread};

user::entry!(main);

const EBADF: isize = -9;
const EIO: isize = -5;
const SIGHUP: usize = 1;
const SIGTTOU: usize = 22;
const IGNORE: usize = 1;
const WUNTRACED: usize = 2;
const FILES: usize = 0x400;
const FS: usize = 0x200;

#[repr(align(16))]
struct Stack([AtomicUsize; 2048]);
static STACK: Stack = Stack([const { AtomicUsize::new(0) }; 2048]);
/// What the thread found, and whether it is done.
static FOUND: [AtomicIsize; 6] = [const { AtomicIsize::new(0) }; 6];
static IS_DONE: AtomicUsize = AtomicUsize::new(0);
/// Numbers of calls, for the thread.
static CALLS: [AtomicUsize; 5] = [const { AtomicUsize::new(0) }; 5];

fn found(at: usize) -> isize {
    FOUND[at].load(Ordering::SeqCst)
}

fn keep(at: usize, result: isize) {
    FOUND[at].store(result, Ordering::SeqCst);
}

fn known(at: usize) -> usize {
    CALLS[at].load(Ordering::SeqCst)
}

/// Runs a thread to its end.
fn run(flags: usize, entry: extern "C" fn() -> !) -> bool {
    IS_DONE.store(0, Ordering::SeqCst);
    let stack = STACK.0.as_ptr_range().end.addr();
    let thread = arch::clone_and_call(flags, stack, [0; 3], entry);
    while thread > 0 && IS_DONE.load(Ordering::SeqCst) == 0 {
        sleep_milliseconds(1);
    }
    thread > 0
}

fn finish() -> ! {
    IS_DONE.store(1, Ordering::SeqCst);
    exit_thread()
}

const NAME_OF_FILE: &core::ffi::CStr = c"/tmp/apart-of-root";

fn open_to_read() -> isize {
    call(nr::OPENAT, [HERE, path(NAME_OF_FILE), 0, 0])
}

extern "C" fn becomes_another() -> ! {
    let (set, get, get_real) = (known(0), known(1), known(2));
    keep(0, call(set, [1000, 1000, 1000]));
    keep(1, call(get, []));
    keep(2, call(get_real, []));
    // Another's file is closed to it.
    keep(3, open_to_read());
    // It may not become root again: its capabilities have gone with the user.
    keep(4, call(set, [0, 0, 0]));
    finish()
}

fn users(calls: &Calls) -> i32 {
    const CREATE: usize = 0o101;
    let is_narrow = size_of::<usize>() == 4;
    let wide = |name: &'static str, narrow: &'static str| {
        calls.number(if is_narrow { narrow } else { name })
    };
    let get = wide("geteuid", "geteuid32");
    CALLS[0].store(wide("setresuid", "setresuid32"), Ordering::SeqCst);
    CALLS[1].store(get, Ordering::SeqCst);
    CALLS[2].store(wide("getuid", "getuid32"), Ordering::SeqCst);
    must!(call(get, []) == 0, "the test begins as root");
    let file = call(nr::OPENAT, [HERE, path(NAME_OF_FILE), CREATE, 0o600]);
    must!(file >= 0, "a file of root's");
    must!(run(THREAD_FLAGS, becomes_another), "no thread");
    must!(found(0) == 0, "the thread's users were not changed");
    must!(found(1) == 1000 && found(2) == 1000, "the thread is not the other user");
    must!(found(3) == -13, "the thread opened a file of root's");
    must!(found(4) == EPERM, "the thread became root again");
    must!(call(get, []) == 0, "the first thread's user was changed by another thread");
    must!(open_to_read() >= 0, "the first thread may not open its file any more");
    // What is changed in the first thread is not the others'; a new one begins with its maker's.
    let child = user::fork();
    if child == 0 {
        must!(call(known(0), [7, 7, 7]) == 0, "another user");
        must!(run(THREAD_FLAGS, tells_user), "no thread");
        must!(found(1) == 7, "a new thread is not its maker's user");
        return 0;
    }
    must!(status_of(child) == 0, "the child");
    0
}

extern "C" fn tells_user() -> ! {
    keep(1, call(known(1), []));
    finish()
}

static FILE: AtomicUsize = AtomicUsize::new(0);

extern "C" fn takes_apart() -> ! {
    keep(0, call(known(0), [FILES | FS]));
    keep(1, call(nr::CLOSE, [FILE.load(Ordering::SeqCst)]));
    keep(2, call(known(1), [path(c"/tmp")]));
    keep(3, call(known(2), [0o77]));
    finish()
}

extern "C" fn closes() -> ! {
    keep(1, call(nr::CLOSE, [FILE.load(Ordering::SeqCst)]));
    finish()
}

fn files(calls: &Calls) -> i32 {
    let (chdir, umask) = (calls.number("chdir"), calls.number("umask"));
    for (place, name) in CALLS.iter().zip(["unshare", "chdir", "umask"]) {
        place.store(calls.number(name), Ordering::SeqCst);
    }
    must!(call(chdir, [path(c"/")]) == 0, "chdir");
    must!(call(umask, [0o22]) >= 0, "umask");
    let directory = || {
        let mut name = [0_u8; 64];
        let length = call(calls.number("getcwd"), [name.as_mut_ptr().addr(), 64]);
        (length, name[1])
    };
    let open = || call(nr::OPENAT, [HERE, path(c"/dev/null"), 2, 0]);
    let is_open = |file: isize| call(calls.number("dup"), [file as usize]) >= 0;
    let file = open();
    must!(file >= 0, "no file");
    FILE.store(file as usize, Ordering::SeqCst);
    must!(run(THREAD_FLAGS, takes_apart), "no thread");
    must!(found(0) == 0, "one thread of two may not take its descriptors apart");
    must!(found(1) == 0 && found(2) == 0 && found(3) == 0o22, "calls of the thread");
    must!(is_open(file), "the thread closed a descriptor of the other");
    must!(directory() == (2, 0), "the thread moved the other");
    must!(call(umask, [0o22]) == 0o22, "the thread changed the other's umask");
    // A thread that shares nothing of the kind from the start, and one that shares all.
    must!(run(THREAD_FLAGS & !(FILES | FS), closes), "a thread without shared descriptors");
    must!(found(1) == 0 && is_open(file), "descriptors that were not to be shared");
    must!(run(THREAD_FLAGS, closes), "no thread");
    must!(found(1) == 0 && !is_open(file), "descriptors that were to be shared");
    must!(call(nr::CLOSE, [file as usize]) == EBADF, "closed by the thread");
    0
}

const TCGETS: usize = 0x5401;
const TCSETS: usize = 0x5402;
const TIOCSPGRP: usize = 0x5410;
const STOP_OUTPUT: u32 = 0o400;
const LOCAL: usize = 3;

struct Terminal {
    master: usize,
    slave: usize,
    ioctl: usize,
}

impl Terminal {
    /// A new terminal, and the caller as the leader of its session.
    fn lead(calls: &Calls) -> Option<Self> {
        const GET_NUMBER: usize = 0x8004_5430;
        const UNLOCK_SLAVE: usize = 0x4004_5431;
        let ioctl = calls.number("ioctl");
        if call(calls.number("setsid"), []) < 0 {
            return None;
        }
        let master = call(nr::OPENAT, [HERE, path(c"/dev/ptmx"), 2 | 0o400, 0]);
        let master = usize::try_from(master).ok()?;
        let (mut number, unlocked) = (0_u32, 0_u32);
        call(ioctl, [master, GET_NUMBER, (&raw mut number).addr()]);
        call(ioctl, [master, UNLOCK_SLAVE, (&raw const unlocked).addr()]);
        let mut name = *b"/dev/pts/0\0";
        name[9] += number as u8;
        let slave = call(nr::OPENAT, [HERE, name.as_ptr().addr(), 2, 0]);
        Some(Self { master, slave: usize::try_from(slave).ok()?, ioctl })
    }

    fn modes(&self, request: usize, modes: &mut [u32; 9]) -> isize {
        call(self.ioctl, [self.slave, request, modes.as_mut_ptr().addr()])
    }

    fn set_foreground(&self, group: u32) -> isize {
        call(self.ioctl, [self.slave, TIOCSPGRP, (&raw const group).addr()])
    }

    fn write(&self) -> isize {
        call(nr::WRITE, [self.slave, b"x".as_ptr().addr(), 1])
    }
}

fn background(calls: &Calls) -> i32 {
    let Some(n) = Numbers::read() else { return 2 };
    // The leader of a session has a child in a group of its own, in the background.
    let leader = user::fork();
    if leader == 0 {
        return lead_background(calls, &n);
    }
    must!(status_of(leader) == 0, "the leader");
    0
}

fn lead_background(calls: &Calls, n: &Numbers) -> i32 {
    let Some(terminal) = Terminal::lead(calls) else { return 2 };
    let in_background = |body: &dyn Fn(&mut [u32; 9]) -> i32| {
        let child = user::fork();
        if child == 0 {
            let mut modes = [0; 9];
            call(calls.number("setpgid"), [0, 0]);
            terminal.modes(TCGETS, &mut modes);
            user::exit(body(&mut modes));
        }
        child
    };
    let stopped = (SIGTTOU << 8 | 0x7f) as i32;
    let wait = |child: isize| {
        let mut status = -1_i32;
        call(nr::WAIT4, [child as usize, (&raw mut status).addr(), WUNTRACED, 0]);
        status
    };
    let own = call(calls.number("getpid"), []) as u32;
    // It changes the modes: stopped, and done when it is in the foreground.
    let child = in_background(&|modes| i32::from(terminal.modes(TCSETS, modes) != 0));
    must!(wait(child) == stopped, "who changes its terminal from the background is not stopped");
    must!(terminal.set_foreground(child as u32) == 0, "the foreground");
    call(n.kill, [child as usize, SIGCONT]);
    must!(wait(child) == 0, "the call was not made again");
    // The leader itself is in the background now, and blocks the signal: it may.
    let before = n.set_mask(user::signals::bit(SIGTTOU));
    must!(terminal.set_foreground(own) == 0, "who blocks the signal may not");
    n.set_mask(before);
    // Who ignores it may, too.
    let child = in_background(&|modes| {
        n.let_be(SIGTTOU, IGNORE);
        i32::from(terminal.modes(TCSETS, modes) != 0)
    });
    must!(wait(child) == 0, "who ignores the signal is stopped");
    // Output is free, until the terminal is to stop it.
    let child = in_background(&|_| i32::from(terminal.write() != 1));
    must!(wait(child) == 0, "output from the background");
    let mut modes = [0; 9];
    must!(terminal.modes(TCGETS, &mut modes) == 0, "modes");
    modes[LOCAL] |= STOP_OUTPUT;
    must!(terminal.modes(TCSETS, &mut modes) == 0, "modes from the foreground");
    let child = in_background(&|_| i32::from(terminal.write() != 1));
    must!(wait(child) == stopped, "TOSTOP has no effect");
    call(n.kill, [child as usize, SIGKILL]);
    must!(wait(child) == SIGKILL as i32, "its end");
    // A member of a group that nothing would continue is told so instead: its parent, in the same
    // group, was the last with a parent outside.
    let mut ends = [0_u32; 2];
    must!(call(calls.number("pipe2"), [ends.as_mut_ptr().addr(), 0]) == 0, "a pipe");
    let child = in_background(&|_| {
        let parent = call(calls.number("getpid"), []);
        if user::fork() == 0 {
            while call(calls.number("getppid"), []) == parent {
                sleep_milliseconds(1);
            }
            let told = if terminal.write() == EIO { b"e" } else { b"-" };
            call(nr::WRITE, [ends[1] as usize, told.as_ptr().addr(), 1]);
        }
        0
    });
    must!(wait(child) == 0, "the parent of an orphan");
    let mut byte = 0_u8;
    must!(call(nr::READ, [ends[0] as usize, (&raw mut byte).addr(), 1]) == 1, "the orphan");
    must!(byte == b'e', "an orphan in the background is not told");
    must!(call(nr::READ, [terminal.master, (&raw mut byte).addr(), 1]) == 1, "what was written");
    0
}

fn leader(calls: &Calls) -> i32 {
    let Some(n) = Numbers::read() else { return 2 };
    let mut ends = [0_u32; 2];
    must!(call(calls.number("pipe2"), [ends.as_mut_ptr().addr(), 0]) == 0, "a pipe");
    let child = user::fork();
    if child == 0 {
        let Some(terminal) = Terminal::lead(calls) else { return 2 };
        // In its own group, which is in the foreground, and in a group in the background.
        for is_in_background in [false, true] {
            let waiter = user::fork();
            if waiter == 0 {
                if is_in_background {
                    call(calls.number("setpgid"), [0, 0]);
                }
                call(nr::WRITE, [ends[1] as usize, b"r".as_ptr().addr(), 1]);
                n.let_be(SIGHUP, 0);
                // The one in the background is told nothing: it ends by itself.
                sleep_milliseconds(if is_in_background { 300 } else { 60_000 });
                call(nr::WRITE, [ends[1] as usize, b"e".as_ptr().addr(), 1]);
                return 0;
            }
        }
        let mut bytes = [0_u8; 2];
        while bytes[1] == 0 {
            let at = usize::from(bytes[0] != 0);
            call(nr::READ, [ends[0] as usize, (&raw mut bytes[at]).addr(), 1]);
        }
        let _ = terminal;
        return 0;
    }
    must!(status_of(child) == 0, "the leader");
    call(nr::CLOSE, [ends[1] as usize]);
    // The end of the pipe comes when both have ended: the one by SIGHUP at once.
    let mut bytes = [0_u8; 8];
    let mut length = 0;
    loop {
        let read = call(nr::READ, [ends[0] as usize, (&raw mut bytes[length]).addr(), 1]);
        must!(read != EINTR && read != EINVAL && read != EIO, "the pipe");
        if read == 0 {
            break;
        }
        length += 1;
    }
    must!(length == 1 && bytes[0] == b'e', "the foreground was not told, or the background was");
    0
}

fn main() -> i32 {
    let Some(name) = user::only_argument() else { return 2 };
    let Ok(calls) = Calls::read() else { return 3 };
    match name {
        b"users" => users(&calls),
        b"files" => files(&calls),
        b"background" => background(&calls),
        b"leader" => leader(&calls),
        _ => 2,
    }
}
