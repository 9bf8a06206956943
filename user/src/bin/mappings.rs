//! What a mapping is a mapping of: one file for all who map, read or write it; memory that parent
//! and child share; and what a program may say of its pages. The first argument names a part;
//! status 0 if all of it is as it should be.

#![no_std]
#![no_main]

use core::ffi::CStr;
use user::arch::nr;
use user::calls::{Calls, HERE, call, print_number, read_file};
use user::memory::{ANONYMOUS, FIXED, NO_RESERVE, NONE, PAGE, PRIVATE, READ, WRITE};
use user::memory::{child, is_deadly, is_error, map, read, write};
use user::must;

user::entry!(main);

const SHARED: usize = 1;
const LOCKED: usize = 0x2000;
const POPULATE: usize = 0x8000;
const GROWS_DOWN: usize = 0x100;
const FIXED_NO_REPLACE: usize = 0x10_0000;
const SIGBUS: i32 = 7;
const SIGSEGV: i32 = 11;
const READ_WRITE_CREATE: usize = 0o102;

const EPERM: isize = -1;
const ENOMEM: isize = -12;
const EACCES: isize = -13;
const EBUSY: isize = -16;
const EINVAL: isize = -22;

struct Numbers(Calls);

impl Numbers {
    fn call<const N: usize>(&self, name: &str, arguments: [usize; N]) -> isize {
        call(self.0.number(name), arguments)
    }

    /// Truncates an open file.
    fn cut(&self, file: usize, length: usize) -> isize {
        self.call("ftruncate", [file, length])
    }

    fn advise(&self, at: usize, bytes: usize, advice: usize) -> isize {
        self.call("madvise", [at, bytes, advice])
    }
}

fn map_file(file: usize, at: usize, bytes: usize, protection: usize, flags: usize) -> isize {
    call(nr::MMAP, [at, bytes, protection, flags, file, 0])
}

fn open(path: &CStr, flags: usize) -> usize {
    call(nr::OPENAT, [HERE, path.as_ptr().addr(), flags, 0o644]) as usize
}

/// A new file of some pages, and nothing that names it.
fn new_file(n: &Numbers, path: &CStr, pages: usize) -> usize {
    let file = open(path, READ_WRITE_CREATE);
    n.call("unlinkat", [HERE, path.as_ptr().addr(), 0]);
    n.cut(file, pages * PAGE);
    file
}

/// A word of a file, as read(2) has it.
fn word_in(n: &Numbers, file: usize, at: usize) -> usize {
    let word = [0_usize; 1];
    n.call("lseek", [file, at, 0]);
    call(nr::READ, [file, word.as_ptr().addr(), size_of::<usize>()]);
    read(word.as_ptr().addr())
}

fn write_word(n: &Numbers, file: usize, at: usize, value: usize) {
    n.call("lseek", [file, at, 0]);
    let word = [value];
    call(nr::WRITE, [file, word.as_ptr().addr(), size_of::<usize>()]);
}

/// What kills a child that does this.
fn signal_of(body: impl FnOnce()) -> i32 {
    child(|| {
        body();
        0
    }) & 0x7f
}

/// A file is one, however it is looked at.
fn shared(n: &Numbers) -> i32 {
    let file = new_file(n, c"/tmp/mappings-shared", 4);
    let one = map_file(file, 0, 4 * PAGE, WRITE, SHARED) as usize;
    let two = map_file(file, 0, 4 * PAGE, READ, SHARED) as usize;
    let own = map_file(file, 0, 4 * PAGE, WRITE, PRIVATE) as usize;
    must!(!is_error(one as isize) && !is_error(two as isize) && !is_error(own as isize), "mmap");
    write(one, 11);
    must!(word_in(n, file, 0) == 11, "read does not see what was written through a mapping");
    must!(read(two) == 11 && read(own) == 11, "another mapping does not see it");
    write_word(n, file, PAGE, 12);
    must!(read(one + PAGE) == 12 && read(two + PAGE) == 12, "mappings do not see a write");
    must!(read(own + PAGE) == 12, "a private mapping does not see what came before it was touched");
    // Read first, and written then.
    must!(read(one + 3 * PAGE) == 0, "a page that was never written");
    write(one + 3 * PAGE, 16);
    must!(word_in(n, file, 3 * PAGE) == 16, "what was read before it was written is not shared");
    write(own, 13);
    must!(read(one) == 11 && word_in(n, file, 0) == 11, "a private write reached the file");
    write_word(n, file, 0, 14);
    must!(read(own) == 13 && read(one) == 14, "a private page changed");
    must!(
        child(|| {
            write(one + 2 * PAGE, 15);
            0
        }) == 0,
        "a child"
    );
    must!(read(two + 2 * PAGE) == 15, "what a child wrote is not there");
    must!(call(nr::MUNMAP, [one, 4 * PAGE]) == 0 && word_in(n, file, 2 * PAGE) == 15, "munmap");
    call(nr::CLOSE, [file]);
    must!(read(two) == 14, "close took a mapping");
    // Memory of nothing, and of /dev/zero.
    let zero = open(c"/dev/zero", 2);
    for at in [
        call(nr::MMAP, [0, 2 * PAGE, WRITE, SHARED | ANONYMOUS, usize::MAX, 0]),
        map_file(zero, 0, 2 * PAGE, WRITE, SHARED),
    ] {
        must!(!is_error(at), "shared memory");
        let at = at as usize;
        must!(
            child(|| {
                write(at + PAGE, read(at) + 21);
                0
            }) == 0,
            "a child, to share"
        );
        must!(read(at + PAGE) == 21, "shared memory is not shared");
        // A private page of the same moment is not.
        let private = map(0, PAGE, WRITE, 0) as usize;
        must!(
            child(|| {
                write(private, 1);
                0
            }) == 0
                && read(private) == 0,
            "private memory"
        );
        must!(n.call("mremap", [at, 2 * PAGE, 4 * PAGE, 1]) as usize != 0, "mremap");
    }
    // What a file was opened for.
    let path = c"/tmp/mappings-read-only";
    let file = open(path, READ_WRITE_CREATE);
    n.cut(file, PAGE);
    call(nr::CLOSE, [file]);
    let file = open(path, 0);
    must!(map_file(file, 0, PAGE, WRITE, SHARED) == EACCES, "a shared write of a read-only file");
    let at = map_file(file, 0, PAGE, READ, SHARED) as usize;
    must!(n.call("mprotect", [at, PAGE, WRITE]) == EACCES, "mprotect of it");
    let at = map_file(file, 0, PAGE, WRITE, PRIVATE);
    must!(!is_error(at), "a private write of it");
    write(at as usize, 1);
    let only_write = open(path, 1);
    must!(map_file(only_write, 0, PAGE, READ, PRIVATE) == EACCES, "a file that cannot be read");
    n.call("unlinkat", [HERE, path.as_ptr().addr(), 0]);
    0
}

/// What a file has no more, no mapping of it has.
fn truncated(n: &Numbers) -> i32 {
    let file = new_file(n, c"/tmp/mappings-cut", 3);
    let at = map_file(file, 0, 8 * PAGE, WRITE, SHARED) as usize;
    let own = map_file(file, 0, 8 * PAGE, WRITE, PRIVATE) as usize;
    (0..3).for_each(|page| write(at + page * PAGE, 5 + page));
    (0..3).for_each(|page| write(own + page * PAGE, 9));
    must!(signal_of(|| write(at + 3 * PAGE, 1)) == SIGBUS, "beyond the end");
    must!(signal_of(|| write(own + 3 * PAGE, 1)) == SIGBUS, "beyond the end, private");
    must!(signal_of(|| write(at + 8 * PAGE - 8, 1)) == SIGBUS, "at the mapping's end");
    // A child that has it mapped, too, is told by a pipe.
    let mut pipe = [0_u32; 2];
    must!(call(nr::PIPE2, [pipe.as_mut_ptr().addr(), 0]) == 0, "pipe");
    let [from, to] = pipe.map(|end| end as usize);
    let byte = 0_u8;
    let other = user::fork();
    if other == 0 {
        call(nr::READ, [from, (&raw const byte).addr(), 1]);
        let dies = signal_of(|| write(at + PAGE, 1)) == SIGBUS
            && signal_of(|| write(own + PAGE, read(own + 2 * PAGE))) == SIGBUS;
        user::exit(if dies && read(own) == 9 { 0 } else { 4 });
    }
    must!(n.cut(file, PAGE + 16) == 0 && n.cut(file, PAGE) == 0, "ftruncate");
    must!(signal_of(|| write(at + PAGE, 1)) == SIGBUS, "what was cut off can be written");
    must!(signal_of(|| write(own + PAGE, 1)) == SIGBUS, "a private page of it can be written");
    call(nr::WRITE, [to, (&raw const byte).addr(), 1]);
    must!(user::wait() == Ok(0), "another process has what was cut off");
    must!(n.cut(file, 3 * PAGE) == 0, "ftruncate, up");
    must!(read(at + PAGE) == 0 && read(own + 2 * PAGE) == 0, "what came back is not zero");
    must!(read(at) == 5 && read(own) == 9, "what stayed is not there");
    // Within a page: zeros behind the end, in the mapping too.
    must!(n.cut(file, 8) == 0 && n.cut(file, PAGE) == 0, "ftruncate, within a page");
    write(at + 64, 7);
    must!(n.cut(file, 8) == 0 && read(at + 64) == 0 && read(at) == 5, "the end of a page");
    // A child that maps it, made while another process cuts: neither has what is gone.
    let path = c"/tmp/mappings-name";
    let named = open(path, READ_WRITE_CREATE);
    n.cut(named, 2 * PAGE);
    let at = map_file(named, 0, 2 * PAGE, WRITE, SHARED) as usize;
    write(at + PAGE, 3);
    must!(n.call("truncate", [path.as_ptr().addr(), PAGE]) == 0, "truncate");
    must!(signal_of(|| write(at + PAGE, 1)) == SIGBUS, "truncate by name");
    call(nr::CLOSE, [open(path, 0o1001)]);
    must!(signal_of(|| write(at, 1)) == SIGBUS, "a file that was opened anew");
    n.call("unlinkat", [HERE, path.as_ptr().addr(), 0]);
    0
}

/// Memory files, and what may not be done to them any more.
fn seals(n: &Numbers) -> i32 {
    const ADD: usize = 1033;
    const GET: usize = 1034;
    let new = |flags: usize| n.call("memfd_create", [c"sealed".as_ptr().addr(), flags]);
    let fcntl = |file: usize, what: usize, how: usize| n.call(fcntl_name(n), [file, what, how]);
    must!(new(0x100) == EINVAL && new(0x18) == EINVAL, "flags");
    let file = new(0) as usize;
    must!(fcntl(file, GET, 0) == 1 && fcntl(file, ADD, 2) == EPERM, "one that has no seals");
    let file = new(2) as usize;
    must!(n.cut(file, 2 * PAGE) == 0 && fcntl(file, GET, 0) == 0, "a memory file");
    let at = map_file(file, 0, 2 * PAGE, WRITE, SHARED) as usize;
    write(at, 1);
    must!(fcntl(file, ADD, 8) == EBUSY, "sealed while somebody can write");
    must!(fcntl(file, ADD, 2) == 0 && n.cut(file, PAGE) == EPERM, "shrunk");
    must!(fcntl(file, ADD, 4) == 0 && n.cut(file, 3 * PAGE) == EPERM, "grown");
    call(nr::MUNMAP, [at, 2 * PAGE]);
    must!(fcntl(file, ADD, 8) == 0 && fcntl(file, GET, 0) == 14, "sealed");
    must!(map_file(file, 0, PAGE, WRITE, SHARED) == EPERM, "a shared mapping to write");
    let at = map_file(file, 0, PAGE, READ, SHARED);
    must!(!is_error(at) && read(at as usize) == 1, "a shared mapping to read");
    must!(n.call("mprotect", [at as usize, PAGE, WRITE]) == EACCES, "mprotect of it");
    let byte = 1_u8;
    must!(call(nr::WRITE, [file, (&raw const byte).addr(), 1]) == EPERM, "write");
    must!(fcntl(file, ADD, 1) == 0 && fcntl(file, ADD, 16) == EPERM, "sealed for good");
    must!(fcntl(open(c"/dev/zero", 2), GET, 0) == EINVAL, "what is no memory file");
    0
}

fn fcntl_name(n: &Numbers) -> &'static str {
    if n.0.number("fcntl64") == usize::MAX { "fcntl" } else { "fcntl64" }
}

/// What a program says of its pages is done, or refused with Linux's error.
fn advice(n: &Numbers) -> i32 {
    let at = map(0, 4 * PAGE, WRITE, 0) as usize;
    let mut vector = [9_u8; 4];
    let there = |vector: &mut [u8; 4], at: usize| {
        let result = n.call("mincore", [at, 4 * PAGE, vector.as_mut_ptr().addr()]);
        // Through a read: the kernel wrote behind the compiler's back.
        let first = vector.as_ptr();
        // SAFETY: (1) four bytes of the vector.
        let byte = |i: usize| unsafe { first.add(i).read_volatile() };
        (result, [byte(0), byte(1), byte(2), byte(3)])
    };
    write(at + PAGE, 1);
    must!(there(&mut vector, at) == (0, [0, 1, 0, 0]), "mincore");
    must!(n.call("mincore", [at + 1, PAGE, at]) == EINVAL, "mincore of no page");
    // A hole, in a range of its own.
    let hole = map(0, 8 * PAGE, WRITE, 0) as usize;
    call(nr::MUNMAP, [hole + 2 * PAGE, PAGE]);
    must!(n.call("mincore", [hole, 4 * PAGE, at]) == ENOMEM, "mincore over a hole");
    must!(n.call("mlock", [at, 4 * PAGE]) == 0, "mlock");
    must!(there(&mut vector, at) == (0, [1; 4]), "mlock did not fetch pages");
    must!(n.advise(at, PAGE, 4) == EINVAL, "DONTNEED of what is locked");
    must!(n.call("msync", [at, PAGE, 2]) == EBUSY, "msync of what is locked");
    must!(n.call("munlock", [at, 4 * PAGE]) == 0 && n.advise(at, PAGE, 4) == 0, "munlock");
    must!(n.call("mlock", [hole, 4 * PAGE]) == ENOMEM, "mlock over a hole");
    must!(n.call("mlock2", [at, PAGE, 2]) == EINVAL, "mlock2");
    must!(n.call("mlockall", [4]) == EINVAL && n.call("mlockall", [0]) == EINVAL, "mlockall");
    must!(n.call("mlockall", [2]) == 0, "mlockall, later");
    let locked = map(0, 4 * PAGE, WRITE, 0) as usize;
    must!(there(&mut vector, locked) == (0, [1; 4]), "mlockall did not fetch what came");
    must!(n.call("munlockall", []) == 0, "munlockall");
    must!(n.call("msync", [at, PAGE, 5]) == EINVAL && n.call("msync", [at, PAGE, 4]) == 0, "msync");
    must!(n.call("msync", [hole, 4 * PAGE, 4]) == ENOMEM, "msync over a hole");
    let filled = map(0, 4 * PAGE, WRITE, POPULATE) as usize;
    must!(there(&mut vector, filled) == (0, [1; 4]), "MAP_POPULATE");
    let filled = map(0, 4 * PAGE, WRITE, LOCKED) as usize;
    must!(there(&mut vector, filled) == (0, [1; 4]), "MAP_LOCKED");
    must!(n.advise(at, PAGE, 1000) == EINVAL && n.advise(at + 1, PAGE, 0) == EINVAL, "madvise");
    must!(n.advise(hole, 4 * PAGE, 0) == ENOMEM, "madvise over a hole");
    // A child does not get it, or gets zeros.
    let area = map(0, 3 * PAGE, WRITE, 0) as usize;
    (0..3).for_each(|page| write(area + page * PAGE, 3));
    must!(n.advise(area, PAGE, 18) == 0 && n.advise(area + 2 * PAGE, PAGE, 10) == 0, "madvise");
    let zeros = child(|| i32::from(read(area) != 0 || read(area + PAGE) != 3));
    must!(zeros == 0, "WIPEONFORK");
    must!(signal_of(|| write(area + PAGE, read(area + 2 * PAGE))) == SIGSEGV, "DONTFORK");
    must!(read(area) == 3 && read(area + 2 * PAGE) == 3, "what the parent has");
    must!(n.advise(area, 3 * PAGE, 19) == 0 && n.advise(area, 3 * PAGE, 11) == 0, "taken back");
    must!(child(|| i32::from(read(area) != 3 || read(area + 2 * PAGE) != 3)) == 0, "KEEPONFORK");
    must!(n.advise(area, 3 * PAGE, 8) == 0 && read(area) == 0, "MADV_FREE");
    let fresh = map(0, 4 * PAGE, WRITE, 0) as usize;
    must!(n.advise(fresh, 4 * PAGE, 23) == 0, "POPULATE_WRITE");
    must!(there(&mut vector, fresh) == (0, [1; 4]), "POPULATE_WRITE did not");
    must!(n.call("mprotect", [fresh, PAGE, READ]) == 0, "mprotect");
    must!(n.advise(fresh, 4 * PAGE, 23) == EINVAL, "POPULATE_WRITE of what is read-only");
    // Its pages go, the mapping stays.
    write(area, 77);
    let moved = n.call("mremap", [area, 3 * PAGE, 3 * PAGE, 5]);
    must!(!is_error(moved) && moved as usize != area, "mremap DONTUNMAP");
    must!(read(moved as usize) == 77 && read(area) == 0, "DONTUNMAP moved nothing");
    must!(n.call("mremap", [area, 3 * PAGE, 2 * PAGE, 5]) == EINVAL, "DONTUNMAP, smaller");
    if size_of::<usize>() == 8 {
        must!(n.call("mseal", [area, 3 * PAGE, 1]) == EINVAL, "mseal, flags");
        must!(n.call("mseal", [hole, 4 * PAGE, 0]) == ENOMEM, "mseal over a hole");
        must!(n.call("mseal", [area + PAGE, PAGE, 0]) == 0, "mseal");
        must!(call(nr::MUNMAP, [area, 3 * PAGE]) == EPERM, "munmap of what is sealed");
        must!(n.call("mprotect", [area, 3 * PAGE, READ]) == EPERM, "mprotect of it");
        must!(map(area + PAGE, PAGE, WRITE, FIXED) == EPERM, "mmap over it");
        must!(n.call("mremap", [area + PAGE, PAGE, 2 * PAGE, 1]) == EPERM, "mremap of it");
        write(area + PAGE, 1);
        must!(call(nr::MUNMAP, [area, PAGE]) == 0, "munmap beside it");
    }
    must!(map(0, 1 << (usize::BITS - 2), WRITE, 0) == ENOMEM, "more than there can be");
    0
}

/// Mappings that grow as a stack does, and the range of mprotect that begins where a stack does.
fn grows(n: &Numbers) -> i32 {
    let space = map(0, 1024 * PAGE, NONE, NO_RESERVE) as usize;
    call(nr::MUNMAP, [space, 1024 * PAGE]);
    let low = space + 900 * PAGE;
    must!(map(low, 2 * PAGE, WRITE, FIXED_NO_REPLACE | GROWS_DOWN) as usize == low, "mmap");
    let down_to = |pages: usize| (1..=pages).for_each(|page| write(low - page * PAGE, page));
    must!(
        child(|| {
            down_to(300);
            0
        }) == 0,
        "MAP_GROWSDOWN does not grow"
    );
    must!(map(space, PAGE, WRITE, FIXED) as usize == space, "mmap below it");
    must!(
        child(|| {
            down_to(899 - 256);
            0
        }) == 0,
        "it does not grow up to the gap"
    );
    must!(signal_of(|| down_to(899 - 255)) == SIGSEGV, "it grows into the gap");
    down_to(8);
    const FROM_THE_BEGINNING: usize = 0x0100_0000;
    must!(n.call("mprotect", [low, PAGE, READ | FROM_THE_BEGINNING]) == 0, "mprotect");
    must!(is_deadly(|| write(low - 8 * PAGE, 1)), "mprotect did not begin where the stack does");
    must!(read(low - 8 * PAGE) == 8, "its contents");
    let plain = map(0, PAGE, WRITE, 0) as usize;
    let refused = n.call("mprotect", [plain, PAGE, READ | FROM_THE_BEGINNING]);
    must!(refused == EINVAL, "mprotect of no stack");
    0
}

/// Where the parts of this program are.
fn places(n: &Numbers) -> i32 {
    let here = 0_usize;
    print_number(c"stack", (&raw const here).addr());
    print_number(c"mmap", map(0, PAGE, WRITE, 0) as usize);
    print_number(c"heap", n.call("brk", [0]) as usize);
    0
}

/// The number behind a key, in the lines of smaps behind the one that ends in a name.
fn figure(name: &[u8], key: &[u8]) -> usize {
    static mut TEXT: [u8; 65536] = [0; 65536];
    let text = &raw mut TEXT;
    // SAFETY: (1) one thread, and nothing else uses it.
    let text = unsafe { &mut *text };
    let length = read_file(c"/proc/self/smaps", text).unwrap_or(0);
    let mut lines = text[..length].split(|&byte| byte == b'\n');
    if !lines.by_ref().any(|line| line.ends_with(name)) {
        return usize::MAX;
    }
    let Some(line) = lines.find(|line| line.starts_with(key)) else { return usize::MAX };
    let digits = line[key.len()..].iter().position(u8::is_ascii_digit).unwrap_or(0);
    user::calls::number(&line[key.len() + digits..])
}

#[inline(never)]
fn deep(pages: usize) -> usize {
    let mut page = [0_u8; PAGE];
    page[pages % PAGE] = 1;
    core::hint::black_box(&mut page);
    if pages == 0 { 1 } else { deep(pages - 1) + usize::from(page[pages % PAGE]) }
}

/// What deep recursion leaves: the stack keeps its pages and its size, until the program says that
/// it does not need them.
fn growth(n: &Numbers) -> i32 {
    let before = figure(b"[stack]", b"Rss:");
    must!(before < 200, "the stack is large before it was used");
    must!(deep(1000) == 1001, "recursion");
    let after = figure(b"[stack]", b"Rss:");
    must!((4000..4400).contains(&after), "what recursion left");
    must!(figure(b"[stack]", b"Size:") >= after, "the area's size");
    print_number(c"before", before);
    print_number(c"after", after);
    let here = 0_usize;
    let low = ((&raw const here).addr() & !(PAGE - 1)) - 900 * PAGE;
    must!(n.advise(low, 800 * PAGE, 4) == 0, "madvise of the stack");
    let given_back = figure(b"[stack]", b"Rss:");
    print_number(c"given-back", given_back);
    must!(given_back + 800 * 4 <= after + 16, "DONTNEED gave nothing back");
    must!(deep(1000) == 1001, "recursion, once more");
    0
}

fn nanoseconds() -> usize {
    let time = [0_usize; 2];
    call(nr::CLOCK_GETTIME, [1, time.as_ptr().addr()]);
    read(time.as_ptr().addr()) * 1_000_000_000 + read(time.as_ptr().addr() + size_of::<usize>())
}

/// What a mapping, a page of it and its end cost with many areas.
fn areas(n: &Numbers) -> i32 {
    const ROUNDS: usize = 100;
    const BATCHES: usize = 20;
    const LONG: usize = 20_000_000;
    let mut made = 0;
    let mut least = usize::MAX;
    for (name, wanted) in [(c"10", 10), (c"1000", 1000), (c"30000", 30_000)] {
        while made < wanted {
            let at = map(0, 2 * PAGE, WRITE, 0);
            must!(!is_error(at), "an area");
            must!(n.call("mprotect", [at as usize, PAGE, NONE]) == 0, "a guard");
            made += 2;
        }
        // The fastest of some batches: another machine on the same processors takes time from some,
        // not from all. The clock may step by some milliseconds, so each is longer than that.
        let mut fastest = usize::MAX;
        for _ in 0..BATCHES {
            let (began, mut rounds) = (nanoseconds(), 0);
            while nanoseconds() - began < LONG {
                for _ in 0..ROUNDS {
                    let at = map(0, PAGE, READ | 4, 0) as usize;
                    must!(read(at) == 0 && call(nr::MUNMAP, [at, PAGE]) == 0, "a mapping");
                }
                rounds += ROUNDS;
            }
            fastest = fastest.min((nanoseconds() - began) / rounds);
        }
        print_number(name, fastest);
        least = least.min(fastest);
        // A busy host makes three of one; what the search looks at is counted on the host.
        must!(fastest < least * 10, "a mapping costs too much with many areas");
    }
    0
}

/// One of the parts; 0 if all is as it should be.
type Part = fn(&Numbers) -> i32;

/// Memory that the kernel may take at any time (MAP_DROPPABLE).
fn droppable(n: &Numbers) -> i32 {
    const DROPPABLE: usize = 8;
    const EOPNOTSUPP: isize = -95;
    let new = |flags| call(nr::MMAP, [0, 2 * PAGE, WRITE, DROPPABLE | flags, usize::MAX, 0]);
    let area = new(ANONYMOUS);
    if cfg!(target_pointer_width = "32") {
        must!(area == EOPNOTSUPP, "there are no bits for it");
        return 0;
    }
    must!(!is_error(area), "MAP_DROPPABLE");
    let area = area as usize;
    must!(new(ANONYMOUS | GROWS_DOWN) == EINVAL, "a stack would be lost");
    must!(new(ANONYMOUS | LOCKED) == EINVAL, "what is locked stays");
    let file = new_file(n, c"/tmp/droppable", 2);
    must!(map_file(file, 0, PAGE, WRITE, DROPPABLE) == EINVAL, "a file's pages");
    write(area, 5);
    write(area + PAGE, 6);
    must!(child(|| i32::from(read(area) != 0)) == 0, "a child gets zeros");
    must!(n.advise(area, PAGE, 19) == EINVAL, "which it cannot be kept from");
    must!(n.advise(area, PAGE, 17) == EINVAL, "nor put into a dump");
    must!(n.call("mlock", [area, 2 * PAGE]) == 0, "mlock passes it over");
    must!(n.advise(area, PAGE, 21) == 0, "MADV_PAGEOUT");
    must!(read(area) == 0 && read(area + PAGE) == 6, "the first page is gone, the other is not");
    let plain = map(0, PAGE, WRITE, 0) as usize;
    write(plain, 7);
    must!(n.advise(plain, PAGE, 21) == 0 && read(plain) == 7, "what may not be dropped stays");
    must!(n.call("mlockall", [2]) == 0 && new(ANONYMOUS) == EINVAL, "nor what will be locked");
    must!(n.call("munlockall", []) == 0, "munlockall");
    0
}

fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 2 };
    let parts: [(&CStr, Part); 9] = [
        (c"droppable", droppable),
        (c"shared", shared),
        (c"truncated", truncated),
        (c"seals", seals),
        (c"advice", advice),
        (c"grows", grows),
        (c"places", places),
        (c"growth", growth),
        (c"areas", areas),
    ];
    // SAFETY: (1) argc and the pointers behind it are where the kernel put them; (2) the second
    // string has an end.
    let named = unsafe {
        if user::first_stack().read() != 2 {
            return 2;
        }
        let at = user::first_stack().add(2).read();
        CStr::from_ptr(core::ptr::with_exposed_provenance(at))
    };
    let numbers = Numbers(calls);
    parts.iter().find(|part| part.0 == named).map_or(2, |part| (part.1)(&numbers))
}
