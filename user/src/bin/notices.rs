//! Signals of files (`O_ASYNC`): `notices NAME`. `pipes`, `others` (sockets, terminals, what tells
//! nothing), `owners` (whom a file tells, and who may), `directories` (`F_NOTIFY`).

#![no_std]
#![no_main]

use user::arch::nr;
use user::calls::{Calls, HERE, call, path, status_of};
use user::must;
use user::signals::{EINVAL, INFO_BYTES, Numbers, SIGRTMIN, bit};

user::entry!(main);

const ESRCH: isize = -3;
const SET_FLAGS: usize = 4;
const GET_FLAGS: usize = 3;
const SET_OWNER: usize = 8;
const GET_OWNER: usize = 9;
const SET_SIGNAL: usize = 10;
const SET_OWNER_EX: usize = 15;
const GET_OWNER_EX: usize = 16;
const ASYNC: usize = 0o20000;
const NONBLOCK: usize = 0o4000;
const SIGIO: usize = 29;
const SIGNAL: usize = SIGRTMIN + 1;
const INPUT: (i32, usize) = (1, 0x41);
const ROOM: (i32, usize) = (2, 0x304);
const HANG_UP: (i32, usize) = (6, 0x18);
const KERNEL: i32 = 0x80;

/// What a signal said of a file: the signal, its code, its events, the descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    signal: isize,
    code: i32,
    band: usize,
    file: usize,
}

/// Takes a signal that is pending, of the two that these tests use.
fn take(calls: &Calls) -> Option<Told> {
    #[repr(align(8))]
    struct Bytes([u8; INFO_BYTES]);
    let set = bit(SIGIO) | bit(SIGNAL);
    let mut info = Bytes([0; INFO_BYTES]);
    let time = [0_usize; 2];
    let at = info.0.as_mut_ptr().addr();
    let asked = [(&raw const set).addr(), at, time.as_ptr().addr(), 8];
    let signal = call(calls.number("rt_sigtimedwait"), asked);
    let bytes = core::hint::black_box(&info.0);
    let word = size_of::<usize>();
    let number = |at: usize, size: usize| {
        (0..size).rev().fold(0, |number, byte| number << 8 | usize::from(bytes[at + byte]))
    };
    let fields = 12_usize.next_multiple_of(word);
    (signal > 0).then(|| Told {
        signal,
        code: number(8, 4) as i32,
        band: number(fields, word),
        file: number(fields + word, 4),
    })
}

struct Files<'c> {
    calls: &'c Calls,
    fcntl: usize,
    me: usize,
}

impl<'c> Files<'c> {
    fn new(calls: &'c Calls) -> Self {
        let name = if size_of::<usize>() == 4 { "fcntl64" } else { "fcntl" };
        let me = call(calls.number("getpid"), []) as usize;
        Self { calls, fcntl: calls.number(name), me }
    }

    fn fcntl(&self, file: usize, command: usize, argument: usize) -> isize {
        call(self.fcntl, [file, command, argument])
    }

    /// Has a file tell the caller by [`SIGNAL`].
    fn tell_me(&self, file: usize) -> bool {
        self.fcntl(file, SET_OWNER, self.me) == 0
            && self.fcntl(file, SET_SIGNAL, SIGNAL) == 0
            && self.fcntl(file, SET_FLAGS, ASYNC | NONBLOCK) == 0
    }

    fn pair(&self, name: &str, arguments: [usize; 3]) -> [usize; 2] {
        let mut ends = [0_u32; 2];
        let at = ends.as_mut_ptr().addr();
        match name {
            "pipe2" => call(self.calls.number(name), [at, NONBLOCK]),
            _ => call(self.calls.number(name), [arguments[0], arguments[1], arguments[2], at]),
        };
        ends.map(|end| end as usize)
    }
}

fn write(to: usize, text: &[u8]) -> bool {
    call(nr::WRITE, [to, text.as_ptr().addr(), text.len()]) == text.len() as isize
}

fn read(from: usize) -> isize {
    let mut bytes = [0_u8; 16];
    call(nr::READ, [from, bytes.as_mut_ptr().addr(), bytes.len()])
}

const fn told((code, band): (i32, usize), file: usize) -> Option<Told> {
    Some(Told { signal: SIGNAL as isize, code, band, file })
}

fn pipes(calls: &Calls) -> i32 {
    let files = Files::new(calls);
    let [reader, writer] = files.pair("pipe2", [0; 3]);
    must!(files.tell_me(reader) && files.tell_me(writer), "a pipe tells nothing");
    must!(files.fcntl(reader, GET_FLAGS, 0) == (ASYNC | NONBLOCK) as isize, "its flags");
    must!(take(calls).is_none(), "told before there is anything");
    must!(write(writer, b"ab"), "a write");
    must!(take(calls) == told(INPUT, reader), "input is not told to the reader, or not as it is");
    must!(take(calls).is_none(), "told more than once");
    must!(read(reader) == 2 && take(calls) == told(ROOM, writer), "room is not told");
    // Without a signal of one's own it is SIGIO, and from the kernel.
    must!(files.fcntl(reader, SET_SIGNAL, 0) == 0, "SIGIO");
    must!(write(writer, b"c"), "a write");
    let plain = take(calls);
    must!(plain.is_some_and(|t| t.signal == SIGIO as isize && t.code == KERNEL), "not SIGIO");
    // Each is told by its own flag.
    must!(files.fcntl(reader, SET_FLAGS, NONBLOCK) == 0, "no signal any more");
    must!(files.fcntl(reader, GET_FLAGS, 0) == NONBLOCK as isize, "its flags");
    must!(write(writer, b"d") && take(calls).is_none(), "told, though it was turned off");
    // The last writer goes: that is input's end. A copy of a descriptor is the same open file.
    must!(files.tell_me(reader), "once more");
    let copy = call(calls.number("dup"), [writer]) as usize;
    call(nr::CLOSE, [writer]);
    must!(take(calls).is_none(), "an open file that is still there told of its end");
    call(nr::CLOSE, [copy]);
    must!(take(calls) == told(INPUT, reader), "the end is not told");
    call(nr::CLOSE, [reader]);
    0
}

fn others(calls: &Calls) -> i32 {
    const LOCAL: usize = 1;
    const STREAM: usize = 1;
    let files = Files::new(calls);
    let [one, other] = files.pair("socketpair", [LOCAL, STREAM, 0]);
    must!(files.tell_me(one), "a socket tells nothing");
    must!(write(other, b"x") && take(calls) == told(INPUT, one), "input of a socket");
    must!(write(one, b"x") && take(calls).is_none(), "what one writes oneself");
    call(nr::CLOSE, [other]);
    must!(take(calls) == told(HANG_UP, one), "the other end has gone");
    call(nr::CLOSE, [one]);

    // A terminal tells when there is a line.
    const GET_NUMBER: usize = 0x8004_5430;
    const UNLOCK_SLAVE: usize = 0x4004_5431;
    let ioctl = calls.number("ioctl");
    let master = call(nr::OPENAT, [HERE, path(c"/dev/ptmx"), 2 | 0o400, 0]) as usize;
    let (mut number, unlocked) = (0_u32, 0_u32);
    call(ioctl, [master, GET_NUMBER, (&raw mut number).addr()]);
    call(ioctl, [master, UNLOCK_SLAVE, (&raw const unlocked).addr()]);
    let mut name = *b"/dev/pts/0\0";
    name[9] += number as u8;
    let slave = call(nr::OPENAT, [HERE, name.as_ptr().addr(), 2 | 0o400, 0]) as usize;
    must!(files.tell_me(slave), "a terminal tells nothing");
    must!(write(master, b"ab") && take(calls).is_none(), "half a line");
    must!(write(master, b"c\n") && take(calls) == told(INPUT, slave), "a line is not told");
    // What tells nothing takes the flag and stays without it.
    let counter = call(calls.number("eventfd2"), [0, 0]) as usize;
    must!(files.fcntl(counter, SET_FLAGS, ASYNC) == 0, "a counter refuses it");
    must!(files.fcntl(counter, GET_FLAGS, 0) == 2, "a counter has it");
    0
}

fn owners(calls: &Calls) -> i32 {
    const THREAD: u32 = 0;
    const PROCESS: u32 = 1;
    const GROUP: u32 = 2;
    let files = Files::new(calls);
    let [reader, writer] = files.pair("pipe2", [0; 3]);
    let owner = |kind: u32, number: usize| {
        let words = [kind, number as u32];
        files.fcntl(reader, SET_OWNER_EX, words.as_ptr().addr())
    };
    must!(files.fcntl(reader, SET_OWNER, 1 << 21) == ESRCH, "a process that is not there");
    must!(files.fcntl(reader, SET_OWNER, i32::MIN as usize) == EINVAL, "a group that is none");
    must!(owner(3, files.me) == EINVAL, "a kind that is none");
    must!(files.fcntl(reader, SET_SIGNAL, 65) == EINVAL, "a signal that is none");
    must!(owner(THREAD, files.me) == 0, "a thread");
    let mut words = [7_u32; 2];
    let asked = words.as_mut_ptr().addr();
    must!(files.fcntl(reader, GET_OWNER_EX, asked) == 0, "who is told");
    must!(words == [THREAD, files.me as u32], "who is told, by kind");
    must!(owner(PROCESS, files.me) == 0, "a process");
    must!(files.fcntl(reader, GET_OWNER, 0) == files.me as isize, "the process");
    must!(files.fcntl(reader, SET_SIGNAL, SIGNAL) == 0, "a signal");
    must!(files.fcntl(reader, SET_FLAGS, ASYNC | NONBLOCK) == 0, "its flag");
    // A child that is told instead, as a member of the group that is.
    let mut ready = files.pair("socketpair", [1, 1, 0]);
    let child = user::fork();
    if child == 0 {
        call(calls.number("setpgid"), [0, 0]);
        ready.swap(0, 1);
        must!(write(ready[0], b"r"), "ready");
        must!(read(ready[0]) == 1, "told to look");
        return i32::from(take(calls) != told(INPUT, reader));
    }
    must!(read(ready[0]) == 1, "the child");
    must!(owner(GROUP, child as usize) == 0, "a group");
    let group = files.fcntl(reader, GET_OWNER, 0);
    must!(group == -child, "the group");
    must!(write(writer, b"x") && take(calls).is_none(), "the wrong one is told");
    must!(write(ready[0], b"l") && status_of(child) == 0, "the group is not told");
    0
}

/// Directories tell by signals of what happens in them: once, or until it is taken back.
fn directories(calls: &Calls) -> i32 {
    const NOTIFY: usize = 1026;
    const MODIFY: usize = 2;
    const MADE: usize = 4;
    const DELETED: usize = 8;
    const RENAMED: usize = 0x10;
    const ATTRIBUTES: usize = 0x20;
    const AGAIN: usize = 1 << 31;
    const ENOTDIR: isize = -20;
    const HAPPENED: (i32, usize) = (3, 0x441);
    let files = Files::new(calls);
    let open = |name, flags| call(nr::OPENAT, [HERE, path(name), flags, 0o600]) as usize;
    let make = |name| call(calls.number("mkdirat"), [HERE, path(name), 0o700]) == 0;
    let create = |name| call(nr::CLOSE, [open(name, 0o101)]) == 0;
    let remove = |name| call(calls.number("unlinkat"), [HERE, path(name), 0]) == 0;
    let rename =
        |from, to| call(calls.number("renameat2"), [HERE, path(from), HERE, path(to), 0]) == 0;
    must!(make(c"/tmp/tells") && make(c"/tmp/tells/inner"), "directories");
    let directory = open(c"/tmp/tells", 0);
    let tell = |what| files.fcntl(directory, NOTIFY, what) == 0;
    must!(files.fcntl(directory, SET_SIGNAL, SIGNAL) == 0, "a signal");
    // Once, and only of what was asked for, in itself.
    must!(tell(MADE), "a directory tells nothing");
    must!(files.fcntl(directory, GET_OWNER, 0) == files.me as isize, "not told to the caller");
    must!(create(c"/tmp/tells/inner/a") && take(calls).is_none(), "of what is further down");
    must!(create(c"/tmp/tells/a") && take(calls) == told(HAPPENED, directory), "a new file");
    must!(create(c"/tmp/tells/b") && take(calls).is_none(), "told a second time");
    // Again and again; what is asked for later comes to it.
    must!(tell(MADE | AGAIN) && tell(MODIFY), "more");
    for name in [c"/tmp/tells/c", c"/tmp/tells/d"] {
        must!(create(name) && take(calls) == told(HAPPENED, directory), "again");
    }
    let file = open(c"/tmp/tells/c", 1);
    must!(write(file, b"x") && take(calls) == told(HAPPENED, directory), "a write");
    must!(tell(0) && write(file, b"x") && take(calls).is_none(), "taken back");
    // Names that move, within it and out of it; attributes, its own too.
    must!(tell(RENAMED | AGAIN), "names");
    must!(rename(c"/tmp/tells/c", c"/tmp/tells/e"), "rename");
    must!(take(calls) == told(HAPPENED, directory) && take(calls).is_none(), "within");
    must!(rename(c"/tmp/tells/e", c"/tmp/tells/inner/e") && take(calls).is_none(), "out is none");
    must!(tell(0) && tell(DELETED | AGAIN), "ends");
    must!(rename(c"/tmp/tells/d", c"/tmp/tells/inner/d"), "rename");
    must!(take(calls) == told(HAPPENED, directory), "out of it");
    must!(remove(c"/tmp/tells/b") && take(calls) == told(HAPPENED, directory), "unlink");
    must!(tell(0) && tell(ATTRIBUTES | AGAIN), "attributes");
    must!(call(calls.number("fchmod"), [directory, 0o755]) == 0, "fchmod");
    must!(take(calls) == told(HAPPENED, directory), "its own");
    // It ends with any descriptor of the process, and with none of a child's.
    let child = user::fork();
    if child == 0 {
        return i32::from(call(nr::CLOSE, [directory]) != 0);
    }
    must!(status_of(child) == 0 && call(calls.number("fchmod"), [directory, 0o700]) == 0, "child");
    must!(take(calls) == told(HAPPENED, directory), "ended by a child");
    let copy = call(calls.number("dup"), [directory]) as usize;
    must!(call(nr::CLOSE, [copy]) == 0, "close");
    must!(call(calls.number("fchmod"), [directory, 0o755]) == 0 && take(calls).is_none(), "end");
    // What is none.
    must!(files.fcntl(file, NOTIFY, MADE) == ENOTDIR, "a file");
    must!(files.fcntl(file, NOTIFY, 0) == 0, "nothing of a file");
    call(nr::CLOSE, [file]);
    call(nr::CLOSE, [directory]);
    0
}

fn main() -> i32 {
    let Some(name) = user::only_argument() else { return 2 };
    let Ok(calls) = Calls::read() else { return 3 };
    let Some(n) = Numbers::read() else { return 3 };
    n.set_mask(bit(SIGIO) | bit(SIGNAL));
    match name {
        b"pipes" => pipes(&calls),
        b"others" => others(&calls),
        b"owners" => owners(&calls),
        b"directories" => directories(&calls),
        _ => 2,
    }
}
