//! Files of other kinds as Linux has them: `other-files NAME`. Status 0 if processes as files,
//! locks, what moves between pipes, and the links and files of /proc are as on Linux.

#![no_std]
#![no_main]

use user::arch::nr;
use user::calls::{Calls, HERE, call, path, read_file, sleep_milliseconds, status_of};
use user::memory::child;
use user::must;

user::entry!(main);

const EINTR_OR_DEAD: isize = -3;
const EBADF: isize = -9;
const ECHILD: isize = -10;
const EAGAIN: isize = -11;
const EINVAL: isize = -22;
const ESPIPE: isize = -29;
const EDEADLK: isize = -35;
const READ_WRITE: usize = 2;
const CREATE: usize = 0o100;
const NONBLOCK: usize = 0o4000;
const FLAGS_PIDFD: usize = 0x1000;
const CHILD_SIGNAL: usize = 17;
const KILL: usize = 9;

/// What a poll of one descriptor for input finds at once.
fn ready(calls: &Calls, file: isize) -> u16 {
    let poll = [file as u32, 1];
    let time = [0_usize; 2];
    let polled = [poll.as_ptr().addr(), 1, time.as_ptr().addr(), 0, 8];
    let found = call(calls.number("ppoll"), polled);
    // SAFETY: (1) the array, which the kernel has written to.
    let events = unsafe { core::ptr::read_volatile(&raw const poll[1]) };
    if found <= 0 { 0 } else { (events >> 16) as u16 }
}

fn processes(calls: &Calls) -> i32 {
    const PIDFD: usize = 3;
    const ENDED: usize = 4;
    const KEEP: usize = 0x0100_0000;
    let open =
        |process: isize, flags: usize| call(calls.number("pidfd_open"), [process as usize, flags]);
    let send = |file: isize, signal: usize| {
        call(calls.number("pidfd_send_signal"), [file as usize, signal, 0, 0])
    };
    let wait = |file: isize, options: usize| {
        call(calls.number("waitid"), [PIDFD, file as usize, 0, options, 0])
    };
    must!(open(0, 0) == EINVAL && open(-1, 0) == EINVAL, "a file of no process");
    must!(open(1 << 21, 0) == EINTR_OR_DEAD, "a file of a process that is not there");
    let own = call(calls.number("getpid"), []);
    must!(open(own, 1) == EINVAL, "a flag that is none");

    let child = user::fork();
    if child == 0 {
        sleep_milliseconds(60_000);
        return 5;
    }
    let file = open(child, NONBLOCK);
    must!(file >= 0, "pidfd_open");
    must!(ready(calls, file) == 0, "a process that runs is ready");
    must!(wait(file, ENDED) == EAGAIN, "a wait that does not sleep");
    must!(send(file, 0) == 0, "no signal to a process that runs");
    must!(send(file, 65) == EINVAL, "a signal that is none");
    must!(send(0, 0) == EBADF, "a signal by a file that is no process");
    must!(send(file, KILL) == 0, "SIGKILL by a file");
    // It may take a moment to die.
    while ready(calls, file) == 0 {
        sleep_milliseconds(1);
    }
    must!(ready(calls, file) == 1, "a process that has ended");
    must!(wait(file, ENDED | KEEP) == 0 && send(file, 0) == 0, "one that can be waited for");
    must!(wait(file, ENDED) == 0, "a wait by a file");
    must!(ready(calls, file) == 0x11, "a process that was waited for");
    must!(send(file, 0) == EINTR_OR_DEAD, "a signal to what is gone");
    must!(wait(file, ENDED) == ECHILD || wait(file, ENDED) == EINTR_OR_DEAD, "a second wait");
    call(nr::CLOSE, [file as usize]);

    // One that comes with the child.
    let mut word = -1_i32;
    let mut arguments = [0_u64; 8];
    (arguments[0], arguments[4]) = (FLAGS_PIDFD as u64, CHILD_SIGNAL as u64);
    arguments[1] = (&raw mut word).addr() as u64;
    let child = call(calls.number("clone3"), [arguments.as_ptr().addr(), 64]);
    if child == 0 {
        return 6;
    }
    // SAFETY: (1) the word, which the kernel has written to.
    let file = unsafe { core::ptr::read_volatile(&raw const word) } as isize;
    must!(child > 0 && file >= 0, "CLONE_PIDFD");
    must!(status_of(child) == 6 << 8, "the child of that clone");
    must!(ready(calls, file) == 0x11, "the file that came with it");
    // A descriptor of another process.
    let itself = open(own, 0);
    let copy = call(calls.number("pidfd_getfd"), [itself as usize, file as usize, 0]);
    must!(copy > 0 && ready(calls, copy) == 0x11, "a copy of a descriptor");
    must!(
        call(calls.number("pidfd_getfd"), [itself as usize, 999, 0]) == EBADF,
        "a copy of no descriptor"
    );
    0
}

/// `struct flock` where numbers have the size of a word.
#[repr(C)]
struct Range {
    kind: u16,
    whence: u16,
    start: isize,
    length: isize,
    process: i32,
}

const READ: u16 = 0;
const WRITE: u16 = 1;
const UNLOCK: u16 = 2;
const GET: usize = 5;
const SET: usize = 6;
const SET_AND_WAIT: usize = 7;

fn range(file: isize, command: usize, kind: u16, start: isize, length: isize) -> (isize, Range) {
    let mut range = Range { kind, whence: 0, start, length, process: 0 };
    let at = (&raw mut range).addr();
    let calls = Calls::read();
    let number = calls.map_or(usize::MAX, |calls| calls.number("fcntl"));
    (call(number, [file as usize, command, at]), range)
}

fn open(name: &core::ffi::CStr) -> isize {
    call(nr::OPENAT, [HERE, path(name), READ_WRITE | CREATE, 0o600])
}

fn locks(calls: &Calls) -> i32 {
    const SHARED: usize = 1;
    const EXCLUSIVE: usize = 2;
    const NOW: usize = 4;
    const FREE: usize = 8;
    let flock = |file: isize, how: usize| call(calls.number("flock"), [file as usize, how]);
    let (one, other) = (open(c"/tmp/locked"), open(c"/tmp/locked"));
    must!(flock(one, 3) == EINVAL && flock(99, SHARED) == EBADF, "a lock that is none");
    must!(flock(one, SHARED) == 0 && flock(other, SHARED | NOW) == 0, "two shared locks");
    must!(flock(other, EXCLUSIVE | NOW) == EAGAIN, "an exclusive lock beside a shared one");
    must!(flock(one, FREE) == 0 && flock(other, EXCLUSIVE | NOW) == 0, "an exclusive lock");
    must!(flock(one, SHARED | NOW) == EAGAIN, "a shared lock beside an exclusive one");
    let child = user::fork();
    if child == 0 {
        // Asleep until the parent closes the file; the child has the open file too, and lets it go.
        call(nr::CLOSE, [other as usize]);
        return if flock(one, EXCLUSIVE) == 0 { 0 } else { 1 };
    }
    sleep_milliseconds(20);
    call(nr::CLOSE, [other as usize]);
    must!(status_of(child) == 0, "a lock that was waited for");
    must!(flock(one, FREE) == 0, "the end of a lock");

    // Ranges are the process's.
    must!(range(one, SET, WRITE, 10, 10).0 == 0, "a range");
    must!(range(one, SET, READ, 12, 2).0 == 0, "a range within a range");
    let child = user::fork();
    if child == 0 {
        let (asked, found) = range(one, GET, WRITE, 11, 1);
        must!(asked == 0 && found.kind == WRITE && found.start == 10, "the range below");
        must!(found.length == 2, "what is left of the first range");
        must!(range(one, SET, READ, 12, 2).0 == 0, "a second reader");
        must!(range(one, SET, WRITE, 12, 2).0 == EAGAIN, "a writer beside a reader");
        must!(range(one, SET, WRITE, 19, 1).0 == EAGAIN, "the end of the range");
        must!(range(one, SET, WRITE, 20, 0).0 == 0, "all that is behind it");
        return 0;
    }
    must!(status_of(child) == 0, "ranges of another process");
    must!(range(one, SET, WRITE, 20, 1).0 == 0, "ranges go with their process");
    // Closing any descriptor of the file gives up all of them.
    call(nr::CLOSE, [open(c"/tmp/locked") as usize]);
    let child = user::fork();
    if child == 0 {
        return if range(one, SET, WRITE, 0, 0).0 == 0 { 0 } else { 1 };
    }
    must!(status_of(child) == 0, "a descriptor was closed");

    // A circle of two.
    must!(range(one, SET, WRITE, 0, 1).0 == 0, "the first of a circle");
    let child = user::fork();
    if child == 0 {
        must!(range(one, SET, WRITE, 1, 1).0 == 0, "the second of a circle");
        return match range(one, SET_AND_WAIT, WRITE, 0, 1).0 {
            0 => 0,
            EDEADLK => 2,
            _ => 1,
        };
    }
    while range(one, GET, WRITE, 1, 1).1.kind == UNLOCK {
        sleep_milliseconds(1);
    }
    // The one that asks last is told: the parent, if the child sleeps by then.
    sleep_milliseconds(30);
    let told = range(one, SET_AND_WAIT, WRITE, 1, 1).0;
    must!(told == EDEADLK || told == 0, "a circle");
    if told == EDEADLK {
        must!(range(one, SET, UNLOCK, 0, 0).0 == 0, "the first is given up");
    }
    // If it is not told, the child is, which gives up its own at its end.
    let wanted = if told == EDEADLK { 0 } else { 2 << 8 };
    must!(status_of(child) == wanted, "one of a circle is told");
    call(nr::CLOSE, [one as usize]);
    call(calls.number("unlinkat"), [HERE, path(c"/tmp/locked"), 0]);
    0
}

fn pipe(calls: &Calls) -> [usize; 2] {
    let mut ends = [0_u32; 2];
    call(calls.number("pipe2"), [ends.as_mut_ptr().addr(), 0]);
    ends.map(|end| end as usize)
}

fn moves(calls: &Calls) -> i32 {
    const NOW: usize = 2;
    let splice =
        |from: usize, from_at: usize, to: usize, to_at: usize, length: usize, flags: usize| {
            call(calls.number("splice"), [from, from_at, to, to_at, length, flags])
        };
    let (first, second) = (pipe(calls), pipe(calls));
    let file = open(c"/tmp/moved") as usize;
    call(nr::WRITE, [file, b"0123456789".as_ptr().addr(), 10]);
    let mut offset = 2_u64;
    let at = (&raw mut offset).addr();
    must!(splice(file, 0, file, 0, 1, 0) == EINVAL, "no pipe at all");
    must!(splice(first[0], at, file, 0, 1, 0) == ESPIPE, "an offset of a pipe");
    must!(splice(first[0], 0, file, 0, 1, 16) == EINVAL, "a flag that is none");
    must!(splice(first[0], 0, file, 0, 8, NOW) == EAGAIN, "an empty pipe");
    must!(splice(file, at, first[1], 0, 5, 0) == 5, "from a file to a pipe");
    // SAFETY: (1) the word, which the kernel has written to.
    must!(unsafe { core::ptr::read_volatile(&raw const offset) } == 7, "the offset behind it");
    let tee = |length: usize| call(calls.number("tee"), [first[0], second[1], length, 0]);
    must!(tee(3) == 3, "a copy between pipes");
    let mut bytes = [0_u8; 16];
    let read = |from: usize, to: &mut [u8; 16]| call(nr::READ, [from, to.as_mut_ptr().addr(), 16]);
    must!(read(second[0], &mut bytes) == 3 && &bytes[..3] == b"234", "what was copied");
    must!(splice(first[0], 0, second[1], 0, 16, 0) == 5, "from pipe to pipe");
    must!(splice(first[0], 0, second[1], 0, 16, NOW) == EAGAIN, "what was moved is gone");
    must!(splice(second[0], 0, file, 0, 16, 0) == 5, "from a pipe to a file");
    let vector = [b"ab".as_ptr().addr(), 2, b"cd".as_ptr().addr(), 2];
    let vmsplice = [first[1], vector.as_ptr().addr(), 2, 0];
    must!(call(calls.number("vmsplice"), vmsplice) == 4, "from memory to a pipe");
    must!(read(first[0], &mut bytes) == 4 && &bytes[..4] == b"abcd", "what came from memory");
    must!(read_file(c"/tmp/moved", &mut bytes) == Ok(15), "the file");
    must!(&bytes[..15] == b"012345678923456", "what is in the file");
    for end in [first[0], first[1], second[0], second[1], file] {
        call(nr::CLOSE, [end]);
    }
    call(calls.number("unlinkat"), [HERE, path(c"/tmp/moved"), 0]);
    0
}

fn texts(calls: &Calls) -> i32 {
    let mut text = [0_u8; 64];
    let file = open(c"/tmp/linked") as usize;
    call(nr::WRITE, [file, b"through".as_ptr().addr(), 7]);
    // A path that leads through /proc and back into the tree.
    must!(read_file(c"/proc/self/cwd/tmp/linked", &mut text) == Ok(7), "through the directory");
    must!(read_file(c"/proc/self/root\x2ftmp/linked", &mut text) == Ok(7), "through the root");
    let directory = call(nr::OPENAT, [HERE, path(c"/proc/self"), 0o200000, 0]) as usize;
    let below = call(nr::OPENAT, [directory, path(c"comm"), READ_WRITE, 0]);
    must!(below >= 0, "a file below an open folder of /proc");
    must!(call(nr::WRITE, [below as usize, b"another".as_ptr().addr(), 7]) == 7, "a name");
    // Read from its beginning, a file is made anew.
    let mut offset = 0_u64;
    let seek = |to: usize| call(calls.number("lseek"), [below as usize, to, 0]);
    if seek(0) != 0 {
        let long = [below as usize, 0, 0, (&raw mut offset).addr(), 0];
        must!(call(calls.number("_llseek"), long) == 0, "to the beginning");
    }
    let read = call(nr::READ, [below as usize, text.as_mut_ptr().addr(), 64]);
    must!(read == 8 && &text[..8] == b"another\n", "the new name");
    // A folder has itself, and what it lies in, before all else.
    let mut entries = [0_u8; 256];
    let number = calls.number("getdents64");
    let read = call(number, [directory, entries.as_mut_ptr().addr(), 256]);
    must!(read > 48 && &entries[19..21] == b".\0" && &entries[43..46] == b"..\0", "the dots");
    must!(entries[18] == 4, "a folder's kind");
    // One whose process ends can be read no more.
    let child = user::fork();
    if child == 0 {
        sleep_milliseconds(60_000);
        return 1;
    }
    let mut name = *b"/proc/0000000000/stat\0";
    let (mut number, mut digits, mut at) = (child as usize, [0_u8; 10], 10);
    while number > 0 {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    let count = 10 - at;
    name[6..6 + count].copy_from_slice(&digits[at..]);
    name[6 + count..12 + count].copy_from_slice(b"/stat\0");
    let stat = call(nr::OPENAT, [HERE, name.as_ptr().addr(), 0, 0]);
    must!(stat >= 0, "the file of a child");
    call(calls.number("kill"), [child as usize, KILL]);
    must!(status_of(child) == KILL as i32, "the child's end");
    let read = call(nr::READ, [stat as usize, text.as_mut_ptr().addr(), 64]);
    must!(read == EINTR_OR_DEAD, "the file of what is gone");
    for file in [stat as usize, below as usize, directory, file] {
        call(nr::CLOSE, [file]);
    }
    call(calls.number("unlinkat"), [HERE, path(c"/tmp/linked"), 0]);
    0
}

/// Whether the local modes of a terminal stay as they were while they are locked, and only who may
/// lock them does. They are as before then.
fn modes_are_locked(calls: &Calls, terminal: usize) -> bool {
    const GET: usize = 0x5401;
    const SET: usize = 0x5402;
    const GET_LOCKED: usize = 0x5456;
    const SET_LOCKED: usize = 0x5457;
    const EPERM: isize = -1;
    const LOCAL: usize = 3;
    type Modes = [u32; 9];
    let ioctl = |request: usize, modes: &mut Modes| {
        call(calls.number("ioctl"), [terminal, request, modes.as_mut_ptr().addr()])
    };
    let get = |request: usize| {
        let mut modes: Modes = [u32::MAX; 9];
        (ioctl(request, &mut modes) == 0).then_some(core::hint::black_box(modes))
    };
    let (Some(first), Some(locked)) = (get(GET), get(GET_LOCKED)) else { return false };
    let mut only_local: Modes = [0; 9];
    only_local[LOCAL] = u32::MAX;
    let by_another = child(|| {
        call(calls.number("setresuid"), [1000, 1000, 1000]);
        i32::from(ioctl(SET_LOCKED, &mut only_local.clone()) != EPERM)
    });
    let is_set = ioctl(SET_LOCKED, &mut only_local) == 0 && get(GET_LOCKED) == Some(only_local);
    let mut wanted = first;
    (wanted[0], wanted[LOCAL]) = (0, 0);
    let is_kept = ioctl(SET, &mut wanted) == 0
        && get(GET).is_some_and(|now| now[0] == 0 && now[LOCAL] == first[LOCAL]);
    let is_back = ioctl(SET_LOCKED, &mut [0; 9]) == 0 && ioctl(SET, &mut first.clone()) == 0;
    locked == [0; 9] && by_another == 0 && is_set && is_kept && is_back
}

fn terminals(calls: &Calls) -> i32 {
    const GET_NUMBER: usize = 0x8004_5430;
    const UNLOCK_SLAVE: usize = 0x4004_5431;
    const EIO: isize = -5;
    const INTERRUPT: i32 = 2;
    const NO_CONTROL: usize = 0o400;
    let master = call(nr::OPENAT, [HERE, path(c"/dev/ptmx"), READ_WRITE, 0]);
    must!(master >= 0, "/dev/ptmx");
    let master = master as usize;
    let ioctl = |file: usize, request: usize, word: &mut u32| {
        call(calls.number("ioctl"), [file, request, (&raw mut *word).addr()])
    };
    let mut number = u32::MAX;
    must!(ioctl(master, GET_NUMBER, &mut number) == 0 && number < 10, "the slave's number");
    let mut name = *b"/dev/pts/0\0";
    name[9] += number as u8;
    let open_with = |flags: usize| call(nr::OPENAT, [HERE, name.as_ptr().addr(), flags, 0]);
    // It is not to be the test's own terminal.
    let open_slave = || open_with(READ_WRITE | NO_CONTROL);
    must!(open_slave() == EIO, "a slave that is locked");
    must!(ioctl(master, UNLOCK_SLAVE, &mut 0) == 0, "its lock");
    let slave = open_slave();
    must!(slave >= 0, "the slave");
    let slave = slave as usize;
    let mut bytes = [0_u8; 32];
    let write = |to: usize, text: &[u8]| call(nr::WRITE, [to, text.as_ptr().addr(), text.len()]);
    let read = |from: usize, to: &mut [u8; 32]| call(nr::READ, [from, to.as_mut_ptr().addr(), 32]);
    must!(ready(calls, slave as isize) == 0, "nothing was typed");
    must!(write(master, b"ab\x7fc\nd") == 6, "typing");
    must!(read(slave, &mut bytes) == 3 && &bytes[..3] == b"ac\n", "a line that was edited");
    must!(ready(calls, slave as isize) == 0, "half a line");
    must!(write(master, b"\x04") == 1, "the key for the end");
    must!(read(slave, &mut bytes) == 1 && bytes[0] == b'd', "a line without its end");
    let echoed = b"ab\x08 \x08c\r\nd";
    must!(read(master, &mut bytes) == 9 && &bytes[..9] == echoed, "the echo");
    must!(modes_are_locked(calls, slave), "modes that are locked stay as they are");
    must!(write(slave, b"x\n") == 2, "output");
    must!(read(master, &mut bytes) == 3 && &bytes[..3] == b"x\r\n", "a line of output");
    // A session of its own has it as its terminal, whose keys send signals.
    let child = user::fork();
    if child == 0 {
        must!(call(calls.number("setsid"), []) > 0, "a session");
        must!(open_with(READ_WRITE) >= 0, "its terminal");
        write(slave, b"!");
        sleep_milliseconds(60_000);
        return 7;
    }
    must!(read(master, &mut bytes) == 1, "the child is there");
    must!(write(master, b"\x03") == 1, "the key for an interrupt");
    must!(status_of(child) == INTERRUPT, "the child's end");
    must!(read(master, &mut bytes) == 2 && &bytes[..2] == b"^C", "the key's echo");
    call(nr::CLOSE, [slave]);
    must!(read(master, &mut bytes) == EIO, "no slave is left");
    let slave = open_slave() as usize;
    call(nr::CLOSE, [master]);
    must!(read(slave, &mut bytes) == 0, "no master is left");
    must!(write(slave, b"x") == EIO && open_slave() < 0, "the name is gone");
    call(nr::CLOSE, [slave]);
    0
}

fn main() -> i32 {
    let Some(name) = user::only_argument() else { return 2 };
    let Ok(calls) = Calls::read() else { return 3 };
    match name {
        b"processes" => processes(&calls),
        b"locks" => locks(&calls),
        b"moves" => moves(&calls),
        b"texts" => texts(&calls),
        b"terminals" => terminals(&calls),
        _ => 2,
    }
}
