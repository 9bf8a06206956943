//! Core files: what a program leaves that a signal ends, and which are left at all; and what else
//! /proc lets a program set for that. The first argument names a part; status 0 if all is as on
//! Linux.

#![no_std]
#![no_main]

use core::ffi::CStr;
use user::arch::nr;
use user::calls::{Calls, call, read_file, sleep_milliseconds, status_of};
use user::memory::{PAGE, WRITE, is_error, map, write};
use user::{fork, must};

user::entry!(main);

const EINVAL: isize = -22;
const SIGABRT: usize = 6;
const SIGSEGV: usize = 11;
/// The bit of a wait status.
const DUMPED: i32 = 0x80;
const WORD: usize = size_of::<usize>();
/// Where words of an ELF header are: the kind, where the program headers are, their size, how many.
const KIND: usize = 16;
const HEADERS: usize = if WORD == 8 { 32 } else { 28 };
const HEADER_BYTES: usize = if WORD == 8 { 54 } else { 42 };
const HEADER_COUNT: usize = if WORD == 8 { 56 } else { 44 };
/// Where words of a program header are: offset, address, bytes in the file.
const OFFSET: usize = if WORD == 8 { 8 } else { 4 };
const ADDRESS: usize = if WORD == 8 { 16 } else { 8 };
const FILE_BYTES: usize = if WORD == 8 { 32 } else { 16 };
/// Where the thread's number is in the first note, of 20 bytes of header and name.
const NUMBER: usize = 20 + if WORD == 8 { 32 } else { 24 };
const MARK: usize = 0x6b65_7270;
/// Flags of a mapping.
const SHARED_ANONYMOUS: usize = 0x21;

struct Numbers(Calls);

impl Numbers {
    fn call<const N: usize>(&self, name: &str, arguments: [usize; N]) -> isize {
        call(self.0.number(name), arguments)
    }

    fn limit(&self, bytes: u64) -> bool {
        const CORE: usize = 4;
        let limit = [bytes, u64::MAX];
        self.call("prlimit64", [0, CORE, limit.as_ptr().addr(), 0]) == 0
    }

    fn set(&self, path: &CStr, text: &[u8]) -> isize {
        const WRITE_ONLY: usize = 1;
        let file = self.call("openat", [HERE, path.as_ptr().addr(), WRITE_ONLY, 0]);
        if file < 0 {
            return file;
        }
        let written = call(nr::WRITE, [file as usize, text.as_ptr().addr(), text.len()]);
        call(nr::CLOSE, [file as usize]);
        written
    }

    fn remove(&self, path: &CStr) -> bool {
        self.call("unlinkat", [HERE, path.as_ptr().addr(), 0]) == 0
    }

    /// A child that does something and then sends itself a signal: its number and wait status.
    fn dies(&self, signal: usize, first: impl FnOnce() -> bool) -> (isize, i32) {
        let child = fork();
        if child == 0 {
            if first() {
                let me = call(nr::GETPID, []) as usize;
                self.call("kill", [me, signal]);
            }
            user::exit(9);
        }
        (child, status_of(child))
    }
}

const HERE: usize = -100_isize as usize;

/// A number of this width in a file, at an offset; 0: there is none.
fn number(n: &Numbers, file: usize, at: usize, bytes: usize) -> usize {
    let mut word = [0_u8; 8];
    let to = word.as_mut_ptr().addr();
    let read = match WORD {
        8 => n.call("pread64", [file, to, bytes, at]),
        _ if n.call("_llseek", [file, 0, at, to, 0]) == 0 => {
            word = [0; 8];
            call(nr::READ, [file, word.as_mut_ptr().addr(), bytes])
        }
        _ => -1,
    };
    let word = core::hint::black_box(word);
    if read == bytes as isize { u64::from_le_bytes(word) as usize } else { 0 }
}

/// What a core file has at an address of its program: where that is in the file.
fn place(n: &Numbers, file: usize, address: usize) -> Option<usize> {
    let (first, each) = (number(n, file, HEADERS, WORD), number(n, file, HEADER_BYTES, 2));
    (1..number(n, file, HEADER_COUNT, 2)).find_map(|index| {
        let header = first + index * each;
        let field = |at| number(n, file, header + at, WORD);
        let inside = address.checked_sub(field(ADDRESS))?;
        (inside < field(FILE_BYTES)).then(|| field(OFFSET) + inside)
    })
}

fn open(n: &Numbers, path: &CStr) -> isize {
    n.call("openat", [HERE, path.as_ptr().addr(), 0, 0])
}

fn left(n: &Numbers) -> i32 {
    must!(n.call("chdir", [c"/tmp".as_ptr().addr()]) == 0, "chdir");
    let at = map(0, 2 * PAGE, WRITE, 0) as usize;
    write(at, MARK);
    let guard = map(0, PAGE, WRITE, 0) as usize;
    write(guard, MARK);
    must!(n.call("mprotect", [guard, PAGE, 0]) == 0, "mprotect");
    let (child, status) = n.dies(SIGABRT, || n.limit(u64::MAX));
    must!(status == SIGABRT as i32 | DUMPED, "the status says so");
    let file = open(n, c"core");
    must!(file > 0, "a file");
    let file = file as usize;
    must!(number(n, file, 0, 4) == 0x464c_457f && number(n, file, KIND, 2) == 4, "a core");
    let notes = number(n, file, HEADERS, WORD) + OFFSET;
    let notes = number(n, file, notes, WORD);
    must!(number(n, file, notes + 8, 4) == 1, "the first note is of the thread");
    must!(number(n, file, notes + 20, 4) == SIGABRT, "the signal");
    must!(number(n, file, notes + NUMBER, 4) == child as usize, "the thread");
    for there in [at, guard] {
        let there = place(n, file, there);
        must!(there.is_some_and(|place| number(n, file, place, WORD) == MARK), "memory");
    }
    must!(place(n, file, at + PAGE).is_some_and(|at| number(n, file, at, WORD) == 0), "zeros");
    call(nr::CLOSE, [file]);
    // The same name again: another file. Of that memory nothing is left that is not to be.
    const NOT_DUMPED: usize = 16;
    let (_, status) =
        n.dies(SIGSEGV, || n.limit(u64::MAX) && n.call("madvise", [at, 2 * PAGE, NOT_DUMPED]) == 0);
    must!(status == SIGSEGV as i32 | DUMPED, "another signal");
    let file = open(n, c"core") as usize;
    must!(place(n, file, at).is_none() && place(n, file, guard).is_some(), "not dumped");
    call(nr::CLOSE, [file]);
    must!(n.remove(c"core"), "unlink");
    let filter = |text| n.set(c"/proc/self/coredump_filter", text) > 0;
    let (_, status) = n.dies(SIGABRT, || n.limit(u64::MAX) && filter(b"0"));
    must!(status == SIGABRT as i32 | DUMPED, "with a filter");
    let file = open(n, c"core") as usize;
    must!(place(n, file, at).is_none() && place(n, file, guard).is_none(), "filtered");
    call(nr::CLOSE, [file]);
    must!(n.remove(c"core"), "unlink");
    // What waitid and a signal's handler are told.
    let child = fork();
    if child == 0 {
        n.limit(u64::MAX);
        n.call("kill", [call(nr::GETPID, []) as usize, SIGABRT]);
        user::exit(9);
    }
    let mut info = [0_u32; 32];
    const ENDED: usize = 4;
    const NUMBERED: usize = 1;
    let told = [NUMBERED, child as usize, info.as_mut_ptr().addr(), ENDED, 0];
    must!(n.call("waitid", told) == 0, "waitid");
    must!(core::hint::black_box(info)[2] == 3, "CLD_DUMPED");
    must!(n.remove(c"core"), "unlink");
    0
}

fn none(n: &Numbers) -> i32 {
    must!(n.call("chdir", [c"/tmp".as_ptr().addr()]) == 0, "chdir");
    let is_there = || n.remove(c"core");
    let (_, status) = n.dies(SIGABRT, || n.limit(4095));
    must!(status == SIGABRT as i32 && !is_there(), "less than a page");
    let (_, status) = n.dies(9, || n.limit(u64::MAX));
    must!(status == 9 && !is_there(), "a signal that leaves none");
    const SET_DUMPABLE: usize = 4;
    let hides = || n.call("prctl", [SET_DUMPABLE, 0, 0, 0, 0]) == 0;
    let (_, status) = n.dies(SIGABRT, || n.limit(u64::MAX) && hides());
    must!(status == SIGABRT as i32 && !is_there(), "one that may not be looked into");
    let name = |to: &[u8]| n.set(c"/proc/sys/kernel/core_pattern", to);
    must!(name(b"|/bin/true") == EINVAL, "a program that reads it");
    must!(name(b"/tmp/left-%s-%%") > 0, "a pattern");
    let (_, status) = n.dies(SIGABRT, || n.limit(u64::MAX));
    must!(status == SIGABRT as i32 | DUMPED && !is_there(), "elsewhere");
    must!(n.remove(c"/tmp/left-6-%"), "by another name");
    must!(name(b"core\n") > 0, "the usual one");
    // Where there is a directory, there is no room for a file.
    must!(n.call("mkdirat", [HERE, c"core".as_ptr().addr(), 0o700]) == 0, "mkdir");
    let (_, status) = n.dies(SIGABRT, || n.limit(u64::MAX));
    must!(status == SIGABRT as i32, "in place of a directory");
    const DIRECTORY: usize = 0x200;
    must!(n.call("unlinkat", [HERE, c"core".as_ptr().addr(), DIRECTORY]) == 0, "rmdir");
    let mut filter = [0; 16];
    let read = read_file(c"/proc/self/coredump_filter", &mut filter);
    must!(read == Ok(9) && filter[..9] == *b"00000033\n", "the usual filter");
    must!(n.set(c"/proc/self/coredump_filter", b"x") == EINVAL, "no filter");
    0
}

fn words(n: &Numbers) -> i32 {
    let at = call(nr::MMAP, [0, PAGE, WRITE, SHARED_ANONYMOUS, usize::MAX, 0]) as usize;
    let (one, other) = (at, at + 8);
    const SIZE: usize = 2;
    let wake = |at, bits, most| n.call("futex_wake", [at, bits, most, SIZE]);
    let wait = |value, bits| n.call("futex_wait", [one, value, bits, SIZE, 0, 0]);
    must!(wake(one, 0, 1) == EINVAL && wake(one + 1, 1, 1) == EINVAL, "what is refused");
    must!(n.call("futex_wake", [one, 1, 1, 1]) == EINVAL, "words of two bytes");
    must!(wait(1, 1) == -11 && wait(0, 0) == EINVAL, "another value, no bits");
    let children = [0; 3].map(|_| match fork() {
        0 => user::exit(i32::from(wait(0, 1) != 0)),
        child => child,
    });
    let pair = |value: u64| {
        let entry = |value: u64, at: usize| [value, at as u64, SIZE as u64];
        [entry(value, one), entry(0, other)]
    };
    let requeue = |value, wake, more| {
        let pair = pair(value);
        n.call("futex_requeue", [pair.as_ptr().addr(), 0, wake, more])
    };
    must!(requeue(1, 1, 1) == -11, "another value");
    let mut moved = 0;
    for _ in 0..1000 {
        sleep_milliseconds(5);
        moved += requeue(0, 0, 3);
        if moved >= 3 {
            break;
        }
    }
    must!(moved == 3, "all go to the other word");
    must!(wake(one, 1, 9) == 0 && wake(other, 2, 9) == 0, "none is left, and none has that bit");
    must!(wake(other, 1, 0) == 0, "none is none");
    must!(wake(other, 3, 1) == 1 && wake(other, 1, 9) == 2, "woken");
    must!(children.iter().all(|&child| status_of(child) == 0), "their ends");
    0
}

fn settings(n: &Numbers) -> i32 {
    let period = |text| n.set(c"/proc/sys/kernel/sched_rt_period_us", text);
    let share = |text| n.set(c"/proc/sys/kernel/sched_rt_runtime_us", text);
    must!(period(b"0") == EINVAL && period(b"-1") == EINVAL, "no period");
    must!(share(b"-2") == EINVAL && share(b"1000001") == EINVAL, "more than a period");
    must!(share(b"-1") > 0 && share(b"950000") > 0, "a share");
    let slice = |text| n.set(c"/proc/sys/kernel/sched_rr_timeslice_ms", text);
    let policy = |policy: usize, rank: u32| {
        let rank = [rank];
        n.call("sched_setscheduler", [0, policy, rank.as_ptr().addr()]) == 0
    };
    let told = || {
        let mut time = [0_usize; 2];
        n.call("sched_rr_get_interval", [0, time.as_mut_ptr().addr()]);
        core::hint::black_box(time)[1]
    };
    must!(policy(2, 1) && slice(b"40") > 0 && told() == 40_000_000, "a slice");
    must!(slice(b"-1") > 0 && told() == 100_000_000 && policy(0, 0), "the usual slice");
    let has = |path: &CStr, text: &[u8]| {
        let mut bytes = [0; 64];
        read_file(path, &mut bytes).is_ok_and(|read| bytes[..read] == *text)
    };
    must!(has(c"/proc/sys/kernel/sched_rr_timeslice_ms", b"100\n"), "what it reads as");
    must!(n.set(c"/proc/self/oom_score_adj", b"500") > 0, "oom_score_adj");
    must!(has(c"/proc/self/oom_adj", b"8\n"), "oom_adj");
    must!(n.set(c"/proc/self/timerslack_ns", b"1234") > 0, "timerslack_ns");
    must!(has(c"/proc/self/timerslack_ns", b"1234\n"), "what it reads as");
    let counted = user::memory::child(|| {
        const MOST: usize = 40;
        must!(n.set(c"/proc/sys/vm/max_map_count", b"40") > 0, "max_map_count");
        let mut text = [0; 8192];
        while !is_error(call(nr::MMAP, [0, 1, 1, SHARED_ANONYMOUS, usize::MAX, 0])) {}
        let read = read_file(c"/proc/self/maps", &mut text).unwrap_or(0);
        let lines = text[..read].iter().filter(|&&byte| byte == b'\n').count();
        must!(n.set(c"/proc/sys/vm/max_map_count", b"65530") > 0, "max_map_count");
        must!(lines == MOST + 1, "as many as there may be, and one");
        0
    });
    must!(counted == 0, "mappings");
    let mut line = [0; 256];
    must!(read_file(c"/proc/cmdline", &mut line).is_ok_and(|read| read > 1), "cmdline");
    let read = read_file(c"/proc/config.gz", &mut line);
    must!(read.is_ok() && line[..3] == [0x1f, 0x8b, 8], "config.gz");
    let mut name = [0_u8; 390];
    must!(n.call("personality", [0x0002_0000]) == 0, "UNAME26");
    must!(call(nr::UNAME, [name.as_mut_ptr().addr()]) == 0, "uname");
    must!(core::hint::black_box(name)[130..134] == *b"2.6.", "an older release");
    must!(n.call("personality", [0x0400_0000]) == 0x0002_0000, "STICKY_TIMEOUTS");
    let time = [0_usize, 5_000_000];
    must!(n.call("ppoll", [0, 0, time.as_ptr().addr(), 0, 8]) == 0, "ppoll");
    must!(core::hint::black_box(time) == [0, 5_000_000], "the time stays");
    0
}

type Part = fn(&Numbers) -> i32;

fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 2 };
    let n = Numbers(calls);
    let parts: [(&CStr, Part); 4] =
        [(c"left", left), (c"none", none), (c"words", words), (c"settings", settings)];
    let Some(named) = user::only_argument() else { return 2 };
    let part = parts.iter().find(|part| part.0.to_bytes() == named);
    part.map_or(2, |part| (part.1)(&n))
}
