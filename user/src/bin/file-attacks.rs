//! What a program can try with files, memory and registers, one thing at a time: `file-attacks NAME`. Status 0 if it ends as on Linux:
//! an error to the caller, or a death with the right status.

#![no_std]
#![no_main]

use user::arch::{self, FORK_FLAGS, nr};
use user::calls::{Calls, HERE, call, ended_within, sleep_milliseconds, status_of};
use user::must;

user::entry!(main);

const EEXIST: isize = -17;
const ENOTDIR: isize = -20;
const EISDIR: isize = -21;
const EINVAL: isize = -22;
const ENOMEM: isize = -12;
const ENOSPC: isize = -28;
const ENOTEMPTY: isize = -39;
const SIGSEGV: i32 = 11;
const ANY: usize = -1_isize as usize;

fn path(path: &core::ffi::CStr) -> usize {
    path.as_ptr().addr()
}

/// More pieces than a call keeps files.
fn vectors(calls: &Calls) -> i32 {
    let text = [b'x'; 64];
    let null = call(nr::OPENAT, [HERE, path(c"/dev/null"), 1, 0]) as usize;
    let zero = call(nr::OPENAT, [HERE, path(c"/dev/zero"), 0, 0]) as usize;
    let mut vector = [[text.as_ptr().addr(), 1]; 1024];
    for count in [0, 1, 4, 5, 64, 1024] {
        let written = call(calls.number("writev"), [null, vector.as_ptr().addr(), count]);
        must!(written == count as isize, "writev");
    }
    let to = [1_u8; 64];
    vector = [[to.as_ptr().addr(), 64]; 1024];
    must!(call(calls.number("readv"), [zero, vector.as_ptr().addr(), 9]) == 9 * 64, "readv");
    must!(call(calls.number("writev"), [null, vector.as_ptr().addr(), 1025]) == EINVAL, "too many");
    0
}

/// From a file without an end to one that takes everything: it ends when the program is killed.
fn endless(calls: &Calls) -> i32 {
    const SIGKILL: usize = 9;
    let null = call(nr::OPENAT, [HERE, path(c"/dev/null"), 1, 0]) as usize;
    let zero = call(nr::OPENAT, [HERE, path(c"/dev/zero"), 0, 0]) as usize;
    let room = call(nr::MMAP, [0, 64 << 20, 3, 0x22, ANY, 0]) as usize;
    let sendfile = calls.number("sendfile");
    let random = calls.number("getrandom");
    for which in 0..2 {
        let child = user::fork();
        if child == 0 {
            loop {
                match which {
                    0 => call(sendfile, [null, zero, 0, usize::MAX]),
                    _ => call(random, [room, 32 << 20, 0]),
                };
            }
        }
        must!(child > 0, "no child");
        sleep_milliseconds(20);
        must!(call(calls.number("kill"), [child as usize, SIGKILL]) == 0, "kill");
        // Far less than the call would take.
        must!(ended_within(child, 200) == Some(SIGKILL as i32), "a long call outlives its process");
    }
    0
}

/// Moving names: onto themselves, into themselves, over what is there; and a tree deeper than any kernel stack.
fn names(calls: &Calls) -> i32 {
    const DEPTH: usize = 600;
    let rename = |from, to| call(calls.number("renameat"), [HERE, path(from), HERE, path(to)]);
    let mkdir = |name| call(calls.number("mkdirat"), [HERE, path(name), 0o777]);
    let rmdir = |name| call(calls.number("unlinkat"), [HERE, path(name), 0x200]);
    let unlink = |name| call(calls.number("unlinkat"), [HERE, path(name), 0]);
    let chdir = |name| call(calls.number("chdir"), [path(name)]);
    let is_there = |name| call(calls.number("faccessat"), [HERE, path(name), 0]) == 0;
    must!(mkdir(c"/tmp/names") == 0 && chdir(c"/tmp/names") == 0, "mkdir");
    let file = call(nr::OPENAT, [HERE, path(c"file"), 0o102, 0o644]);
    must!(file >= 0, "no file");
    must!(rename(c"file", c"file") == 0 && is_there(c"file"), "a file renamed to itself is gone");
    must!(rename(c"file", c"./file") == 0 && is_there(c"file"), "the same by another path");
    must!(mkdir(c"one") == 0 && mkdir(c"one/two") == 0 && mkdir(c"empty") == 0, "mkdir");
    must!(mkdir(c"one") == EEXIST, "mkdir of what is there");
    must!(rename(c"one", c"one/two/three") == EINVAL, "a directory into itself");
    must!(rename(c"one", c"one/one") == EINVAL, "a directory right into itself");
    must!(rename(c"one/two", c"one") == ENOTEMPTY, "a directory over the one it is in");
    must!(rename(c"empty", c"one") == ENOTEMPTY, "over a directory with something in it");
    must!(rename(c"file", c"one") == EISDIR, "a file over a directory");
    must!(rename(c"empty", c"file") == ENOTDIR, "a directory over a file");
    must!(rename(c"one/two", c"empty") == 0 && !is_there(c"one/two"), "over an empty one");
    must!(rename(c"file", c"one/file") == 0 && is_there(c"one/file"), "a file to another place");
    for _ in 0..DEPTH {
        must!(mkdir(c"deep") == 0 && chdir(c"deep") == 0, "a deep tree");
    }
    must!(chdir(c"/tmp/names") == 0, "back");
    must!(rename(c"empty", c"deep") == ENOTEMPTY, "over a deep tree");
    must!(rename(c"deep", c"other") == 0 && rename(c"other", c"deep") == 0, "a deep tree moves");
    for _ in 0..DEPTH {
        must!(chdir(c"deep") == 0, "down");
    }
    for _ in 0..DEPTH {
        must!(chdir(c"..") == 0 && rmdir(c"deep") == 0, "up");
    }
    must!(unlink(c"one/file") == 0 && rmdir(c"one") == 0 && rmdir(c"empty") == 0, "cleaning up");
    must!(call(nr::CLOSE, [file as usize]) == 0, "close");
    must!(mkdir(c"stays") == 0, "mkdir");
    // Names that go while they are read.
    const FILES: u32 = 300;
    let mut name = *b"f000\0";
    for i in 0..FILES {
        (name[1], name[2], name[3]) =
            (b'0' + (i / 100) as u8, b'0' + (i / 10 % 10) as u8, b'0' + (i % 10) as u8);
        let file = call(nr::OPENAT, [HERE, name.as_ptr().addr(), 0o102, 0o644]);
        must!(file >= 0 && call(nr::CLOSE, [file as usize]) == 0, "a file of many");
    }
    let directory = call(nr::OPENAT, [HERE, path(c"."), 0, 0]) as usize;
    let mut removed = 0;
    let mut entries = [0_u8; 512];
    loop {
        let read = call(calls.number("getdents64"), [directory, entries.as_mut_ptr().addr(), 512]);
        must!(read >= 0, "getdents64");
        if read == 0 {
            break;
        }
        let mut at = 0;
        while at < read as usize {
            let length = usize::from(entries[at + 16]) | usize::from(entries[at + 17]) << 8;
            let name = entries[at + 19..].as_ptr().addr();
            removed += u32::from(call(calls.number("unlinkat"), [HERE, name, 0]) == 0);
            at += length;
        }
    }
    must!(removed == FILES, "names were skipped while others went");
    must!(call(calls.number("lseek"), [directory, 0, 0]) == 0, "back to the first name");
    let read = call(calls.number("getdents64"), [directory, entries.as_mut_ptr().addr(), 512]);
    must!(read > 0, "a directory is read again");
    must!(call(nr::CLOSE, [directory]) == 0 && chdir(c"/") == 0, "close");
    must!(
        rmdir(c"/tmp/names/stays") == 0 && rmdir(c"/tmp/names") == 0,
        "the directory is not empty"
    );
    0
}

/// A child has its parent's floating point; so has the parent, afterwards.
fn floats(_: &Calls) -> i32 {
    const NUMBER: u64 = 0x4123_4567_89ab_cdef;
    for round in 0..8 {
        let number = NUMBER + round;
        arch::set_float(number);
        let before = arch::float();
        let child = call(nr::CLONE, [FORK_FLAGS, 0, 0, 0, 0]);
        let same = arch::float() == before;
        if child == 0 {
            user::exit(i32::from(!same));
        }
        must!(same, "the parent's floating point has changed");
        must!(before != 0, "the register was not written");
        must!(status_of(child) == 0, "the child has not its parent's floating point");
    }
    0
}

/// Deaths and their numbers.
fn deaths(_: &Calls) -> i32 {
    for bad in [8, 0x1234_5000, usize::MAX - 15] {
        let child = user::fork();
        if child == 0 {
            // SAFETY: (1) nothing: the kernel ends this process here.
            let value = unsafe { core::ptr::with_exposed_provenance::<u8>(bad).read_volatile() };
            user::exit(i32::from(value));
        }
        must!(status_of(child) == SIGSEGV, "a read of nothing is not a SIGSEGV");
    }
    0
}

/// The name of one of many links.
fn numbered(number: usize) -> [u8; 7] {
    let mut name = *b"l00000\0";
    for (place, divisor) in (1..6).zip([10_000, 1000, 100, 10, 1]) {
        name[place] = b'0' + (number / divisor % 10) as u8;
    }
    name
}

/// As much of the heap as names and links may have, used up: everything that needs some of it is an error or works, and all is well
/// afterwards.
fn heap(calls: &Calls) -> i32 {
    const MOST: usize = 99_999;
    let mut target = [b't'; 4001];
    target[4000] = 0;
    let mkdirat = calls.number("mkdirat");
    let unlinkat = calls.number("unlinkat");
    let symlinkat = calls.number("symlinkat");
    must!(call(mkdirat, [HERE, path(c"/tmp/heap"), 0o777]) == 0, "mkdir");
    must!(call(calls.number("chdir"), [path(c"/tmp/heap")]) == 0, "chdir");
    let mut made = 0;
    let error = loop {
        let name = numbered(made);
        let result = call(symlinkat, [target.as_ptr().addr(), HERE, name.as_ptr().addr()]);
        if result < 0 || made == MOST {
            break result;
        }
        made += 1;
    };
    must!(error == ENOSPC || error == ENOMEM, "links took all they asked for");
    // Whatever they say, the kernel is still there. What succeeds is undone.
    for _ in 0..20 {
        let child = user::fork();
        if child == 0 {
            user::exit(0);
        }
        if child > 0 {
            status_of(child);
        }
        let mut pipe = [0_u32; 2];
        if call(nr::PIPE2, [pipe.as_mut_ptr().addr(), 0]) == 0 {
            call(nr::CLOSE, [pipe[0] as usize]);
            call(nr::CLOSE, [pipe[1] as usize]);
        }
        for file in
            [c"/proc/self/maps", c"/proc", c"/proc/kstack/stacks", c"/proc/self/stack", c"."]
        {
            let file = call(nr::OPENAT, [HERE, path(file), 0, 0]);
            if file >= 0 {
                call(nr::CLOSE, [file as usize]);
            }
        }
        let action = [1_usize; 16];
        call(calls.number("rt_sigaction"), [10, action.as_ptr().addr(), 0, 8]);
        call(calls.number("symlinkat"), [path(c"/tmp"), HERE, path(c"link")]);
        call(unlinkat, [HERE, path(c"link"), 0]);
        call(nr::MMAP, [0, 4096, 3, 0x22, ANY, 0]);
    }
    for i in (0..made).rev() {
        must!(call(unlinkat, [HERE, numbered(i).as_ptr().addr(), 0]) == 0, "unlink");
    }
    must!(call(calls.number("chdir"), [path(c"/")]) == 0, "chdir");
    must!(call(unlinkat, [HERE, path(c"/tmp/heap"), 0x200]) == 0, "rmdir");
    0
}

fn main() -> i32 {
    let stack = user::first_stack();
    // SAFETY: (1) argc and the pointers behind it are as the kernel laid them out; two arguments were checked for.
    let name = unsafe {
        if *stack != 2 {
            return 2;
        }
        core::ffi::CStr::from_ptr(*stack.add(2) as *const core::ffi::c_char).to_bytes()
    };
    let Ok(calls) = Calls::read() else { return 3 };
    let attack: fn(&Calls) -> i32 = match name {
        b"vectors" => vectors,
        b"names" => names,
        b"floats" => floats,
        b"deaths" => deaths,
        b"heap" => heap,
        b"endless" => endless,
        _ => return 4,
    };
    attack(&calls)
}
