//! What open files, pipes and the calls that wait for them do, beside what Linux does:
//! `open-files`. Status 0 if it is the same.

#![no_std]
#![no_main]

use user::arch::nr;
use user::calls::{Calls, HERE, call, ended_within, path, sleep_milliseconds, status_of};
use user::{exit, fork, must};

user::entry!(main);

const EBADF: isize = -9;
const EAGAIN: isize = -11;
const EPERM: isize = -1;
const EEXIST: isize = -17;
const ENOTDIR: isize = -20;
const EINVAL: isize = -22;
const ELOOP: isize = -40;
const NONBLOCK: usize = 0o4000;
const CREATE: usize = 0o100;
const IN: u32 = 1;
const OUT: u32 = 4;
const EDGE: u32 = 1 << 31;
const ONESHOT: u32 = 1 << 30;
/// Where the data lies in an event of epoll.
const DATA: usize = match user::arch::PLATFORM.to_bytes() {
    b"x86_64" | b"i686" => 4,
    _ => 8,
};
const PIPE_BYTES: usize = 64 << 10;

static FULL: [u8; PIPE_BYTES] = [7; PIPE_BYTES];

fn pipe(flags: usize) -> [usize; 2] {
    let mut ends = [0_u32; 2];
    if call(nr::PIPE2, [ends.as_mut_ptr().addr(), flags]) != 0 {
        exit(99);
    }
    ends.map(|end| end as usize)
}

fn read(number: usize, to: &mut [u8]) -> isize {
    call(nr::READ, [number, to.as_mut_ptr().addr(), to.len()])
}

fn write(number: usize, from: &[u8]) -> isize {
    call(nr::WRITE, [number, from.as_ptr().addr(), from.len()])
}

/// The events that an epoll has, and the data of the first.
fn wait(calls: &Calls, epoll: usize, timeout: isize) -> (isize, u32, u8) {
    let mut events = [0_u8; 64];
    let arguments = [epoll, events.as_mut_ptr().addr(), 4, timeout as usize, 0, 8];
    let count = call(calls.number("epoll_pwait"), arguments);
    let [a, b, c, d, ..] = events;
    (count, u32::from_le_bytes([a, b, c, d]), events[DATA])
}

fn control(calls: &Calls, epoll: usize, how: usize, number: usize, events: u32, data: u8) -> isize {
    let mut event = [0_u8; 16];
    event[..4].copy_from_slice(&events.to_le_bytes());
    event[DATA] = data;
    call(calls.number("epoll_ctl"), [epoll, how, number, event.as_ptr().addr()])
}

fn pipes(calls: &Calls) -> i32 {
    let [reader, writer] = pipe(NONBLOCK);
    let mut byte = [0; 1];
    must!(read(reader, &mut byte) == EAGAIN, "an empty pipe does not say EAGAIN");
    must!(read(writer, &mut byte) == EBADF, "a pipe's end to write can be read");
    must!(write(reader, &byte) == EBADF, "a pipe's end to read can be written");
    must!(write(writer, &FULL) == PIPE_BYTES as isize, "a pipe takes less than it holds");
    must!(write(writer, &byte) == EAGAIN, "a full pipe does not say EAGAIN");
    let mut piece = [0; 4095];
    must!(read(reader, &mut piece) == 4095, "a full pipe does not give all that fits");
    must!(piece.iter().all(|&byte| byte == 7), "a pipe gives other bytes");
    // What is to be in one piece does not fit by one byte.
    must!(write(writer, &FULL[..4096]) == EAGAIN, "an atomic write was cut");
    must!(write(writer, &FULL[..5000]) == 4095, "a larger write is not cut");
    let fcntl = calls.number("fcntl");
    must!(call(fcntl, [reader, 3]) == NONBLOCK as isize, "F_GETFL of a pipe's reader");
    must!(call(fcntl, [writer, 3]) == (NONBLOCK | 1) as isize, "F_GETFL of a pipe's writer");
    must!(call(fcntl, [reader, 1032]) == PIPE_BYTES as isize, "F_GETPIPE_SZ");
    must!(call(fcntl, [reader, 1031, 4096]) == -16, "a pipe that is full can be made smaller");
    must!(call(fcntl, [reader, 1031, 100_000]) == 1 << 17, "F_SETPIPE_SZ");
    must!(call(calls.number("lseek"), [reader, 0, 1]) == -29, "a pipe can be sought in");
    must!(call(nr::PIPE2, [path(c""), 1]) == EINVAL, "pipe2 takes any flag");
    0
}

fn counters(calls: &Calls) -> i32 {
    let counter = call(calls.number("eventfd2"), [3, NONBLOCK]) as usize;
    let mut value = [0; 8];
    must!(read(counter, &mut value[..7]) == EINVAL, "seven bytes of an eventfd");
    must!(read(counter, &mut value) == 8, "an eventfd that has a value");
    must!(u64::from_le_bytes(value) == 3, "another value of an eventfd");
    must!(read(counter, &mut value) == EAGAIN, "an eventfd at 0");
    must!(write(counter, &u64::MAX.to_le_bytes()) == EINVAL, "the highest value of an eventfd");
    must!(write(counter, &(u64::MAX - 1).to_le_bytes()) == 8, "the highest but one");
    must!(write(counter, &1_u64.to_le_bytes()) == EAGAIN, "an eventfd that is full");
    let semaphore = call(calls.number("eventfd2"), [2, NONBLOCK | 1]) as usize;
    for _ in 0..2 {
        must!(read(semaphore, &mut value) == 8, "a semaphore");
        must!(u64::from_le_bytes(value) == 1, "a semaphore gives more than one");
    }
    must!(read(semaphore, &mut value) == EAGAIN, "a semaphore at 0");
    must!(call(calls.number("eventfd2"), [0, 2]) == EINVAL, "eventfd2 takes any flag");
    0
}

fn epolls(calls: &Calls) -> i32 {
    let create = calls.number("epoll_create1");
    must!(call(create, [1]) == EINVAL, "epoll_create1 takes any flag");
    let epoll = call(create, [0]) as usize;
    let [reader, writer] = pipe(0);
    must!(control(calls, epoll, 1, reader, IN, 5) == 0, "an entry");
    must!(control(calls, epoll, 1, reader, IN, 5) == EEXIST, "the same entry again");
    must!(control(calls, epoll, 1, epoll, IN, 5) == EINVAL, "an epoll in itself");
    must!(wait(calls, epoll, 0).0 == 0, "an empty pipe is ready");
    must!(wait(calls, epoll, 20).0 == 0, "an empty pipe is ready in time");
    must!(write(writer, b"ab") == 2, "write");
    for _ in 0..2 {
        must!(wait(calls, epoll, -1) == (1, IN, 5), "the level of a pipe");
    }
    must!(control(calls, epoll, 3, reader, IN | EDGE, 6) == 0, "another kind of entry");
    must!(wait(calls, epoll, 0) == (1, IN, 6), "an edge");
    must!(wait(calls, epoll, 0).0 == 0, "an edge that was told");
    must!(write(writer, b"c") == 1, "write");
    must!(wait(calls, epoll, 0) == (1, IN, 6), "another edge");
    must!(control(calls, epoll, 3, reader, IN | ONESHOT, 7) == 0, "an entry that tells once");
    must!(wait(calls, epoll, 0) == (1, IN, 7), "once");
    must!(write(writer, b"d") == 1, "write");
    must!(wait(calls, epoll, 0).0 == 0, "twice");
    must!(control(calls, epoll, 3, reader, IN, 8) == 0, "armed again");
    must!(wait(calls, epoll, 0) == (1, IN, 8), "after it was armed again");
    // One within another.
    let outer = call(create, [0]) as usize;
    must!(control(calls, outer, 1, epoll, IN, 9) == 0, "an epoll in another");
    must!(wait(calls, outer, 0) == (1, IN, 9), "an epoll in another that is ready");
    must!(control(calls, epoll, 1, outer, IN, 9) == ELOOP, "a circle of epolls");
    let mut bytes = [0; 4];
    must!(read(reader, &mut bytes) == 4, "all that was written");
    must!(wait(calls, outer, 0).0 == 0, "an epoll in another that is not ready any more");
    // A child writes while the parent sleeps.
    let child = fork();
    if child == 0 {
        sleep_milliseconds(20);
        exit((write(writer, b"e") != 1).into());
    }
    must!(wait(calls, outer, 5000) == (1, IN, 9), "a sleeper in an outer epoll is not woken");
    must!(ended_within(child, 3000) == Some(0), "the child");
    must!(control(calls, epoll, 2, reader, 0, 0) == 0, "an entry goes");
    must!(wait(calls, epoll, 0).0 == 0, "an entry that has gone");
    must!(control(calls, epoll, 3, reader, IN, 0) == -2, "it can be changed");
    // The last user of a file takes it out.
    must!(control(calls, epoll, 1, writer, OUT, 1) == 0, "an entry for the writer");
    must!(wait(calls, epoll, 0) == (1, OUT, 1), "the writer");
    must!(call(nr::CLOSE, [writer]) == 0, "close");
    must!(wait(calls, epoll, 0).0 == 0, "a file that was closed");
    let file = call(nr::OPENAT, [HERE, path(c"/tmp/watched"), CREATE | 2, 0o600]) as usize;
    must!(control(calls, epoll, 1, file, IN, 1) == EPERM, "a file that is always ready");
    0
}

fn selects(calls: &Calls) -> i32 {
    let [reader, writer] = pipe(0);
    let pselect = calls.number("pselect6");
    let mut set = [0_usize; 1024 / usize::BITS as usize];
    let time = [0_usize, 10_000_000];
    let ask = |set: &mut [usize], which: usize, number: usize| {
        set[0] = 1 << number;
        let mut arguments = [number + 1, 0, 0, 0, time.as_ptr().addr(), 0];
        arguments[which] = set.as_mut_ptr().addr();
        call(pselect, arguments)
    };
    must!(ask(&mut set, 1, reader) == 0 && set[0] == 0, "an empty pipe can be read");
    must!(ask(&mut set, 2, writer) == 1 && set[0] == 1 << writer, "an empty pipe is full");
    must!(write(writer, b"a") == 1, "write");
    must!(ask(&mut set, 1, reader) == 1 && set[0] == 1 << reader, "a pipe with a byte");
    must!(ask(&mut set, 1, usize::BITS as usize - 1) == EBADF, "no such descriptor");
    must!(call(pselect, [usize::MAX, 0, 0, 0, 0, 0]) == EINVAL, "fewer than none");
    let poll = calls.number("ppoll");
    let mut entries = [reader as u32, (IN | OUT) | 0xffff << 16, u32::MAX, IN, 500, IN];
    let count = call(poll, [entries.as_mut_ptr().addr(), 3, time.as_ptr().addr(), 0, 0]);
    must!(count == 2, "how many are ready");
    must!(entries[1] >> 16 == IN, "what the reader is ready for");
    must!(entries[3] >> 16 == 0, "what no number is ready for");
    must!(entries[5] >> 16 == 0x20, "POLLNVAL");
    must!(call(nr::CLOSE, [writer]) == 0, "close");
    let mut entry = [reader as u32, IN];
    call(poll, [entry.as_mut_ptr().addr(), 1, time.as_ptr().addr(), 0, 0]);
    must!(entry[1] >> 16 == IN | 0x10, "POLLHUP with a byte");
    0
}

fn flags(calls: &Calls) -> i32 {
    let fcntl = calls.number("fcntl");
    let open = |name, flags: usize| call(nr::OPENAT, [HERE, path(name), flags, 0o600]);
    let file = open(c"/tmp/flags", CREATE | 1) as usize;
    let mut byte = [0; 1];
    must!(read(file, &mut byte) == EBADF, "what was opened to write can be read");
    must!(write(file, b"abc") == 3, "write");
    let reader = open(c"/tmp/flags", 0) as usize;
    must!(write(reader, b"x") == EBADF, "what was opened to read can be written");
    must!(call(fcntl, [reader, 3]) & 3 == 0, "F_GETFL to read");
    must!(call(fcntl, [file, 3]) & 3 == 1, "F_GETFL to write");
    must!(call(fcntl, [file, 4, 0o2000]) == 0, "O_APPEND by F_SETFL");
    must!(call(calls.number("lseek"), [file, 0, 0]) == 0, "lseek");
    must!(write(file, b"d") == 1, "write");
    let mut bytes = [0; 8];
    must!(read(reader, &mut bytes) == 4 && &bytes[..4] == b"abcd", "what was appended");
    must!(open(c"/tmp/flags", CREATE | 0o200) == EEXIST, "O_EXCL");
    must!(open(c"/tmp/flags/x", 0) == ENOTDIR, "a file as a directory");
    let place = open(c"/tmp/flags", 0o10000000) as usize;
    must!(read(place, &mut byte) == EBADF, "a place can be read");
    must!(call(fcntl, [place, 4, 0]) == EBADF, "F_SETFL of a place");
    must!(call(fcntl, [reader, 0, 100]) == 100, "F_DUPFD");
    must!(call(fcntl, [reader, 0, 1024]) == EINVAL, "F_DUPFD beyond the limit");
    must!(call(fcntl, [100, 1]) == 0, "F_GETFD");
    let close_range = calls.number("close_range");
    must!(call(close_range, [50, 200, 4]) == 0, "close_range to close on exec");
    must!(call(fcntl, [100, 1]) == 1, "F_GETFD after that");
    must!(call(close_range, [50, 200, 0]) == 0, "close_range");
    must!(call(fcntl, [100, 1]) == EBADF, "F_GETFD of what was closed");
    must!(call(close_range, [2, 1, 0]) == EINVAL, "a range that is none");
    must!(call(calls.number("dup3"), [reader, reader, 0]) == EINVAL, "dup3 to itself");
    0
}

/// The mode and the number of names of a file, by `statx`.
fn mode_and_links(calls: &Calls, name: &core::ffi::CStr) -> (u16, u32) {
    let mut bytes = [0_u8; 256];
    if call(calls.number("statx"), [HERE, path(name), 0, 0x7ff, bytes.as_mut_ptr().addr()]) != 0 {
        return (0, 0);
    }
    let [a, b, c, d] = [bytes[16], bytes[17], bytes[18], bytes[19]];
    (u16::from_le_bytes([bytes[28], bytes[29]]), u32::from_le_bytes([a, b, c, d]))
}

fn names(calls: &Calls) -> i32 {
    let open = |name, flags: usize, mode| call(nr::OPENAT, [HERE, path(name), flags, mode]);
    let at = |name: &str, arguments: [usize; 5]| call(calls.number(name), arguments);
    let file = open(c"/tmp/names", CREATE | 2, 0o666) as usize;
    must!(mode_and_links(calls, c"/tmp/names") == (0o100644, 1), "the mode of a new file");
    must!(at("fchmodat", [HERE, path(c"/tmp/names"), 0o751, 0, 0]) == 0, "fchmodat");
    let linked = at("linkat", [HERE, path(c"/tmp/names"), HERE, path(c"/tmp/more"), 0]);
    must!(linked == 0, "linkat");
    must!(mode_and_links(calls, c"/tmp/more") == (0o100751, 2), "a file with two names");
    let again = at("linkat", [HERE, path(c"/tmp/names"), HERE, path(c"/tmp/more"), 0]);
    must!(again == EEXIST, "a name that is there");
    must!(write(file, b"both") == 4, "write");
    let other = open(c"/tmp/more", 0, 0) as usize;
    let mut bytes = [0; 8];
    must!(read(other, &mut bytes) == 4 && &bytes[..4] == b"both", "the same file by two names");
    must!(at("unlinkat", [HERE, path(c"/tmp/names"), 0, 0, 0]) == 0, "unlinkat");
    must!(mode_and_links(calls, c"/tmp/more").1 == 1, "a file with one name less");
    let rename = calls.number("renameat2");
    let renamed = |from, to, flags| call(rename, [HERE, path(from), HERE, path(to), flags]);
    must!(open(c"/tmp/third", CREATE | 1, 0o600) > 0, "a third file");
    must!(renamed(c"/tmp/more", c"/tmp/third", 1) == EEXIST, "RENAME_NOREPLACE");
    must!(renamed(c"/tmp/more", c"/tmp/third", 2) == 0, "RENAME_EXCHANGE");
    must!(mode_and_links(calls, c"/tmp/third").0 == 0o100751, "the exchanged file");
    must!(renamed(c"/tmp/more", c"/tmp/third", 8) == EINVAL, "a rename with any flag");
    // A named pipe.
    must!(at("mknodat", [HERE, path(c"/tmp/fifo"), 0o010666, 0, 0]) == 0, "mknodat");
    must!(mode_and_links(calls, c"/tmp/fifo").0 == 0o010644, "the mode of a named pipe");
    must!(open(c"/tmp/fifo", 1 | NONBLOCK, 0) == -6, "a named pipe without a reader");
    // Often: the other end may come before, and go as soon as this one is there.
    for _ in 0..100 {
        let child = fork();
        if child == 0 {
            let writer = open(c"/tmp/fifo", 1, 0);
            exit((writer < 0 || write(writer as usize, b"named") != 5).into());
        }
        let reader = open(c"/tmp/fifo", 0, 0) as usize;
        must!(read(reader, &mut bytes) == 5 && &bytes[..5] == b"named", "what went through it");
        must!(status_of(child) == 0, "the child that writes to it");
        must!(read(reader, &mut bytes) == 0, "its end");
        must!(call(nr::CLOSE, [reader]) == 0, "close");
    }
    // Devices.
    let full = open(c"/dev/full", 2, 0) as usize;
    must!(write(full, b"x") == -28, "/dev/full has room");
    let random = open(c"/dev/urandom", 0, 0) as usize;
    must!(read(random, &mut bytes) == 8 && bytes != [0; 8], "/dev/urandom");
    must!(at("faccessat", [HERE, path(c"/tmp/fifo"), 1, 0, 0]) == -13, "what nobody may execute");
    let mut times = [0_usize; 4];
    times[0] = 1000;
    times[2] = 2000;
    let set = at("utimensat", [HERE, path(c"/tmp/third"), times.as_ptr().addr(), 0, 0]);
    must!(set == 0, "utimensat");
    let mut stat = [0_u8; 256];
    let told = [HERE, path(c"/tmp/third"), 0, 0x7ff, stat.as_mut_ptr().addr()];
    must!(at("statx", told) == 0, "statx");
    must!(stat[64..72] == 1000_u64.to_le_bytes(), "when it was read");
    must!(stat[112..120] == 2000_u64.to_le_bytes(), "when it was written");
    0
}

/// A pair of local sockets.
fn pair(calls: &Calls, kind: usize) -> [usize; 2] {
    let mut ends = [0_u32; 2];
    if call(calls.number("socketpair"), [1, kind, 0, ends.as_mut_ptr().addr()]) != 0 {
        exit(98);
    }
    ends.map(|end| end as usize)
}

fn sockets(calls: &Calls) -> i32 {
    let at = |name: &str, arguments: [usize; 5]| call(calls.number(name), arguments);
    must!(at("socketpair", [2, 1, 0, 0, 0]) == -97, "a pair of another family");
    must!(at("socketpair", [1, 9, 0, 0, 0]) == -94, "a pair of another kind");
    let [one, other] = pair(calls, 1 | NONBLOCK);
    let mut bytes = [0; 8];
    must!(read(one, &mut bytes) == EAGAIN, "an empty socket");
    must!(write(one, b"ab") == 2 && write(one, b"cd") == 2, "write");
    must!(read(other, &mut bytes) == 4 && &bytes[..4] == b"abcd", "a stream");
    must!(at("shutdown", [one, 1, 0, 0, 0]) == 0, "shutdown");
    must!(read(other, &mut bytes) == 0, "the end of a stream");
    // MSG_NOSIGNAL.
    let address = bytes.as_ptr().addr();
    must!(at("sendto", [one, address, 1, 0x4000, 0]) == -32, "a stream that was shut");
    let [one, other] = pair(calls, 5 | NONBLOCK);
    must!(write(one, b"abc") == 3 && write(one, b"d") == 1, "write");
    must!(read(other, &mut bytes[..2]) == 2 && &bytes[..2] == b"ab", "a packet that is cut");
    must!(read(other, &mut bytes) == 1 && bytes[0] == b'd', "the next packet");
    // An open file in a message: a `struct msghdr` in words, with control data of length, level and
    // type, number.
    let [reader, writer] = pipe(0);
    let word = size_of::<usize>();
    let vector = [address, 1];
    let mut control = [0_usize; 8];
    let set = |control: &mut [usize; 8], number: usize| {
        control[0] = word + 12;
        if word == 8 {
            control[1] = 1 | 1 << (usize::BITS / 2);
            control[2] = number;
        } else {
            control[1..4].copy_from_slice(&[1, 1, number]);
        }
    };
    set(&mut control, reader);
    let whole = (word + 12).next_multiple_of(word);
    let mut header = [0, 0, vector.as_ptr().addr(), 1, control.as_mut_ptr().addr(), whole, 0];
    must!(at("sendmsg", [one, header.as_ptr().addr(), 0, 0, 0]) == 1, "sendmsg");
    must!(call(nr::CLOSE, [reader]) == 0, "close");
    control = [0; 8];
    header[5] = 8 * word;
    must!(at("recvmsg", [other, header.as_mut_ptr().addr(), 0, 0, 0]) == 1, "recvmsg");
    must!(control[0] == word + 12, "no control data came");
    let number = (if word == 8 { control[2] } else { control[3] }) & 0xffff;
    must!(write(writer, b"through") == 7, "write");
    must!(read(number, &mut bytes) == 7, "the file that came");
    must!(call(nr::CLOSE, [one]) == 0, "close");
    must!(read(other, &mut bytes) == 0, "the end of packets");
    0
}

fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 3 };
    let parts = [pipes, counters, epolls, selects, flags, names, sockets];
    let failed = parts.iter().any(|part| part(&calls) != 0);
    let made = [c"/tmp/watched", c"/tmp/flags", c"/tmp/third", c"/tmp/more", c"/tmp/fifo"];
    for name in made {
        let removed = call(calls.number("unlinkat"), [HERE, path(name), 0]);
        must!(failed || removed == 0, "a file that was made is not there");
    }
    i32::from(failed)
}
