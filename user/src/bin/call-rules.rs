//! What Linux answers where calls are used otherwise than most programs do: protections as they
//! were asked for, limits of CPU time, policies, groups of children, names that end in a slash. The
//! first argument names a part; status 0 if all is as on Linux.

#![no_std]
#![no_main]

use core::ffi::CStr;
use user::arch::nr;
use user::calls::{Calls, HERE, call, read_file, sleep_milliseconds, status_of};
use user::memory::{ANONYMOUS, PAGE, READ, WRITE};
use user::memory::{is_error, map, write};
use user::must;

user::entry!(main);

const SHARED: usize = 1;
const EPERM: isize = -1;
const ENOENT: isize = -2;
const ESRCH: isize = -3;
const ECHILD: isize = -10;
const EACCES: isize = -13;
const EBUSY: isize = -16;
const ENOTDIR: isize = -20;
const EISDIR: isize = -21;
const EINVAL: isize = -22;
const ENOMEM: isize = -12;
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;

struct Numbers(Calls);

impl Numbers {
    fn call<const N: usize>(&self, name: &str, arguments: [usize; N]) -> isize {
        call(self.0.number(name), arguments)
    }
}

fn path(path: &CStr) -> usize {
    path.as_ptr().addr()
}

fn open(at: &CStr, flags: usize) -> isize {
    call(nr::OPENAT, [HERE, path(at), flags, 0o755])
}

/// The letters that maps has for the area that begins at an address.
fn letters(at: usize) -> [u8; 4] {
    let mut text = [0; 16384];
    let length = read_file(c"/proc/self/maps", &mut text).unwrap_or(0);
    for line in text[..length].split(|&byte| byte == b'\n') {
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
        let lowest = digits.fold(0, |number, &digit| {
            number * 16 + (digit as char).to_digit(16).unwrap_or(0) as usize
        });
        if let Some(blank) = line.iter().position(|&byte| byte == b' ')
            && lowest == at
            && let Some(&letters) = line[blank + 1..].first_chunk::<4>()
        {
            return letters;
        }
    }
    *b"none"
}

/// Protections, flags of mappings, pages of a mapping.
fn memory(n: &Numbers) -> i32 {
    // Writing alone: without the bit that reads.
    let at = map(0, PAGE, WRITE & !READ, 0) as usize;
    must!(letters(at) == *b"-w-p", "what is only written is shown as readable");
    write(at, 5);
    must!(
        n.call("mprotect", [at, PAGE, 4]) == 0 && letters(at) == *b"--xp",
        "what is only executed"
    );
    must!(
        n.call("mprotect", [at, PAGE, READ]) == 0 && letters(at) == *b"r--p",
        "what is only read"
    );
    let file = n.call("memfd_create", [path(c"rules"), 0]) as usize;
    n.call("ftruncate", [file, PAGE]);
    let unknown = [0, PAGE, WRITE, 3 | 1 << 23, file, 0];
    must!(call(nr::MMAP, unknown) == -95, "a flag that is not known, where all must be");
    let shared = call(nr::MMAP, [0, PAGE, WRITE, SHARED, file, 0]) as usize;
    must!(n.call("mremap", [shared, 0, PAGE, 0, 0]) == ENOMEM, "a second mapping in one place");
    let again = n.call("mremap", [shared, 0, PAGE, 1, 0]);
    must!(!is_error(again) && letters(again as usize) == *b"rw-s", "a second mapping");
    let far = usize::MAX & !(PAGE - 1);
    must!(n.call("mremap", [far, PAGE, 2 * PAGE, 1, 0]) == -14, "mremap of nothing");
    must!(n.call("msync", [shared, usize::MAX, 4]) == 0, "a length that becomes none");
    let seals = open(c"/tmp/call-rules", 0o102) as usize;
    must!(n.call("fcntl", [seals, 1034]) == 1, "a file of the tree is sealed against seals");
    must!(n.call("fcntl", [seals, 1033, 2]) == EPERM, "a seal for a file of the tree");
    n.call("unlinkat", [HERE, path(c"/tmp/call-rules"), 0]);
    let two = map(0, 2 * PAGE, WRITE, 0) as usize;
    write(two, 1);
    let pages = open(c"/proc/self/pagemap", 0) as usize;
    let mut entries = [0_u64; 2];
    let place = two / PAGE * 8;
    n.call("lseek", [pages, place, 0]);
    let read = call(nr::READ, [pages, entries.as_mut_ptr().addr(), 16]);
    must!(read == 16, "pagemap");
    must!(entries[0] >> 63 == 1 && entries[1] >> 63 == 0, "which pages are there");
    must!(call(nr::READ, [pages, entries.as_mut_ptr().addr(), 7]) == EINVAL, "part of an entry");
    0
}

/// RLIMIT_CPU.
fn cpu_time(n: &Numbers) -> i32 {
    const CPU: usize = 0;
    let spends = |soft: u64, hard: u64, ignores: bool| {
        let child = user::fork();
        if child == 0 {
            let action = [1_usize, 0, 0, 0, 0, 0, 0, 0];
            if ignores {
                n.call("rt_sigaction", [SIGXCPU as usize, action.as_ptr().addr(), 0, 8]);
            }
            let both = [soft, hard];
            n.call("prlimit64", [0, CPU, both.as_ptr().addr(), 0]);
            loop {
                core::hint::spin_loop();
            }
        }
        status_of(child)
    };
    must!(spends(1, 9, false) == SIGXCPU, "the soft limit");
    must!(spends(1, 2, true) == SIGKILL, "the hard limit");
    0
}

/// Policies, and that a thread of real time runs before others.
fn policies(n: &Numbers) -> i32 {
    const FIFO: usize = 1;
    const ROUND_ROBIN: usize = 2;
    const RESET: usize = 0x4000_0000;
    let set = |policy: usize, priority: i32| {
        let priority = [priority];
        n.call("sched_setscheduler", [0, policy, priority.as_ptr().addr()])
    };
    let now = |who: usize| n.call("sched_getscheduler", [who]);
    must!(set(FIFO, 0) == EINVAL && set(FIFO, 100) == EINVAL && set(0, 1) == EINVAL, "priorities");
    must!(set(ROUND_ROBIN, 7) == 0 && now(0) == ROUND_ROBIN as isize, "round robin");
    let mut priority = 0_i32;
    must!(n.call("sched_getparam", [0, (&raw mut priority).addr()]) == 0, "sched_getparam");
    must!(priority == 7, "the priority that was set");
    let child = user::fork();
    if child == 0 {
        return i32::from(now(0) != ROUND_ROBIN as isize);
    }
    must!(status_of(child) == 0, "a child has its parent's policy");
    must!(set(FIFO | RESET, 3) == 0, "first in, first out");
    let child = user::fork();
    if child == 0 {
        return i32::from(now(0) != 0);
    }
    must!(status_of(child) == 0, "a child that begins with the normal one");
    // On one CPU, one that is urgent and never sleeps has nearly all of it: the other, which began
    // before it and counts as fast, has counted less when the urgent one is done.
    let shared = call(nr::MMAP, [0, PAGE, WRITE, SHARED | ANONYMOUS, usize::MAX, 0]) as usize;
    let cpu = [1_usize];
    n.call("sched_setaffinity", [0, size_of::<usize>(), cpu.as_ptr().addr()]);
    let count = |at: usize, until: usize| {
        while user::memory::read(at) < until {
            write(at, user::memory::read(at) + 1);
        }
    };
    let (other, own) = (shared, shared + 64);
    let child = user::fork();
    if child == 0 {
        set(0, 0);
        count(other, usize::MAX);
    }
    sleep_milliseconds(50);
    let before = user::memory::read(other);
    count(own, 20_000_000);
    let others = user::memory::read(other) - before;
    n.call("kill", [child as usize, SIGKILL as usize]);
    status_of(child);
    must!(before > 0, "the other one has not begun");
    must!(others < 10_000_000, "the urgent one took turns");
    // One who is no more root keeps to what it has.
    let nobody = |name: &str| n.0.number(name);
    let number = match nobody("setresuid32") {
        usize::MAX => nobody("setresuid"),
        number => number,
    };
    must!(set(0, 0) == 0, "the normal policy");
    must!(call(number, [1000, 1000, 1000]) == 0, "another user");
    must!(set(FIFO, 1) == EPERM, "real time for another user");
    0
}

/// Children: groups, waits, signals to those that have ended.
fn children(n: &Numbers) -> i32 {
    const PROCESS: usize = 1;
    const NO_HANG: usize = 1;
    const STOPPED: usize = 2;
    let me = n.call("getpid", []);
    let child = user::fork();
    if child == 0 {
        return 4;
    }
    let number = child as usize;
    let mut info = [0_u32; 32];
    let to = info.as_mut_ptr().addr();
    let wait = |what| n.call("waitid", [PROCESS, number, to, what, 0]);
    // It has ended when a wait that keeps it finds it.
    must!(wait(4 | 0x0100_0000) == 0, "its end");
    must!(wait(STOPPED | NO_HANG) == ECHILD, "a stop of one that has ended");
    must!(n.call("tgkill", [number, number, 0]) == 0, "a signal to one that has ended");
    must!(n.call("tgkill", [number, number, 65]) == EINVAL, "a signal that is none");
    must!(status_of(child) == 4 << 8, "its status");
    must!(n.call("tgkill", [number, number, 0]) == ESRCH, "a signal to nobody");
    must!(n.call("setpgid", [0, usize::MAX]) == EINVAL, "a group below 0");
    let mut pipe = [0_u32; 2];
    call(nr::PIPE2, [pipe.as_mut_ptr().addr(), 0o2_000_000]);
    let child = user::fork();
    if child == 0 {
        let argv = [c"call-rules".as_ptr().addr(), c"sleep".as_ptr().addr(), 0];
        call(nr::EXECVE, [path(c"/kstack/bin/call-rules"), argv.as_ptr().addr(), 0]);
        return 5;
    }
    // The pipe ends when the child is another program.
    call(nr::CLOSE, [pipe[1] as usize]);
    let mut byte = [0_u8];
    must!(call(nr::READ, [pipe[0] as usize, byte.as_mut_ptr().addr(), 1]) == 0, "the pipe's end");
    let group = n.call("setpgid", [child as usize, child as usize]);
    n.call("kill", [child as usize, SIGKILL as usize]);
    must!(status_of(child) == SIGKILL, "the child's end");
    must!(group == EACCES, "the group of a child that is another program");
    must!(n.call("getpgid", [1]) > 0 && me > 0, "process 1");
    // What children used counts when they have been waited for.
    let peak = |whose: usize| {
        let mut usage = [0_usize; 40];
        n.call("getrusage", [whose, usage.as_mut_ptr().addr()]);
        usage[4]
    };
    let child = user::fork();
    if child == 0 {
        let at = map(0, 1024 * PAGE, WRITE, 0) as usize;
        (0..1024).for_each(|page| write(at + page * PAGE, 1));
        return 0;
    }
    let before = peak(usize::MAX);
    must!(status_of(child) == 0 && before < 4096, "a child that uses memory");
    must!(peak(usize::MAX) >= 4096, "the most memory that a child had");
    0
}

/// Names that end in a slash, or are no names.
fn names(n: &Numbers) -> i32 {
    const REMOVE: usize = 0x200;
    const CREATE: usize = 0o100;
    n.call("mkdirat", [HERE, path(c"/tmp/rules"), 0o755]);
    must!(n.call("chdir", [path(c"/tmp/rules")]) == 0, "chdir");
    must!(open(c"new/", CREATE | 2) == EISDIR, "a file with a slash");
    must!(open(c"file", CREATE | 2) > 0, "a file");
    must!(open(c"file/", 0) == ENOTDIR, "the file as a directory");
    must!(open(c"file", 0o1000) > 0, "a file that is emptied to be read");
    let unlink = |at: &CStr, flags: usize| n.call("unlinkat", [HERE, path(at), flags]);
    must!(unlink(c"file/", 0) == ENOTDIR, "unlink with a slash");
    must!(unlink(c"file", 9) == EINVAL, "a flag that is none");
    must!(unlink(c".", REMOVE) == EINVAL && unlink(c"/", REMOVE) == EBUSY, "rmdir of . and /");
    must!(unlink(c".", 0) == EISDIR, "unlink of .");
    let rename = |from: &CStr, to: &CStr| {
        let names = [HERE, path(from), HERE, path(to), 0];
        n.call("renameat2", names)
    };
    must!(rename(c".", c"x") == EBUSY && rename(c"file", c"..") == EBUSY, "rename of no name");
    must!(rename(c"file", c"x/") == ENOTDIR, "rename of a file to a directory");
    n.call("mkdirat", [HERE, path(c"gone"), 0o755]);
    n.call("chdir", [path(c"gone")]);
    must!(unlink(c"/tmp/rules/gone", REMOVE) == 0, "rmdir");
    let mut text = [0_u8; 64];
    let here = n.call("getcwd", [text.as_mut_ptr().addr(), 64]);
    must!(here == ENOENT, "the name of a directory that is gone");
    n.call("chdir", [path(c"/")]);
    unlink(c"/tmp/rules/file", 0);
    unlink(c"/tmp/rules", REMOVE);
    0
}

type Part = fn(&Numbers) -> i32;

fn main() -> i32 {
    let Some(named) = user::only_argument() else { return 2 };
    if named == b"sleep" {
        sleep_milliseconds(30_000);
        return 0;
    }
    let Ok(calls) = Calls::read() else { return 2 };
    let parts: [(&CStr, Part); 5] = [
        (c"memory", memory),
        (c"cpu-time", cpu_time),
        (c"policies", policies),
        (c"children", children),
        (c"names", names),
    ];
    let numbers = Numbers(calls);
    let part = parts.iter().find(|part| part.0.to_bytes() == named);
    part.map_or(2, |part| (part.1)(&numbers))
}
