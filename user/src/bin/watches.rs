//! Being told what happens to files, for the kernel's own tests. The argument chooses the part:
//! `events` (what is told, and in which order), `rules` (errors, limits, what is lost). Status 0 if
//! all is as on Linux.

#![no_std]
#![no_main]

use core::ffi::CStr;
use user::arch::nr;
use user::calls::{Calls, HERE, call, path};
use user::must;

user::entry!(main);

const EAGAIN: isize = -11;
const EEXIST: isize = -17;
const ENOTDIR: isize = -20;
const EINVAL: isize = -22;
const EMFILE: isize = -24;
const ENOENT: isize = -2;
const EBADF: isize = -9;
const NONBLOCK: usize = 0o4000;
const WRITE: usize = 1;
const CREATE: usize = 0o100;
const TRUNCATE: usize = 0o1000;
const DIRECTORY: usize = 0o200000;
const REMOVE_DIRECTORY: usize = 0x200;

const ACCESS: u32 = 1;
const MODIFY: u32 = 2;
const ATTRIB: u32 = 4;
const CLOSE_WRITE: u32 = 8;
const CLOSE_NOWRITE: u32 = 0x10;
const OPEN: u32 = 0x20;
const MOVED_FROM: u32 = 0x40;
const MOVED_TO: u32 = 0x80;
const CREATED: u32 = 0x100;
const DELETE: u32 = 0x200;
const DELETE_SELF: u32 = 0x400;
const MOVE_SELF: u32 = 0x800;
const ALL: u32 = 0xfff;
const OVERFLOW: u32 = 0x4000;
const IGNORED: u32 = 0x8000;
const ONLY_DIRECTORY: u32 = 1 << 24;
const EXCLUDE_UNLINKED: u32 = 1 << 26;
const MUST_BE_NEW: u32 = 1 << 28;
const ADD: u32 = 1 << 29;
const OF_DIRECTORY: u32 = 1 << 30;
const ONE_SHOT: u32 = 1 << 31;

struct Numbers(Calls);

/// What waits in an instance.
struct Waiting {
    bytes: [u8; 4096],
    length: usize,
    at: usize,
    cookie: u32,
}

impl Waiting {
    fn number(&self, at: usize) -> u32 {
        let bytes = self.bytes.get(at..).and_then(|bytes| bytes.first_chunk());
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    /// Whether the next one is this.
    fn next(&mut self, watch: isize, bits: u32, name: &[u8]) -> bool {
        if self.at >= self.length {
            return false;
        }
        let [number, told, cookie, length] = [0, 4, 8, 12].map(|part| self.number(self.at + part));
        let bytes = self.bytes.get(self.at + 16..self.at + 16 + length as usize).unwrap_or(&[]);
        self.at += 16 + length as usize;
        self.cookie = cookie;
        let wanted = if name.is_empty() { 0 } else { (name.len() + 1).next_multiple_of(16) };
        let is_name = bytes.starts_with(name) && bytes[name.len()..].iter().all(|&byte| byte == 0);
        let is_it = (number as i32 as isize, told, length as usize) == (watch, bits, wanted);
        if !(is_it && is_name) {
            user::calls::print_number(c"watch", number as usize);
            user::calls::print_number(c"bits", told as usize);
            user::calls::print_number(c"bytes of the name", length as usize);
        }
        is_it && is_name
    }

    fn is_end(&self) -> bool {
        self.at == self.length
    }
}

impl Numbers {
    fn call<const N: usize>(&self, name: &str, arguments: [usize; N]) -> isize {
        call(self.0.number(name), arguments)
    }

    fn open(&self, name: &CStr, flags: usize) -> isize {
        self.call("openat", [HERE, path(name), flags, 0o644])
    }

    fn close(&self, file: isize) -> bool {
        call(nr::CLOSE, [file as usize]) == 0
    }

    fn unlink(&self, name: &CStr, flags: usize) -> bool {
        self.call("unlinkat", [HERE, path(name), flags]) == 0
    }

    fn make_directory(&self, name: &CStr) -> bool {
        self.call("mkdirat", [HERE, path(name), 0o755]) == 0
    }

    fn rename(&self, from: &CStr, to: &CStr) -> bool {
        self.call("renameat2", [HERE, path(from), HERE, path(to), 0]) == 0
    }

    fn instance(&self) -> isize {
        self.call("inotify_init1", [NONBLOCK])
    }

    fn watch(&self, instance: isize, name: &CStr, bits: u32) -> isize {
        self.call("inotify_add_watch", [instance as usize, path(name), bits as usize])
    }

    fn unwatch(&self, instance: isize, watch: isize) -> isize {
        self.call("inotify_rm_watch", [instance as usize, watch as usize])
    }

    fn waiting(&self, instance: isize) -> Waiting {
        let mut waiting = Waiting { bytes: [0; 4096], length: 0, at: 0, cookie: 0 };
        let to = [instance as usize, waiting.bytes.as_mut_ptr().addr(), waiting.bytes.len()];
        waiting.length = self.call("read", to).max(0) as usize;
        waiting
    }
}

fn events(numbers: &Numbers) -> i32 {
    must!(numbers.make_directory(c"/tmp/w"), "mkdir");
    let here = numbers.instance();
    let watch = numbers.watch(here, c"/tmp/w", ALL);
    must!(here >= 0 && watch == 1, "a watch");
    // A file is made, written, read, changed, and closed.
    let file = numbers.open(c"/tmp/w/file", 2 | CREATE);
    let mut byte = [7_u8];
    let wrote = numbers.call("write", [file as usize, byte.as_ptr().addr(), 1]);
    must!(file >= 0 && wrote == 1, "write");
    must!(numbers.call("fchmod", [file as usize, 0o600]) == 0 && numbers.close(file), "close");
    let again = numbers.open(c"/tmp/w/file", 0);
    let read = numbers.call("read", [again as usize, byte.as_mut_ptr().addr(), 1]);
    must!(read == 1 && numbers.close(again), "read");
    let cut = numbers.open(c"/tmp/w/file", WRITE | TRUNCATE);
    must!(cut >= 0 && numbers.close(cut), "truncate");
    let mut told = numbers.waiting(here);
    let of_file = [
        CREATED,
        OPEN,
        MODIFY,
        ATTRIB,
        CLOSE_WRITE,
        OPEN,
        ACCESS,
        CLOSE_NOWRITE,
        MODIFY,
        OPEN,
        CLOSE_WRITE,
    ];
    for bits in of_file {
        must!(told.next(watch, bits, b"file"), "of a file");
    }
    must!(told.is_end(), "and nothing else");
    // Names: a directory, a move, a link, the end.
    must!(numbers.make_directory(c"/tmp/w/dir"), "mkdir");
    must!(numbers.rename(c"/tmp/w/file", c"/tmp/w/dir/file"), "out");
    must!(numbers.rename(c"/tmp/w/dir/file", c"/tmp/w/back"), "in");
    must!(numbers.rename(c"/tmp/w/back", c"/tmp/w/other"), "within");
    let link = [HERE, path(c"/tmp/w/other"), HERE, path(c"/tmp/w/link"), 0];
    must!(numbers.call("linkat", link) == 0, "link");
    must!(numbers.unlink(c"/tmp/w/link", 0), "unlink");
    must!(numbers.unlink(c"/tmp/w/dir", REMOVE_DIRECTORY), "rmdir");
    let mut told = numbers.waiting(here);
    must!(told.next(watch, CREATED | OF_DIRECTORY, b"dir"), "mkdir");
    must!(told.next(watch, MOVED_FROM, b"file") && told.cookie != 0, "out");
    let cookie = told.cookie;
    must!(told.next(watch, MOVED_TO, b"back") && told.cookie != cookie, "in");
    must!(told.next(watch, MOVED_FROM, b"back"), "within: from");
    let cookie = told.cookie;
    must!(told.next(watch, MOVED_TO, b"other") && told.cookie == cookie, "within: to");
    must!(told.next(watch, CREATED, b"link"), "link");
    must!(told.next(watch, DELETE, b"link"), "unlink");
    must!(told.next(watch, DELETE | OF_DIRECTORY, b"dir") && told.is_end(), "rmdir");
    // The same happenings twice are told once.
    let writing = numbers.open(c"/tmp/w/other", WRITE);
    for _ in 0..3 {
        let wrote = numbers.call("write", [writing as usize, byte.as_mut_ptr().addr(), 1]);
        must!(wrote == 1, "write");
    }
    let mut told = numbers.waiting(here);
    must!(told.next(watch, OPEN, b"other") && told.next(watch, MODIFY, b"other"), "writing");
    must!(told.is_end(), "three writes are one");
    // A watched file without its name is there until it is closed.
    let of_file = numbers.watch(here, c"/tmp/w/other", ALL);
    must!(of_file == 2 && numbers.unlink(c"/tmp/w/other", 0), "unlink of what is open");
    let mut told = numbers.waiting(here);
    must!(told.next(of_file, ATTRIB, b"") && told.next(watch, DELETE, b"other"), "unlinked");
    must!(told.is_end(), "not gone");
    must!(numbers.close(writing), "close");
    let mut told = numbers.waiting(here);
    must!(told.next(watch, CLOSE_WRITE, b"other"), "the last close, in the directory");
    must!(told.next(of_file, CLOSE_WRITE, b"") && told.next(of_file, DELETE_SELF, b""), "gone");
    must!(told.next(of_file, IGNORED, b"") && told.is_end(), "and its watch");
    // The directory itself: read, moved, removed.
    let directory = numbers.open(c"/tmp/w", DIRECTORY);
    let list = [directory as usize, told.bytes.as_mut_ptr().addr(), 256];
    must!(numbers.call("getdents64", list) > 0 && numbers.close(directory), "getdents64");
    must!(numbers.rename(c"/tmp/w", c"/tmp/v"), "rename of the directory");
    must!(numbers.unlink(c"/tmp/v", REMOVE_DIRECTORY), "rmdir of the directory");
    let mut told = numbers.waiting(here);
    for bits in [OPEN | OF_DIRECTORY, ACCESS | OF_DIRECTORY, CLOSE_NOWRITE | OF_DIRECTORY] {
        must!(told.next(watch, bits, b""), "of the directory");
    }
    must!(told.next(watch, MOVE_SELF, b"") && told.next(watch, DELETE_SELF, b""), "its end");
    must!(told.next(watch, IGNORED, b"") && told.is_end(), "and the end of its watch");
    must!(numbers.close(here), "the end");
    0
}

fn rules(numbers: &Numbers) -> i32 {
    must!(numbers.make_directory(c"/tmp/r"), "mkdir");
    let file = numbers.open(c"/tmp/r/file", WRITE | CREATE);
    let here = numbers.instance();
    must!(file >= 0 && here >= 0, "begin");
    must!(numbers.call("inotify_init1", [1]) == EINVAL, "flags that there are not");
    must!(numbers.watch(here, c"/tmp/r", 0) == EINVAL, "nothing to watch for");
    must!(numbers.watch(here, c"/tmp/r", ALL | ADD | MUST_BE_NEW) == EINVAL, "both");
    must!(numbers.watch(file, c"/tmp/r", ALL) == EINVAL, "a file that is no instance");
    must!(numbers.watch(-1, c"/tmp/r", ALL) == EBADF, "no file");
    must!(numbers.watch(here, c"/tmp/none", ALL) == ENOENT, "nothing there");
    must!(numbers.watch(here, c"/tmp/r/file", ALL | ONLY_DIRECTORY) == ENOTDIR, "no directory");
    must!(numbers.unwatch(here, 1) == EINVAL, "no such watch");
    let read = |bytes: usize| {
        let mut to = [0_u8; 64];
        numbers.call("read", [here as usize, to.as_mut_ptr().addr(), bytes])
    };
    must!(read(64) == EAGAIN, "nothing waits");
    // One thing has one watch.
    let watch = numbers.watch(here, c"/tmp/r", OPEN);
    must!(watch == 1 && numbers.watch(here, c"/tmp/r", OPEN | MUST_BE_NEW) == EEXIST, "new");
    must!(numbers.watch(here, c"/tmp/r/.", CREATED | ADD) == watch, "more of it");
    let once = numbers.watch(here, c"/tmp/r/file", MODIFY | ONE_SHOT);
    let byte = [7_u8];
    for _ in 0..2 {
        let wrote = numbers.call("write", [file as usize, byte.as_ptr().addr(), 1]);
        must!(once == 2 && wrote == 1, "write");
    }
    let opened = numbers.open(c"/tmp/r/new", WRITE | CREATE);
    must!(opened >= 0 && numbers.close(opened), "another file");
    must!(numbers.unwatch(here, watch) == 0, "the end of a watch");
    must!(read(16) == 16, "what has no name fits");
    must!(read(16) == 16, "so does the end of its watch");
    must!(read(31) == EINVAL, "what has one does not");
    let mut told = numbers.waiting(here);
    must!(told.next(watch, CREATED, b"new") && told.next(watch, OPEN, b"new"), "both kinds");
    must!(told.next(watch, IGNORED, b"") && told.is_end(), "its end");
    // Not what happens to a file without its name, if that is not wanted.
    let watch = numbers.watch(here, c"/tmp/r", MODIFY | EXCLUDE_UNLINKED);
    must!(watch == 3 && numbers.unlink(c"/tmp/r/file", 0), "unlink");
    let wrote = numbers.call("write", [file as usize, byte.as_ptr().addr(), 1]);
    must!(wrote == 1 && read(64) == EAGAIN, "without its name");
    // What is lost is said to be lost.
    must!(numbers.watch(here, c"/tmp/r", CREATED | DELETE) == watch, "other kinds");
    for _ in 0..8200 {
        let made = numbers.open(c"/tmp/r/x", WRITE | CREATE);
        must!(made >= 0 && numbers.close(made) && numbers.unlink(c"/tmp/r/x", 0), "again");
    }
    let mut count = 0;
    let is_lost = loop {
        let mut told = numbers.waiting(here);
        if told.is_end() {
            break false;
        }
        while !told.is_end() {
            let bits = told.number(told.at + 4);
            told.at += 16 + told.number(told.at + 12) as usize;
            if bits == OVERFLOW {
                break;
            }
            count += 1;
        }
        if told.number(told.at.wrapping_sub(12)) == OVERFLOW {
            break true;
        }
    };
    must!(is_lost && count == 16384 && read(64) == EAGAIN, "too many");
    // No more instances than there may be.
    let mut instances = [-1; 200];
    let error = instances.iter_mut().find_map(|place| {
        *place = numbers.instance();
        (*place < 0).then_some(*place)
    });
    must!(error == Some(EMFILE), "instances without an end");
    let closed = instances.iter().filter(|&&one| one >= 0).all(|&one| numbers.close(one));
    must!(closed && numbers.close(here) && numbers.close(file), "the end");
    must!(numbers.unlink(c"/tmp/r/new", 0) && numbers.unlink(c"/tmp/r", REMOVE_DIRECTORY), "all");
    0
}

fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 3 };
    let numbers = Numbers(calls);
    match user::only_argument() {
        Some(b"events") => events(&numbers),
        Some(b"rules") => rules(&numbers),
        _ => 4,
    }
}
