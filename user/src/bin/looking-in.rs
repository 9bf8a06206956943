//! What a debugger finds in /proc, as on Linux. The first argument names a part: `memory` (mem:
//! reads and writes whatever the pages may be used for), `asleep` (syscall, wchan, io). Status 0 if
//! all is as on Linux.

#![no_std]
#![no_main]

use core::ffi::CStr;
use user::arch::nr;
use user::calls::{Calls, HERE, call, ended_within, path, sleep_milliseconds, status_of};
use user::memory::{NONE, PAGE, READ, WRITE};
use user::memory::{child, is_deadly, is_error, map, read, write};
use user::must;

user::entry!(main);

const PRIVATE: usize = 2;
const SHARED: usize = 1;
const EXEC: usize = 4;
const EIO: isize = -5;
const EACCES: isize = -13;
const EINVAL: isize = -22;
const READ_WRITE: usize = 2;

struct Numbers(Calls);

impl Numbers {
    fn call<const N: usize>(&self, name: &str, arguments: [usize; N]) -> isize {
        call(self.0.number(name), arguments)
    }

    /// lseek, by whichever call this machine has for places above 2 GiB.
    fn seek(&self, file: usize, to: usize, whence: usize) -> isize {
        let long = self.0.number("_llseek");
        if long == usize::MAX {
            return self.call("lseek", [file, to, whence]);
        }
        let mut place = 0_u64;
        call(long, [file, 0, to, (&raw mut place).addr(), whence])
    }

    fn read_at(&self, file: usize, at: usize, to: &mut [u8]) -> isize {
        self.seek(file, at, 0);
        call(nr::READ, [file, to.as_mut_ptr().addr(), to.len()])
    }

    fn write_at(&self, file: usize, at: usize, from: &[u8]) -> isize {
        self.seek(file, at, 0);
        call(nr::WRITE, [file, from.as_ptr().addr(), from.len()])
    }

    fn word(&self, file: usize, at: usize) -> usize {
        let mut bytes = [0; size_of::<usize>()];
        let whole = self.read_at(file, at, &mut bytes) == bytes.len() as isize;
        if whole { usize::from_ne_bytes(bytes) } else { usize::MAX }
    }

    fn set_word(&self, file: usize, at: usize, to: usize) -> isize {
        self.write_at(file, at, &to.to_ne_bytes())
    }
}

const WORD: isize = size_of::<usize>() as isize;

/// A file of a process: its descriptor or the error.
fn open_of(process: usize, name: &[u8], flags: usize) -> isize {
    let mut text = [0_u8; 64];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        text[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(b"/proc/");
    let mut place = 1_000_000;
    let mut has_begun = false;
    while place > 0 {
        let digit = process / place % 10;
        has_begun |= digit > 0;
        if has_begun {
            put(&[b'0' + digit as u8]);
        }
        place /= 10;
    }
    put(b"/");
    put(name);
    call(nr::OPENAT, [HERE, text.as_ptr().addr(), flags, 0])
}

fn open(at: &CStr, flags: usize) -> isize {
    call(nr::OPENAT, [HERE, path(at), flags, 0])
}

fn private_pages(n: &Numbers, mem: usize) -> i32 {
    let at = map(0, 2 * PAGE, WRITE, 0) as usize;
    write(at, 5);
    n.call("mprotect", [at, PAGE, READ]);
    must!(n.set_word(mem, at, 6) == WORD && read(at) == 6, "a page that may only be read");
    must!(is_deadly(|| write(at, 7)), "it may still only be read");
    must!(n.set_word(mem, at + PAGE, 8) == WORD && read(at + PAGE) == 8, "a page not there yet");
    // A child has its own copy, whichever of both writes.
    let other = child(|| {
        n.set_word(mem, at, 9);
        let Ok(own) = usize::try_from(open(c"/proc/self/mem", READ_WRITE)) else { return 1 };
        let parent_was_written = read(at) == 6;
        n.set_word(own, at, 10);
        i32::from(!(parent_was_written && read(at) == 10))
    });
    must!(other == 0 && read(at) == 9, "each has its own copy of a page");
    n.call("mprotect", [at, PAGE, NONE]);
    must!(n.word(mem, at) == 9, "a page without any access is read");
    must!(n.set_word(mem, at, 11) == WORD && n.word(mem, at) == 11, "and written");
    must!(
        is_deadly(|| {
            core::hint::black_box(read(at));
        }),
        "it still has no access"
    );
    n.call("mprotect", [at, PAGE, READ]);
    must!(read(at) == 11, "what was written stays");
    let never = map(0, PAGE, NONE, 0) as usize;
    must!(n.word(mem, never) == 0, "a page without any access that was never there");
    n.call("munmap", [at + PAGE, PAGE]);
    let mut bytes = [0; 64];
    must!(n.read_at(mem, at + PAGE, &mut bytes) == EIO, "where nothing is");
    must!(n.read_at(mem, at + PAGE - 8, &mut bytes) == 8, "up to where nothing is");
    must!(n.write_at(mem, at + PAGE - 8, &bytes) == 8, "the same, written");
    must!(n.read_at(mem, usize::MAX & !(PAGE - 1), &mut bytes) < 0, "the kernel's half");
    0
}

fn files(n: &Numbers, mem: usize) -> i32 {
    let file = n.call("memfd_create", [path(c"looked-into"), 0]) as usize;
    n.call("ftruncate", [file, PAGE]);
    let private = call(nr::MMAP, [0, PAGE, READ, PRIVATE, file, 0]) as usize;
    let shared = call(nr::MMAP, [0, PAGE, READ, SHARED, file, 0]) as usize;
    must!(!is_error(private as isize) && !is_error(shared as isize), "mappings of a file");
    must!(n.set_word(mem, private, 3) == WORD && read(private) == 3, "a private page of a file");
    must!(read(shared) == 0, "the file stays as it is");
    must!(is_deadly(|| write(private, 1)), "the page may still only be read");
    must!(n.set_word(mem, shared, 4) == EIO && read(shared) == 0, "a shared page of a file");
    must!(n.word(mem, shared) == 0, "it can be read");
    must!(n.seek(mem, 0, 2) == EINVAL, "there is no end");
    n.seek(mem, private, 0);
    let mut bytes = [0; 8];
    call(nr::READ, [mem, bytes.as_mut_ptr().addr(), 2]);
    n.seek(mem, 0_usize.wrapping_sub(2), 1);
    call(nr::READ, [mem, bytes.as_mut_ptr().addr(), 1]);
    must!(n.call("pread64", [mem, bytes.as_mut_ptr().addr(), 0]) == 0, "nothing is asked for");
    0
}

#[inline(never)]
extern "C" fn one() -> usize {
    core::hint::black_box(1)
}

#[inline(never)]
extern "C" fn two() -> usize {
    core::hint::black_box(2)
}

/// Code that is written this way is what runs next.
fn code(n: &Numbers, mem: usize) -> i32 {
    const BYTES: usize = 64;
    let at = map(0, PAGE, READ | EXEC, 0) as usize;
    type Function = extern "C" fn() -> usize;
    let put = |function: Function| {
        // Without the bit that chooses the set of instructions, where there is one.
        let from = function as *const () as usize & !1;
        let bytes = call(nr::WRITE, [mem, from, 0]);
        n.seek(mem, at, 0);
        bytes + call(nr::WRITE, [mem, from, BYTES]) == BYTES as isize
    };
    let mark = one as *const () as usize & 1;
    // SAFETY: (1) the code of a function that uses no address is written there before it runs.
    let there: Function = unsafe { core::mem::transmute(at | mark) };
    must!(put(one) && there() == 1, "code that was written");
    must!(put(two) && there() == 2, "code that was written over");
    0
}

/// Who may, and what is left of one that has ended.
fn others(n: &Numbers, _: usize) -> i32 {
    let at = map(0, PAGE, WRITE, 0) as usize;
    let sleeper = |prepare: &dyn Fn()| {
        let one = user::fork();
        if one == 0 {
            prepare();
            write(at, 77);
            loop {
                sleep_milliseconds(1000);
            }
        }
        one as usize
    };
    let plain = sleeper(&|| ());
    let mem = open_of(plain, b"mem", READ_WRITE);
    must!(mem >= 0, "root opens another's memory");
    let mut looks = 0;
    while n.word(mem as usize, at) != 77 && looks < 400 {
        sleep_milliseconds(5);
        looks += 1;
    }
    must!(n.word(mem as usize, at) == 77, "another's memory");
    must!(n.set_word(mem as usize, at, 78) == WORD, "another's memory is written");
    must!(n.word(mem as usize, at) == 78 && read(at) == 0, "and no other than that");
    let of_thread = open_of(plain, b"task/../mem", 0);
    must!(of_thread >= 0, "by another path");
    n.call("kill", [plain, 9]);
    status_of(plain as isize);
    must!(n.word(mem as usize, at) == usize::MAX, "of what has ended there is nothing");
    let mut byte = [0];
    must!(n.read_at(mem as usize, at, &mut byte) == 0, "and that is the end, no error");
    let user = |_: ()| {
        n.call("setresgid", [1000, 1000, 1000]);
        n.call("setresuid", [1000, 1000, 1000]);
    };
    let dumped = sleeper(&|| {
        user(());
        n.call("prctl", [4, 1, 0, 0, 0]);
    });
    let hidden = sleeper(&|| user(()));
    sleep_milliseconds(50);
    let seen = child(|| {
        user(());
        let opened = open_of(dumped, b"mem", 0) >= 0;
        let others = open_of(hidden, b"mem", 0) == EACCES;
        let roots = open_of(1, b"mem", 0) == EACCES;
        i32::from(!opened) + 2 * i32::from(!others) + 4 * i32::from(!roots)
    });
    for one in [dumped, hidden] {
        n.call("kill", [one, 9]);
        status_of(one as isize);
    }
    must!(seen & 0x100 == 0, "a user opens the memory of its own process");
    must!(seen & 0x200 == 0, "not that of one that may not be looked into");
    must!(seen & 0x400 == 0, "nor root's");
    0
}

fn memory(n: &Numbers) -> i32 {
    let Ok(mem) = usize::try_from(open(c"/proc/self/mem", READ_WRITE)) else { return 3 };
    let parts = [private_pages, files, code, others];
    parts.iter().map(|part| part(n, mem)).find(|&status| status != 0).unwrap_or(0)
}

/// A number in decimal or, behind `0x`, in hexadecimal.
fn number(word: &[u8]) -> usize {
    let (digits, base) = match word.strip_prefix(b"0x") {
        Some(digits) => (digits, 16),
        None => (word, 10),
    };
    digits.iter().fold(0, |number: usize, &digit| {
        number.wrapping_mul(base) + (digit as char).to_digit(base as u32).unwrap_or(0) as usize
    })
}

/// A file of a process, as far as it goes.
fn text_of<'t>(process: usize, name: &[u8], to: &'t mut [u8]) -> &'t [u8] {
    let file = open_of(process, name, 0);
    let read = call(nr::READ, [file as usize, to.as_mut_ptr().addr(), to.len()]);
    call(nr::CLOSE, [file as usize]);
    &to[..usize::try_from(read).unwrap_or(0)]
}

/// The number behind a name of /proc/self/io.
fn counted(name: &[u8]) -> usize {
    let mut text = [0; 512];
    let file = open(c"/proc/self/io", 0) as usize;
    let read = call(nr::READ, [file, text.as_mut_ptr().addr(), text.len()]);
    call(nr::CLOSE, [file]);
    let mut lines = text[..read.max(0) as usize].split(|&byte| byte == b'\n');
    let line = lines.find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.strip_prefix(b": ")).map_or(usize::MAX, number)
}

fn asleep(n: &Numbers) -> i32 {
    let mut text = [0; 256];
    let file = open(c"/proc/self/syscall", 0) as usize;
    let (to, length) = (text.as_mut_ptr().addr(), text.len());
    let read = call(nr::READ, [file, to, length]);
    let own = &text[..read.max(0) as usize];
    let mut words = own.split(|&byte| matches!(byte, b' ' | b'\n')).map(number);
    let is_own = [nr::READ, file, to, length].iter().all(|&wanted| words.next() == Some(wanted));
    must!(is_own, "the call that reads it");
    must!(text_of(user_id(n), b"wchan", &mut [0; 64]) == b"0", "where one sleeps that runs");
    let mut ends = [0_i32; 2];
    n.call("pipe2", [ends.as_mut_ptr().addr(), 0]);
    let sleeper = user::fork();
    if sleeper == 0 {
        let mut byte = 0_u8;
        call(nr::READ, [ends[0] as usize, (&raw mut byte).addr(), 1]);
        return 0;
    }
    let mut looks = 0;
    let is_asleep = |text: &[u8]| text.first().is_some_and(u8::is_ascii_digit);
    while !is_asleep(text_of(sleeper as usize, b"syscall", &mut text)) && looks < 400 {
        sleep_milliseconds(5);
        looks += 1;
    }
    let theirs = text_of(sleeper as usize, b"syscall", &mut text);
    let mut words = theirs.split(|&byte| matches!(byte, b' ' | b'\n')).map(number);
    must!(words.next() == Some(nr::READ), "the call that another sleeps in");
    must!(words.next() == Some(ends[0] as usize), "its first argument");
    must!(words.nth(1) == Some(1), "its third argument");
    let here = core::ptr::from_ref(&looks).addr();
    let sp = words.nth(3);
    must!(sp.is_some_and(|sp| sp.abs_diff(here) < 1 << 16), "its stack pointer");
    let place = text_of(sleeper as usize, b"wchan", &mut text);
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    must!(place.len() > 1 && place.iter().all(is_name), "where it sleeps");
    must!(n.call("kill", [sleeper as usize, 9]) == 0, "kill");
    status_of(sleeper);
    let runner = user::fork();
    if runner == 0 {
        loop {
            core::hint::spin_loop();
        }
    }
    must!(text_of(runner as usize, b"syscall", &mut text) == b"running\n", "one that runs");
    n.call("kill", [runner as usize, 9]);
    must!(ended_within(runner, 2000).is_some(), "its end");
    bytes(n)
}

fn user_id(n: &Numbers) -> usize {
    n.call("getpid", []) as usize
}

/// What was read and written.
fn bytes(n: &Numbers) -> i32 {
    let file = n.call("memfd_create", [path(c"bytes"), 0]) as usize;
    let before = (counted(b"wchar"), counted(b"syscw"));
    let text = [7_u8; 100];
    for _ in 0..3 {
        call(nr::WRITE, [file, text.as_ptr().addr(), text.len()]);
    }
    call(nr::WRITE, [9999, text.as_ptr().addr(), text.len()]);
    must!(counted(b"wchar") == before.0 + 300, "bytes that were written");
    must!(counted(b"syscw") == before.1 + 3, "calls that write");
    // Looking is reading, too.
    let (first, second) = (counted(b"syscr"), counted(b"syscr"));
    must!(second == first + 1, "calls that read");
    let first = counted(b"rchar");
    let more = child(|| {
        n.seek(file, 0, 0);
        let mut to = [0; 200];
        i32::from(call(nr::READ, [file, to.as_mut_ptr().addr(), to.len()]) != 200)
    });
    must!(more == 0 && counted(b"rchar") >= first + 200, "those of a child that was waited for");
    must!(counted(b"read_bytes") == 0, "bytes of block devices");
    0
}

fn main() -> i32 {
    let Some(named) = user::only_argument() else { return 2 };
    let Ok(calls) = Calls::read() else { return 2 };
    let numbers = Numbers(calls);
    match named {
        b"memory" => memory(&numbers),
        b"asleep" => asleep(&numbers),
        _ => 2,
    }
}
