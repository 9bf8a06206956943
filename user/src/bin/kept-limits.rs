//! What the kernel is set to and told, and keeps to: `kept-limits NAME`. `settings` (files of
//! /proc/sys), `rooms` (file systems with limits, devices that there are none of), `clock`
//! (adjtimex), `cached` (cachestat). Status 0 if all is as on Linux.

#![no_std]
#![no_main]

use core::ffi::CStr;
use user::arch::{OPEN_FLAGS, nr};
use user::calls::{Calls, HERE, call, path, read_file, status_of};
use user::must;

user::entry!(main);

const EPERM: isize = -1;
const ENOENT: isize = -2;
const ENXIO: isize = -6;
const EBADF: isize = -9;
const EACCES: isize = -13;
const EFAULT: isize = -14;
const EINVAL: isize = -22;
const EMFILE: isize = -24;
const ENOSPC: isize = -28;
const EOPNOTSUPP: isize = -95;
const WRITE: usize = 1;
const READ_WRITE: usize = 2;
const CREATE: usize = 0o100;
/// `O_TMPFILE`, with `O_DIRECTORY` as the machine has it.
const TEMPORARY: usize = 0o20_000_000 | OPEN_FLAGS[0];
const PAGE: usize = 4096;

struct Numbers(Calls);

impl Numbers {
    fn call<const N: usize>(&self, name: &str, arguments: [usize; N]) -> isize {
        call(self.0.number(name), arguments)
    }

    fn open(&self, name: &CStr, flags: usize) -> isize {
        self.call("openat", [HERE, path(name), flags, 0o644])
    }

    fn set(&self, name: &CStr, to: &[u8]) -> isize {
        let file = self.open(name, WRITE);
        if file < 0 {
            return file;
        }
        let written = self.call("write", [file as usize, to.as_ptr().addr(), to.len()]);
        call(nr::CLOSE, [file as usize]);
        written
    }

    fn memory_file(&self, flags: usize) -> isize {
        self.call("memfd_create", [path(c"x"), flags])
    }
}

fn is(name: &CStr, text: &[u8]) -> bool {
    let mut room = [0; 64];
    read_file(name, &mut room).is_ok_and(|length| &room[..length] == text)
}

fn settings(numbers: &Numbers) -> i32 {
    const NR_OPEN: &CStr = c"/proc/sys/fs/nr_open";
    const MAX: &CStr = c"/proc/sys/fs/mqueue/msg_max";
    const DEFAULT: &CStr = c"/proc/sys/fs/mqueue/msg_default";
    const QUEUES: &CStr = c"/proc/sys/fs/mqueue/queues_max";
    const SCOPE: &CStr = c"/proc/sys/vm/memfd_noexec";
    // A descriptor beyond what there may be later is taken into no other table.
    must!(is(NR_OPEN, b"1048576\n"), "nr_open");
    must!(numbers.set(NR_OPEN, b"7") == EINVAL, "no descriptors at all");
    let limit = [1_048_640_u64; 2];
    let raise = [0, 7, limit.as_ptr().addr(), 0];
    must!(numbers.call("prlimit64", raise) == EPERM, "more than nr_open");
    must!(numbers.set(NR_OPEN, b"1048640\n") == 8, "nr_open is not taken");
    must!(numbers.call("prlimit64", raise) == 0, "as many as nr_open");
    must!(numbers.call("dup3", [2, 1_048_620, 0]) == 1_048_620, "the descriptor");
    must!(numbers.set(NR_OPEN, b"1048576\n") == 8, "nr_open as it was");
    must!(user::fork() == EMFILE, "a table with too many");
    must!(call(nr::CLOSE, [1_048_620]) == 0, "close");
    let child = user::fork();
    if child == 0 {
        return 0;
    }
    must!(status_of(child) == 0, "a table with none too many");

    must!(is(MAX, b"10\n") && is(DEFAULT, b"10\n") && is(QUEUES, b"256\n"), "queues' settings");
    must!(numbers.set(MAX, b"0") == EINVAL && numbers.set(MAX, b"65537") == EINVAL, "their range");
    must!(numbers.set(DEFAULT, b"4") == 1, "the default");
    let queue = numbers.call("mq_open", [path(c"kept"), READ_WRITE | CREATE, 0o600, 0]);
    let mut attributes = [0_usize; 8];
    let asked = [queue as usize, 0, attributes.as_mut_ptr().addr()];
    let told = numbers.call("mq_getsetattr", asked);
    let read = |i: usize| {
        // SAFETY: (1) the array, which the kernel has written to.
        unsafe { core::ptr::read_volatile(&raw const attributes[i]) }
    };
    must!(queue >= 0 && told == 0 && read(1) == 4 && read(2) == 8192, "a queue by default");
    must!(numbers.call("mq_unlink", [path(c"kept")]) == 0, "unlink");
    must!(call(nr::CLOSE, [queue as usize]) == 0 && numbers.set(DEFAULT, b"10") == 2, "as before");

    const PIPES: &CStr = c"/proc/sys/fs/pipe-max-size";
    must!(is(PIPES, b"1048576\n") && numbers.set(PIPES, b"70000") == 5, "what pipes may hold");
    must!(is(PIPES, b"131072\n") && numbers.set(PIPES, b"1048576") == 7, "in whole pages");
    // A new pipe of one without privileges, and one of who has many.
    const OFTEN: &CStr = c"/proc/sys/fs/pipe-user-pages-soft";
    const HOLDS: usize = 1032;
    let holds = || {
        let mut ends = [0_u32; 2];
        must!(numbers.call("pipe2", [ends.as_mut_ptr().addr(), 0]) == 0, "a pipe");
        // SAFETY: (1) the array, which the kernel has written to.
        let end = unsafe { core::ptr::read_volatile(&raw const ends[0]) };
        let fcntl = match numbers.0.number("fcntl") {
            usize::MAX => "fcntl64",
            _ => "fcntl",
        };
        numbers.call(fcntl, [end as usize, HOLDS, 0]) as i32
    };
    must!(numbers.set(PIPES, b"4096") == 4 && holds() == 65536, "a pipe of root's");
    let child = user::fork();
    if child == 0 {
        numbers.call("setresuid", [1234, 1234, 1234]);
        return i32::from(holds() != 4096);
    }
    must!(status_of(child) == 0, "a pipe of another's");
    must!(numbers.set(PIPES, b"1048576") == 7 && is(OFTEN, b"16384\n"), "how many pages");
    must!(numbers.set(OFTEN, b"40") == 2, "fewer pages");
    let child = user::fork();
    if child == 0 {
        numbers.call("setresuid", [1234, 1234, 1234]);
        let large = holds() == 65536 && holds() == 65536;
        return i32::from(!large || holds() != 8192);
    }
    must!(status_of(child) == 0, "a small pipe of who has many");
    must!(numbers.set(OFTEN, b"16384") == 5, "pages as before");
    const SEGMENT: &CStr = c"/proc/sys/kernel/shmmax";
    let mut before = [0; 32];
    let length = read_file(SEGMENT, &mut before).unwrap_or(0);
    must!(length > 2 && numbers.set(SEGMENT, b"8192") == 4, "how large a segment may be");
    must!(numbers.call("shmget", [0, 8193, 0o1600]) == EINVAL, "a larger one");
    must!(numbers.set(SEGMENT, &before[..length]) == length as isize, "segments as before");

    // Below a namespace nothing is allowed that is not allowed in it.
    const NEW_PID: usize = 0x2000_0000;
    const CHILD_SIGNAL: usize = 17;
    must!(is(SCOPE, b"0\n") && numbers.set(SCOPE, b"3") == EINVAL, "memfd_noexec");
    let child = numbers.call("clone", [NEW_PID | CHILD_SIGNAL, 0, 0, 0, 0]);
    if child == 0 {
        let mode = |file: isize| {
            let mut told = [0_u8; 256];
            let asked = [file as usize, path(c""), 0x1000, 2, told.as_mut_ptr().addr()];
            must!(numbers.call("statx", asked) == 0, "statx");
            i32::from(told[28]) | i32::from(told[29]) << 8
        };
        must!(mode(numbers.memory_file(0)) & 0o111 != 0, "a program, where nothing is said");
        must!(numbers.set(SCOPE, b"1") == 1 && is(SCOPE, b"1\n"), "no programs but by a word");
        must!(mode(numbers.memory_file(0)) & 0o111 == 0, "no program, where nothing is said");
        must!(mode(numbers.memory_file(0x10)) & 0o111 != 0, "a program by a word");
        must!(numbers.set(SCOPE, b"2") == 1, "never");
        must!(numbers.memory_file(0x10) == EACCES, "a program where there is none");
        must!(numbers.memory_file(8) >= 0 && numbers.memory_file(0) >= 0, "what is no program");
        let below = numbers.call("clone", [NEW_PID | CHILD_SIGNAL, 0, 0, 0, 0]);
        if below == 0 {
            must!(is(SCOPE, b"2\n") && numbers.set(SCOPE, b"1") == EINVAL, "more than around it");
            return 0;
        }
        must!(below > 0, "a namespace in it");
        return status_of(below) >> 8;
    }
    must!(child > 0 && status_of(child) == 0, "the namespace");
    must!(is(SCOPE, b"0\n"), "it is set outside, too");
    0
}

fn rooms(numbers: &Numbers) -> i32 {
    const PLACE: &CStr = c"/tmp/kept-room";
    let mount = |options: &CStr, flags: usize| {
        let kind = path(c"tmpfs");
        numbers.call("mount", [kind, path(PLACE), kind, flags, path(options)])
    };
    let file = |name: &CStr| numbers.open(name, CREATE | READ_WRITE);
    let write = |file: isize, bytes: usize| {
        let from = [7_u8; 2 * PAGE];
        numbers.call("write", [file as usize, from.as_ptr().addr(), bytes])
    };
    let close = |file: isize| call(nr::CLOSE, [file as usize]) == 0;
    let unlink = |name: &CStr| numbers.call("unlinkat", [HERE, path(name), 0]);
    must!(numbers.call("mkdirat", [HERE, path(PLACE), 0o755]) == 0, "a directory");
    must!(mount(c"size=x", 0) == EINVAL && mount(c"nr_inodes=-1", 0) == EINVAL, "no numbers");
    must!(mount(c"nr_inodes=3,size=8k", 0) == 0, "a file system with limits");
    // The root, and two more: one that has no name yet counts, too.
    let nameless = numbers.open(PLACE, TEMPORARY | WRITE);
    let first = file(c"/tmp/kept-room/a");
    must!(nameless >= 0 && first >= 0, "two files");
    must!(file(c"/tmp/kept-room/b") == ENOSPC, "a file too many");
    must!(
        numbers.call("mkdirat", [HERE, path(c"/tmp/kept-room/d"), 0o755]) == ENOSPC,
        "a directory"
    );
    must!(numbers.open(PLACE, TEMPORARY | WRITE) == ENOSPC, "one without a name too many");
    must!(close(nameless), "close");
    let second = file(c"/tmp/kept-room/b");
    must!(second >= 0, "the place of one that has gone");
    // Two pages for both.
    must!(write(first, PAGE) == PAGE as isize && write(second, 1) == 1, "pages");
    must!(write(first, 2 * PAGE) == ENOSPC, "a page too many");
    must!(write(second, PAGE) == PAGE as isize - 1, "as far as there is room");
    must!(numbers.call("ftruncate", [second as usize, 0, 0, 0]) == 0, "truncate");
    must!(write(first, PAGE) == PAGE as isize, "the page of another");
    // No smaller than what is in it.
    const REMOUNT: usize = 0x20;
    must!(mount(c"size=4k", REMOUNT) == EINVAL, "smaller than what is in it");
    must!(mount(c"nr_inodes=4", REMOUNT) == 0, "larger");
    let third = file(c"/tmp/kept-room/c");
    must!(third >= 0 && close(first) && close(second) && close(third), "a file more");
    must!(unlink(c"/tmp/kept-room/a") == 0, "unlink");
    let again = file(c"/tmp/kept-room/a");
    must!(again >= 0 && write(again, 2 * PAGE) == 2 * PAGE as isize, "all of it once more");
    must!(close(again) && numbers.call("umount2", [path(PLACE), 0]) == 0, "umount");
    must!(numbers.call("unlinkat", [HERE, path(PLACE), 0x200]) == 0, "rmdir");

    // A device that there is none of has a node all the same.
    const NONE: &CStr = c"/tmp/kept-device";
    for kind in [0o020000, 0o060000] {
        let made = numbers.call("mknodat", [HERE, path(NONE), kind | 0o600, 0x7b2d]);
        must!(made == 0, "a node");
        must!(numbers.open(NONE, 0) == ENXIO, "what there is none of was opened");
        let arguments = [0_usize; 1];
        let run = [path(NONE), arguments.as_ptr().addr(), arguments.as_ptr().addr()];
        must!(numbers.call("execve", run) == EACCES, "a device was run");
        must!(unlink(NONE) == 0 && numbers.open(NONE, 0) == ENOENT, "unlink");
    }
    0
}

fn clock(numbers: &Numbers) -> i32 {
    const WORDS: usize = 32;
    const CONSTANT: usize = 6;
    const STATUS: usize = 5;
    const MAX_ERROR: usize = 3;
    const TICK: usize = 11;
    const ATOMIC: usize = 20;
    let ask = |modes: u32, word: usize, value: usize| {
        let mut all = [0_usize; WORDS];
        all[word] = value;
        all[0] = modes as usize;
        let answer = numbers.call("adjtimex", [all.as_mut_ptr().addr()]);
        let told = |i: usize| {
            // SAFETY: (1) the array, which the kernel has written to.
            unsafe { core::ptr::read_volatile(&raw const all[i]) }
        };
        (answer, told(ATOMIC) as u32, told(STATUS) as u32, told(MAX_ERROR), told(TICK))
    };
    let now = |clock: usize| {
        let mut time = [0_usize; 2];
        let asked = [clock, time.as_mut_ptr().addr()];
        must!(call(nr::CLOCK_GETTIME, asked) == 0, "a clock");
        // SAFETY: (1) the array, which the kernel has written to.
        unsafe { core::ptr::read_volatile(&raw const time[0]) as i32 }
    };
    let before = ask(0, 0, 0);
    must!(before.0 == 5 && before.2 & 0x40 != 0 && before.4 == 10_000, "kept right by nothing");
    must!(ask(0x80, CONSTANT, 37).1 == 37, "atomic time");
    let ahead = now(11) - now(0);
    must!((37..=38).contains(&ahead), "the clock of atomic time");
    must!(ask(0x80, CONSTANT, 100_001).1 == 37 && ask(0x80, CONSTANT, 0).1 == 0, "its range");
    // Said to be kept right, with an error that grows.
    must!(ask(4, MAX_ERROR, 5000).0 == 5, "still unsynchronised");
    let kept = ask(0x10, STATUS, 1);
    must!(kept.0 == 0 && kept.2 == 1 && kept.3 >= 5000 && kept.3 < 1_000_000, "kept right");
    must!(ask(4, MAX_ERROR, 16_000_000).0 == 5, "an error that is too large");
    must!(ask(0x10, STATUS, 0x40).0 == 5, "as before");
    // The clock runs as it does.
    must!(ask(0x4000, TICK, 10_000).0 == 5 && ask(0x4000, TICK, 8_999).0 == EINVAL, "ticks");
    must!(ask(0x4000, TICK, 9_500).0 == EOPNOTSUPP, "a faster clock");
    must!(ask(2, 2, 65_536).0 == EOPNOTSUPP && ask(1, 1, 5).0 == EOPNOTSUPP, "a slewed clock");
    must!(ask(0x8000, 0, 0).0 == EINVAL && ask(0xa001, 0, 0).0 == 5, "the older call");
    let child = user::fork();
    if child == 0 {
        must!(numbers.call("setuid", [1000]) == 0, "setuid");
        must!(ask(0, 0, 0).0 == 5 && ask(0xa001, 0, 0).0 == 5, "what all may ask");
        must!(ask(0x80, CONSTANT, 1).0 == EPERM, "one who may not");
        return 0;
    }
    must!(status_of(child) == 0, "the child");
    0
}

fn cached(numbers: &Numbers) -> i32 {
    let file = numbers.memory_file(0);
    let ask = |file: isize, from: u64, length: u64, flags: usize| {
        let range = [from, length];
        let mut told = [9_u64; 5];
        let asked = [file as usize, range.as_ptr().addr(), told.as_mut_ptr().addr(), flags];
        let answer = numbers.call("cachestat", asked);
        // SAFETY: (1) the array, which the kernel has written to.
        let told = unsafe { core::ptr::read_volatile(&raw const told) };
        (answer, told[0], told[1..] == [0; 4])
    };
    must!(file >= 0 && ask(file, 0, 0, 0) == (0, 0, true), "an empty file");
    let from = [1_u8; PAGE];
    for page in [0, 1, 5] {
        let place = [file as usize, page * PAGE, 0];
        must!(numbers.call("lseek", place) == (page * PAGE) as isize, "lseek");
        let written = numbers.call("write", [file as usize, from.as_ptr().addr(), PAGE]);
        must!(written == PAGE as isize, "write");
    }
    let page = PAGE as u64;
    must!(ask(file, 0, 0, 0) == (0, 3, true), "all of it");
    must!(ask(file, page, 4 * page, 0) == (0, 1, true), "a part of it");
    must!(ask(file, page, 4 * page + 1, 0) == (0, 2, true), "a part with one byte more");
    must!(ask(file, 6 * page, 0, 0) == (0, 0, true), "beyond its end");
    must!(ask(file, 0, 0, 1).0 == EINVAL && ask(-1, 0, 0, 0).0 == EBADF, "errors");
    must!(numbers.call("cachestat", [file as usize, 8, 8, 0]) == EFAULT, "no range");
    let null = numbers.open(c"/dev/null", 0);
    must!(ask(null, 0, 0, 0) == (0, 0, true), "a device");
    0
}

fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 3 };
    let numbers = Numbers(calls);
    match user::only_argument() {
        Some(b"settings") => settings(&numbers),
        Some(b"rooms") => rooms(&numbers),
        Some(b"clock") => clock(&numbers),
        Some(b"cached") => cached(&numbers),
        _ => 4,
    }
}
