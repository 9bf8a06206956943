//! What a program's memory may be: how much of it its limits allow, how far a call that meets a
//! hole gets, words in shared memory that processes sleep on, and what /proc tells. The first
//! argument names a part; status 0 if all is as on Linux.

#![no_std]
#![no_main]

use core::ffi::CStr;
use user::arch::nr;
use user::calls::{Calls, HERE, call, ended_within, read_file, sleep_milliseconds};
use user::memory::{ANONYMOUS, PAGE, PRIVATE, READ, SIGSEGV, WRITE};
use user::memory::{child, is_deadly, is_error, map, read, write};
use user::{fork, must};

user::entry!(main);

const SHARED: usize = 1;
const LOCKED: usize = 0x2000;
const SIGXFSZ: i32 = 25;
const EPERM: isize = -1;
const EAGAIN: isize = -11;
const ENOMEM: isize = -12;
const EACCES: isize = -13;
const EFAULT: isize = -14;
const EOPNOTSUPP: isize = -95;
const ETIMEDOUT: isize = -110;

/// Numbers of limits.
const FILE_SIZE: usize = 1;
const DATA: usize = 2;
const STACK: usize = 3;
const MEMORY_LOCKED: usize = 8;
const SPACE: usize = 9;

struct Numbers(Calls);

impl Numbers {
    fn call<const N: usize>(&self, name: &str, arguments: [usize; N]) -> isize {
        call(self.0.number(name), arguments)
    }

    fn memory_file(&self, pages: usize) -> usize {
        let file = self.call("memfd_create", [c"rules".as_ptr().addr(), 2]) as usize;
        self.call("ftruncate", [file, pages * PAGE]);
        file
    }

    /// fallocate: its numbers have 64 bits.
    fn allocate(&self, file: usize, mode: usize, offset: usize, length: usize) -> isize {
        match size_of::<usize>() {
            8 => self.call("fallocate", [file, mode, offset, length]),
            _ => self.call("fallocate", [file, mode, offset, 0, length, 0]),
        }
    }

    fn limit(&self, which: usize, bytes: usize) -> bool {
        let both = [bytes as u64; 2];
        self.call("prlimit64", [0, which, both.as_ptr().addr(), 0]) == 0
    }

    fn futex(&self, word: usize, operation: usize, value: usize, time: usize) -> isize {
        self.call("futex", [word, operation, value, time, 0, usize::MAX])
    }
}

fn map_file(file: usize, bytes: usize, protection: usize, flags: usize) -> isize {
    call(nr::MMAP, [0, bytes, protection, flags, file, 0])
}

/// A word of 32 bits.
fn half(at: usize) -> u32 {
    // SAFETY: (1) callers pass addresses in mappings that they made; (2) only atomics are used
    // there.
    let word = unsafe {
        core::sync::atomic::AtomicU32::from_ptr(core::ptr::with_exposed_provenance_mut(at))
    };
    word.load(core::sync::atomic::Ordering::SeqCst)
}

fn set_half(at: usize, value: u32) {
    // SAFETY: as for `half`.
    let word = unsafe {
        core::sync::atomic::AtomicU32::from_ptr(core::ptr::with_exposed_provenance_mut(at))
    };
    word.store(value, core::sync::atomic::Ordering::SeqCst);
}

/// mprotect changes what lies below what it cannot change.
fn halves(n: &Numbers) -> i32 {
    let at = map(0, 4 * PAGE, WRITE, 0) as usize;
    (0..4).for_each(|page| write(at + page * PAGE, 1));
    call(nr::MUNMAP, [at + 2 * PAGE, PAGE]);
    let protect = |at, bytes, how| n.call("mprotect", [at, bytes, how]);
    must!(protect(at, 4 * PAGE, READ) == ENOMEM, "mprotect over a hole");
    must!(is_deadly(|| write(at, 1)), "the first page can still be written");
    must!(is_deadly(|| write(at + PAGE, 1)), "the page below the hole can still be written");
    write(at + 3 * PAGE, 2);
    must!(protect(at + 2 * PAGE, 2 * PAGE, READ) == ENOMEM, "mprotect that begins in a hole");
    write(at + 3 * PAGE, 3);
    // What may not be written, behind what may.
    let path = c"/tmp/memory-rules";
    let file = call(nr::OPENAT, [HERE, path.as_ptr().addr(), 0o102, 0o644]) as usize;
    n.call("ftruncate", [file, PAGE]);
    let only_read = call(nr::OPENAT, [HERE, path.as_ptr().addr(), 0, 0]) as usize;
    n.call("unlinkat", [HERE, path.as_ptr().addr(), 0]);
    let own = map(0, 3 * PAGE, READ, 0) as usize;
    let fixed = [own + PAGE, PAGE, READ, SHARED | 0x10, only_read, 0];
    must!(call(nr::MMAP, fixed) as usize == own + PAGE, "mmap of a file");
    must!(protect(own, 3 * PAGE, WRITE) == EACCES, "mprotect of a file that is only read");
    write(own, 4);
    must!(is_deadly(|| write(own + PAGE, 1)), "the file can be written");
    must!(is_deadly(|| write(own + 2 * PAGE, 1)), "what lies behind it can be written");
    0
}

/// Holes in files, and what seals say of them.
fn holes(n: &Numbers) -> i32 {
    const KEEP: usize = 1;
    const PUNCH: usize = 2;
    let file = n.memory_file(4);
    let at = map_file(file, 4 * PAGE, WRITE, SHARED) as usize;
    let own = map_file(file, 4 * PAGE, WRITE, PRIVATE) as usize;
    (0..4).for_each(|page| write(at + page * PAGE, 7));
    write(at + PAGE - 8, 7);
    write(at + 3 * PAGE + 64, 7);
    must!(read(own + PAGE) == 7, "a private mapping");
    must!(n.allocate(file, PUNCH, 0, PAGE) == EOPNOTSUPP, "a hole that moves the end");
    must!(n.allocate(file, 8 | KEEP, 0, PAGE) == EOPNOTSUPP, "a range that collapses");
    let (from, to) = (PAGE - 8, 3 * PAGE + 64);
    must!(n.allocate(file, PUNCH | KEEP, from, to - from) == 0, "a hole");
    must!(read(at) == 7 && read(to + at) == 7, "what is beside a hole");
    must!(read(at + PAGE - 8) == 0 && read(at + 3 * PAGE) == 0, "the edges of a hole");
    must!(read(at + PAGE) == 0 && read(at + 2 * PAGE) == 0, "a hole has something in it");
    must!(read(own + PAGE) == 0, "a private mapping has what is not there any more");
    must!(n.call("lseek", [file, 0, 2]) == 4 * PAGE as isize, "a hole moved the end");
    must!(n.allocate(file, 0, 4 * PAGE, 2 * PAGE) == 0, "fallocate");
    must!(n.call("lseek", [file, 0, 2]) == 6 * PAGE as isize, "fallocate did not move the end");
    let seal = |seals| n.call(n_fcntl(n), [file, 1033, seals]);
    must!(seal(4) == 0 && n.allocate(file, 0, 0, 7 * PAGE) == EPERM, "it grows, sealed");
    must!(n.allocate(file, 0, 0, 6 * PAGE) == 0, "fallocate of what is there");
    call(nr::MUNMAP, [at, 4 * PAGE]);
    must!(seal(8) == 0 && n.allocate(file, PUNCH | KEEP, 0, PAGE) == EPERM, "a hole, sealed");
    // Whether it is a program can be sealed, too; then it stays the program that it is.
    let file = n.memory_file(1);
    must!(n.call("fchmod", [file, 0o755]) == 0, "fchmod");
    must!(n.call(n_fcntl(n), [file, 1033, 0x20]) == 0, "F_SEAL_EXEC");
    must!(n.call(n_fcntl(n), [file, 1034, 0]) == 0x3e, "what goes with F_SEAL_EXEC");
    must!(n.call("fchmod", [file, 0o644]) == EPERM, "fchmod of what is sealed");
    must!(n.call("fchmod", [file, 0o700 | 0o055]) == 0, "fchmod that changes no such bit");
    0
}

fn n_fcntl(n: &Numbers) -> &'static str {
    if n.0.number("fcntl64") == usize::MAX { "fcntl" } else { "fcntl64" }
}

/// A number of /proc/self/status, in bytes.
fn status(key: &[u8]) -> usize {
    let mut text = [0; 2048];
    let length = read_file(c"/proc/self/status", &mut text).unwrap_or(0);
    let mut lines = text[..length].split(|&byte| byte == b'\n');
    let Some(line) = lines.find(|line| line.starts_with(key)) else { return usize::MAX };
    let digits = line.iter().position(u8::is_ascii_digit).unwrap_or(0);
    user::calls::number(&line[digits..]) * 1024
}

#[inline(never)]
fn deep(pages: usize) -> usize {
    let mut page = [0_u8; PAGE];
    page[pages % PAGE] = 1;
    core::hint::black_box(&mut page);
    if pages == 0 { 1 } else { deep(pages - 1) + usize::from(page[pages % PAGE]) }
}

/// Limits count what they should, and are in force as soon as they are set.
fn limits(n: &Numbers) -> i32 {
    let space = child(|| {
        let sum = status(b"VmSize:");
        must!(n.limit(SPACE, sum + 16 * PAGE), "RLIMIT_AS");
        let at = map(0, 16 * PAGE, READ, 0);
        must!(!is_error(at) && map(0, PAGE, READ, 0) == ENOMEM, "mmap beyond RLIMIT_AS");
        let end = n.call("brk", [0]) as usize;
        must!(n.call("brk", [end + PAGE]) as usize == end, "brk beyond RLIMIT_AS");
        must!(n.call("mremap", [at as usize, PAGE, 2 * PAGE, 1]) == ENOMEM, "mremap beyond it");
        call(nr::MUNMAP, [at as usize, PAGE]);
        must!(!is_error(map(0, PAGE, READ, 0)), "what was given back");
        let low = (&raw const end).addr();
        must!(is_deadly(|| write(low - 1000 * PAGE, 1)), "the stack grew beyond RLIMIT_AS");
        0
    });
    must!(space == 0, "RLIMIT_AS");
    let data = child(|| {
        must!(n.limit(DATA, status(b"VmData:") + 16 * PAGE), "RLIMIT_DATA");
        must!(map(0, 17 * PAGE, WRITE, 0) == ENOMEM, "mmap beyond RLIMIT_DATA");
        let only_read = map(0, 17 * PAGE, READ, 0);
        must!(!is_error(only_read), "what is only read counts");
        let protect = |bytes| n.call("mprotect", [only_read as usize, bytes, WRITE]);
        must!(protect(17 * PAGE) == ENOMEM && protect(16 * PAGE) == 0, "mprotect");
        let shared = [0, 64 * PAGE, WRITE, SHARED | ANONYMOUS, usize::MAX, 0];
        must!(!is_error(call(nr::MMAP, shared)), "what is shared counts");
        must!(map(0, PAGE, WRITE, 0) == ENOMEM, "mmap beyond RLIMIT_DATA, after mprotect");
        0
    });
    must!(data == 0, "RLIMIT_DATA");
    let locked = child(|| {
        let at = map(0, 8 * PAGE, WRITE, 0) as usize;
        must!(n.limit(MEMORY_LOCKED, 4 * PAGE), "RLIMIT_MEMLOCK");
        must!(n.call("mlock", [at, 8 * PAGE]) == 0, "mlock of who may everything");
        must!(n.call("munlock", [at, 8 * PAGE]) == 0, "munlock");
        must!(n.call("setuid", [1000]) == 0, "setuid");
        must!(n.call("mlock", [at, 4 * PAGE]) == 0, "mlock");
        must!(n.call("mlock", [at, 4 * PAGE]) == 0, "mlock of what is locked");
        must!(n.call("mlock", [at + 4 * PAGE, PAGE]) == ENOMEM, "mlock beyond the limit");
        must!(map(0, PAGE, WRITE, LOCKED) == EAGAIN, "MAP_LOCKED beyond the limit");
        must!(n.call("munlock", [at, PAGE]) == 0, "munlock");
        must!(!is_error(map(0, PAGE, WRITE, LOCKED)), "MAP_LOCKED");
        must!(status(b"VmLck:") == 4 * PAGE, "VmLck");
        must!(n.limit(MEMORY_LOCKED, 0), "RLIMIT_MEMLOCK 0");
        must!(n.call("mlock", [at, PAGE]) == EPERM, "mlock without a limit's worth");
        0
    });
    must!(locked == 0, "RLIMIT_MEMLOCK");
    let small = child(|| {
        must!(n.limit(STACK, 64 * PAGE), "RLIMIT_STACK");
        must!(deep(20) == 21, "a small stack");
        deep(100) as i32
    });
    must!(small & 0x7f == SIGSEGV, "a stack grows beyond a limit that the program set");
    let large = child(|| {
        must!(n.limit(STACK, 24 << 20), "RLIMIT_STACK");
        i32::from(deep(4000) != 4001)
    });
    must!(large == 0, "a stack does not grow up to a limit that the program raised");
    // Of a file.
    let file = n.memory_file(1);
    let words = [5_usize; 2];
    let written = child(|| {
        must!(n.limit(FILE_SIZE, 2 * PAGE), "RLIMIT_FSIZE");
        n.call("lseek", [file, 2 * PAGE - size_of::<usize>(), 0]);
        let put = || call(nr::WRITE, [file, words.as_ptr().addr(), size_of_val(&words)]);
        must!(put() == size_of::<usize>() as isize, "a write up to the limit");
        must!(n.call("ftruncate", [file, 2 * PAGE]) == 0, "ftruncate up to the limit");
        put() as i32
    });
    must!(written & 0x7f == SIGXFSZ, "a write beyond RLIMIT_FSIZE");
    let cut = child(|| {
        n.limit(FILE_SIZE, 2 * PAGE);
        n.call("ftruncate", [file, 2 * PAGE + 1]) as i32
    });
    must!(cut & 0x7f == SIGXFSZ, "ftruncate beyond RLIMIT_FSIZE");
    0
}

/// Processes that share a word sleep on one and the same; others do not.
fn words(n: &Numbers) -> i32 {
    const WAIT: usize = 0;
    const WAKE: usize = 1;
    const LOCK: usize = 6;
    const UNLOCK: usize = 7;
    const WAITERS: u32 = 1 << 31;
    const DIED: u32 = 1 << 30;
    let long = [10_usize, 0];
    let short = [0_usize, 150_000_000];
    let (long, short) = (long.as_ptr().addr(), short.as_ptr().addr());
    let file = n.memory_file(2);
    let by_nothing = call(nr::MMAP, [0, PAGE, WRITE, SHARED | ANONYMOUS, usize::MAX, 0]) as usize;
    let by_file = map_file(file, 2 * PAGE, WRITE, SHARED) as usize;
    let elsewhere = map_file(file, 2 * PAGE, WRITE, SHARED) as usize;
    for (here, there) in [(by_nothing, by_nothing), (by_file + PAGE + 8, elsewhere + PAGE + 8)] {
        let sleeper = fork();
        if sleeper == 0 {
            user::exit((n.futex(there, WAIT, 0, long) != 0).into());
        }
        let mut woken = 0;
        while woken == 0 && ended_within(sleeper, 1).is_none() {
            woken = n.futex(here, WAKE, 1, 0);
        }
        must!(woken == 1, "a word in shared memory is not one");
        must!(ended_within(sleeper, 2000) == Some(0), "a sleeper on shared memory");
    }
    // Not another word of the file, and not the same address in memory that is not shared.
    let private = map(0, PAGE, WRITE, 0) as usize;
    write(private, 0);
    for (here, there) in [(by_file, elsewhere + PAGE), (private, private)] {
        let sleeper = fork();
        if sleeper == 0 {
            user::exit((n.futex(there, WAIT, 0, short) != ETIMEDOUT).into());
        }
        let ended = loop {
            must!(n.futex(here, WAKE, 9, 0) == 0, "a sleeper on another word was woken");
            if let Some(status) = ended_within(sleeper, 1) {
                break status;
            }
        };
        must!(ended == 0, "a sleeper on another word");
    }
    must!(n.futex(PAGE, WAKE, 1, 0) == EFAULT, "a shared word that is not there");
    must!(n.futex(PAGE, WAKE | 128, 1, 0) == 0, "a private word that is not there");
    // A lock that is handed over.
    must!(n.futex(by_nothing, LOCK, 0, 0) == 0, "FUTEX_LOCK_PI");
    let other = fork();
    if other == 0 {
        let has = n.futex(by_nothing, LOCK, 0, 0) == 0;
        user::exit((!has || n.futex(by_nothing, UNLOCK, 0, 0) != 0).into());
    }
    while half(by_nothing) & WAITERS == 0 {
        must!(ended_within(other, 1).is_none(), "FUTEX_LOCK_PI does not wait");
    }
    must!(n.futex(by_nothing, UNLOCK, 0, 0) == 0, "FUTEX_UNLOCK_PI");
    must!(ended_within(other, 2000) == Some(0), "a lock is not handed to another process");
    // One whose owner dies: a list of locks in the same memory.
    let (word, entry, head) = (by_file, by_file + 64, by_file + 128);
    let sleeper_knows = |owner: u32| owner | WAITERS;
    let owner = fork();
    if owner == 0 {
        set_half(word, sleeper_knows(n.call("gettid", []) as u32));
        let bytes = size_of::<usize>();
        write(entry, head);
        write(head, entry);
        write(head + bytes, word.wrapping_sub(entry));
        write(head + 2 * bytes, 0);
        n.call("set_robust_list", [head, 3 * bytes]);
        sleep_milliseconds(60);
        user::exit(0);
    }
    let held = sleeper_knows(owner as u32);
    // On a busy machine it may have died before this program runs again.
    while ![held, WAITERS | DIED].contains(&half(word)) {
        sleep_milliseconds(1);
    }
    let told = n.futex(word, WAIT, held as usize, long);
    must!(told == 0 || told == EAGAIN, "a lock whose owner died does not wake");
    must!(half(word) == WAITERS | DIED, "a lock whose owner died does not say so");
    must!(ended_within(owner, 2000) == Some(0), "the owner");
    0
}

/// The line of maps that ends in a name.
fn maps_line(name: &[u8], to: &mut [u8; 96]) -> usize {
    let mut text = [0; 8192];
    let length = read_file(c"/proc/self/maps", &mut text).unwrap_or(0);
    let mut lines = text[..length].split(|&byte| byte == b'\n');
    let Some(line) = lines.find(|line| line.ends_with(name)) else { return 0 };
    let length = line.len().min(to.len());
    to[..length].copy_from_slice(&line[..length]);
    length
}

/// A number in hexadecimal, and what comes behind the character after it.
fn hexadecimal(text: &[u8]) -> (usize, &[u8]) {
    let is_end = |byte: &u8| !byte.is_ascii_hexdigit();
    let end = text.iter().position(is_end).unwrap_or(text.len());
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as usize;
    let number = text[..end].iter().fold(0, |sum: usize, &byte| sum << 4 | digit(byte));
    (number, text.get(end + 1..).unwrap_or(&[]))
}

/// What /proc tells of a program's memory.
fn told(n: &Numbers) -> i32 {
    let mut line = [0; 96];
    let here = (&raw const line).addr();
    let length = maps_line(b" [stack]", &mut line);
    let (lowest, rest) = hexadecimal(&line[..length]);
    let (top, _) = hexadecimal(rest);
    must!(lowest <= here && here < top, "the stack is not where maps says");
    let length = maps_line(b" [vdso]", &mut line);
    let (code, rest) = hexadecimal(&line[..length]);
    must!(length > 0 && hexadecimal(rest).1.starts_with(b"r-xp"), "the vDSO is not in maps");
    must!(read(code) & 0xff_ffff == 0x4c_457f, "the vDSO is no image");
    let end = n.call("brk", [0]) as usize;
    must!(n.call("brk", [end + 2 * PAGE]) as usize == end + 2 * PAGE, "brk");
    let length = maps_line(b" [heap]", &mut line);
    let (lowest, rest) = hexadecimal(&line[..length]);
    must!(lowest <= end && hexadecimal(rest).0 == end + 2 * PAGE, "the heap in maps");
    // Memory that is there.
    let (before, sum) = (status(b"VmRSS:"), status(b"VmSize:"));
    let at = map(0, 100 * PAGE, WRITE, 0) as usize;
    must!(status(b"VmRSS:") < before + 16 * PAGE, "what was not used is there");
    must!(status(b"VmSize:") == sum + 100 * PAGE, "VmSize");
    (0..100).for_each(|page| write(at + page * PAGE, 1));
    let full = status(b"VmRSS:");
    must!(full >= before + 100 * PAGE && full < before + 116 * PAGE, "VmRSS");
    let parts = status(b"RssAnon:") + status(b"RssFile:") + status(b"RssShmem:");
    must!(parts == status(b"VmRSS:"), "the parts of VmRSS");
    let forked = child(|| i32::from(status(b"VmRSS:") < 100 * PAGE));
    must!(forked == 0, "VmRSS of a child");
    call(nr::MUNMAP, [at, 100 * PAGE]);
    must!(status(b"VmRSS:") < before + 16 * PAGE, "VmRSS of what was given back");
    must!(status(b"VmHWM:") >= full && status(b"VmPeak:") >= sum + 100 * PAGE, "the peaks");
    let mut text = [0; 128];
    let length = read_file(c"/proc/self/statm", &mut text).unwrap_or(0);
    let mut pages = text[..length].split(|&byte| byte == b' ').map(user::calls::number);
    must!(pages.next() == Some(status(b"VmSize:") / PAGE), "the size in statm");
    let resident = pages.next().unwrap_or(0) * PAGE;
    must!(resident.abs_diff(status(b"VmRSS:")) < 16 * PAGE, "what is there, in statm");
    // A device that is mapped for itself is memory with a name.
    let zero = call(nr::OPENAT, [HERE, c"/dev/zero".as_ptr().addr(), 2, 0]) as usize;
    let at = map_file(zero, 2 * PAGE, WRITE, PRIVATE) as usize;
    must!(maps_line(b" /dev/zero", &mut line) > 0, "/dev/zero is not in maps");
    must!(read(at) == 0, "/dev/zero");
    write(at, 3);
    let own = child(|| {
        let had = read(at) == 3 && read(at + PAGE) == 0;
        write(at + PAGE, 4);
        i32::from(!had)
    });
    must!(own == 0 && read(at + PAGE) == 0 && read(at) == 3, "a child's /dev/zero");
    0
}

/// The page at 0, which root may map where the processor keeps the kernel off it. 3: root may not
/// either.
fn lowest(n: &Numbers) -> i32 {
    const FIXED: usize = 0x10;
    let lowest = || map(0, PAGE, READ | WRITE, PRIVATE | ANONYMOUS | FIXED);
    let by_others = child(|| {
        n.call("setresuid", [1000, 1000, 1000]);
        i32::from(lowest() != EPERM)
    });
    must!(by_others == 0, "another user may not");
    let at = lowest();
    if at == EPERM {
        return 3;
    }
    must!(at == 0, "where it is to lie");
    write(8, 5);
    let inherited = child(|| i32::from(read(8) != 5));
    must!(inherited == 0, "a child has it too");
    must!(call(nr::GETCWD, [8, 16]) > 0 && read(8) != 5, "a call writes to it");
    let other = map(0, PAGE, WRITE, PRIVATE | ANONYMOUS);
    must!(!is_error(other) && other != 0, "a mapping anywhere lies elsewhere");
    must!(call(nr::MUNMAP, [0, PAGE]) == 0 && is_deadly(|| write(8, 1)), "it is gone");
    must!(n.call("mremap", [other as usize, PAGE, PAGE, 3, 0]) == 0 && read(8) == 0, "moved there");
    0
}

/// One of the parts; 0 if all is as it should be.
type Part = fn(&Numbers) -> i32;

fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 2 };
    let parts: [(&CStr, Part); 6] = [
        (c"halves", halves),
        (c"holes", holes),
        (c"limits", limits),
        (c"lowest", lowest),
        (c"words", words),
        (c"told", told),
    ];
    let Some(named) = user::only_argument() else { return 2 };
    let numbers = Numbers(calls);
    let part = parts.iter().find(|part| part.0.to_bytes() == named);
    part.map_or(2, |part| (part.1)(&numbers))
}
