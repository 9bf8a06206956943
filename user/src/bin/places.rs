//! Where files and directories lie, and what is told of it, for the kernel's own tests. The
//! argument chooses the part: `deep` (a tree deeper than any path is long), `removed` (a directory
//! that one is in), `names` (what is told of the names of what is in use). Status 0 if all is as on
//! Linux.

#![no_std]
#![no_main]

use core::ffi::CStr;
use user::arch::nr;
use user::calls::{Calls, HERE, call, path, read_file};
use user::must;

user::entry!(main);

const ENOENT: isize = -2;
const EINVAL: isize = -22;
const ENAMETOOLONG: isize = -36;
const WRITE: usize = 1;
const CREATE: usize = 0o100;
const DIRECTORY: usize = 0o200000;
const REMOVE_DIRECTORY: usize = 0x200;
const EMPTY_PATH: usize = 0x1000;
/// Directories in a part of a deep tree.
const STEPS: usize = 4;

struct Numbers(Calls);

impl Numbers {
    fn call<const N: usize>(&self, name: &str, arguments: [usize; N]) -> isize {
        call(self.0.number(name), arguments)
    }

    fn make_directory(&self, name: &CStr) -> isize {
        self.call("mkdirat", [HERE, path(name), 0o755])
    }

    fn remove_directory(&self, name: &CStr) -> isize {
        self.call("unlinkat", [HERE, path(name), REMOVE_DIRECTORY])
    }

    fn go(&self, name: &CStr) -> isize {
        self.call("chdir", [path(name)])
    }

    fn open(&self, name: &CStr, flags: usize) -> isize {
        self.call("openat", [HERE, path(name), flags, 0o644])
    }

    fn rename(&self, from: &CStr, to: &CStr, flags: usize) -> isize {
        self.call("renameat2", [HERE, path(from), HERE, path(to), flags])
    }

    /// The number and the links of what a path, or an open file, leads to.
    fn facts(&self, from: usize, name: &CStr) -> Result<(u64, u32), isize> {
        let mut told = [0_u8; 256];
        let asked = [from, path(name), EMPTY_PATH, 0x7ff, told.as_mut_ptr().addr()];
        match self.call("statx", asked) {
            0 => {
                let links = told[16..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
                let inode = told[32..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
                Ok((inode, links))
            }
            error => Err(error),
        }
    }

    /// Whether the link of an open file in /proc reads as a text.
    fn is_told(&self, file: isize, text: &[u8]) -> bool {
        let mut name = *b"/proc/self/fd/00\0";
        name[14] = b'0' + (file / 10) as u8;
        name[15] = b'0' + (file % 10) as u8;
        // No number begins with a zero.
        if name[14] == b'0' {
            name.copy_within(15.., 14);
        }
        let mut told = [0_u8; 96];
        let asked = [HERE, name.as_ptr().addr(), told.as_mut_ptr().addr(), told.len()];
        let read = self.call("readlinkat", asked);
        told.get(..read as usize) == Some(text)
    }

    /// Nanoseconds that this thread has run.
    fn spent(&self) -> u64 {
        const OF_THREAD: usize = 3;
        let mut time = [0_u64; 2];
        let wide = cfg!(target_pointer_width = "64");
        let name = if wide { "clock_gettime" } else { "clock_gettime64" };
        let asked = self.call(name, [OF_THREAD, time.as_mut_ptr().addr()]);
        if asked == 0 { time[0] * 1_000_000_000 + time[1] } else { 0 }
    }

    /// Goes so many parts further down; the least time that the steps of one took, from a directory
    /// into the one just made in it. They are short: of many, some are never interrupted, however
    /// loaded the emulator's machine is. Making one is left out: where mounts have rules, its whole
    /// path is looked at.
    fn go_down(&self, parts: usize) -> Option<u64> {
        let mut least = u64::MAX;
        for _ in 0..parts {
            let mut taken = 0;
            for _ in 0..STEPS {
                if self.make_directory(c"d") != 0 {
                    return None;
                }
                let begun = self.spent();
                if self.go(c"d") != 0 {
                    return None;
                }
                taken += self.spent() - begun;
                self.facts(HERE, c".").ok()?;
            }
            least = least.min(taken);
        }
        Some(least)
    }
}

fn deep(numbers: &Numbers) -> i32 {
    const PARTS: usize = 750;
    const LEVELS: usize = PARTS * STEPS;
    must!(numbers.make_directory(c"/tmp/deep") == 0 && numbers.go(c"/tmp/deep") == 0, "begin");
    let Some(first) = numbers.go_down(60) else { return 5 };
    must!(numbers.go_down(PARTS - 120).is_some(), "further down");
    let Some(last) = numbers.go_down(60) else { return 6 };
    // From the root, a step takes more than ten times as long by then.
    if last > first * 8 {
        user::calls::print_number(c"first, ns", first as usize);
        user::calls::print_number(c"last, ns", last as usize);
        return 7;
    }
    let mut told = [0_u8; 8192];
    let read = numbers.call("getcwd", [told.as_mut_ptr().addr(), told.len()]);
    must!(read == ENAMETOOLONG, "where one is, in more bytes than a path has");
    // A directory is not moved into what lies in it, however deep.
    let into = numbers.rename(c"/tmp/deep", c"d", 0);
    must!(into == EINVAL, "into itself");
    for _ in 0..LEVELS {
        must!(numbers.go(c"..") == 0 && numbers.remove_directory(c"d") == 0, "up again");
    }
    let read = numbers.call("getcwd", [told.as_mut_ptr().addr(), told.len()]);
    must!(read == 10 && told.starts_with(b"/tmp/deep\0"), "where it began");
    must!(numbers.go(c"/") == 0 && numbers.remove_directory(c"/tmp/deep") == 0, "the end");
    0
}

fn removed(numbers: &Numbers) -> i32 {
    for name in [c"/tmp/outer", c"/tmp/outer/inner"] {
        must!(numbers.make_directory(name) == 0, "mkdir");
    }
    let open = numbers.open(c"/tmp/outer/inner", DIRECTORY);
    must!(open >= 0 && numbers.go(c"/tmp/outer/inner") == 0, "into it");
    let before = numbers.facts(HERE, c".");
    must!(before.is_ok_and(|(_, links)| links == 2), "its links");
    must!(numbers.remove_directory(c"/tmp/outer/inner") == 0, "rmdir");
    let gone = before.map(|(inode, _)| (inode, 0));
    must!(numbers.facts(HERE, c".") == gone, "it by its point");
    must!(numbers.facts(HERE, c"") == gone, "it by no path");
    must!(numbers.facts(open as usize, c"") == gone, "it by its open file");
    must!(numbers.facts(open as usize, c".") == gone, "its point, from the open file");
    must!(numbers.facts(HERE, c"..") == numbers.facts(HERE, c"/tmp/outer"), "what it lay in");
    let again = numbers.open(c".", DIRECTORY);
    must!(again >= 0 && call(nr::CLOSE, [again as usize]) == 0, "opening it again");
    let mut names = [0_u8; 256];
    let listed = [open as usize, names.as_mut_ptr().addr(), names.len()];
    must!(numbers.call("getdents64", listed) == ENOENT, "its names");
    let getcwd = numbers.call("getcwd", [names.as_mut_ptr().addr(), names.len()]);
    must!(getcwd == ENOENT, "where it is");
    must!(numbers.make_directory(c"new") == ENOENT, "a directory in it");
    must!(numbers.open(c"new", WRITE | CREATE) == ENOENT, "a file in it");
    let renamed = numbers.rename(c"/tmp/outer", c"new", 0);
    must!(renamed == ENOENT || renamed == EINVAL, "what it lay in, into it");
    must!(numbers.is_told(open, b"/tmp/outer/inner (deleted)"), "what /proc tells");
    // Through /proc, too, a path leads to the directory and not to one of its name.
    must!(numbers.make_directory(c"/tmp/outer/inner") == 0, "another one");
    must!(numbers.facts(HERE, c"/proc/self/cwd/.") == gone, "by its link");
    must!(numbers.facts(HERE, c".") == gone, "not the other one");
    must!(numbers.go(c"..") == 0 && numbers.go(c"inner") == 0, "out, and into the other one");
    must!(numbers.facts(HERE, c".") != gone, "the other one");
    must!(numbers.go(c"/") == 0 && call(nr::CLOSE, [open as usize]) == 0, "the end");
    let all = [c"/tmp/outer/inner", c"/tmp/outer"];
    must!(all.iter().all(|name| numbers.remove_directory(name) == 0), "what was made");
    0
}

fn names(numbers: &Numbers) -> i32 {
    const EXCHANGE: usize = 2;
    let unlink = |name: &CStr| numbers.call("unlinkat", [HERE, path(name), 0]);
    let make = |name: &CStr| numbers.open(name, 2 | CREATE);
    must!(numbers.make_directory(c"/tmp/in") == 0, "mkdir");
    let file = make(c"/tmp/in/one");
    must!(file >= 0 && numbers.is_told(file, b"/tmp/in/one"), "as it was opened");
    must!(numbers.rename(c"/tmp/in/one", c"/tmp/in/two", 0) == 0, "rename");
    must!(numbers.is_told(file, b"/tmp/in/two"), "renamed");
    must!(numbers.rename(c"/tmp/in", c"/tmp/else", 0) == 0, "rename of the directory");
    must!(numbers.is_told(file, b"/tmp/else/two"), "what it lies in renamed");
    // By another name it is known as that.
    let link = [HERE, path(c"/tmp/else/two"), HERE, path(c"/tmp/link"), 0];
    must!(numbers.call("linkat", link) == 0, "link");
    let linked = numbers.open(c"/tmp/link", 0);
    must!(linked >= 0 && numbers.is_told(linked, b"/tmp/link"), "its other name");
    must!(unlink(c"/tmp/else/two") == 0, "unlink");
    must!(numbers.is_told(file, b"/tmp/else/two (deleted)"), "without its name");
    must!(numbers.is_told(linked, b"/tmp/link"), "with the other one");
    // Another file of the old name is another file.
    let other = make(c"/tmp/else/two");
    must!(other >= 0 && numbers.is_told(other, b"/tmp/else/two"), "a file of the old name");
    must!(numbers.is_told(file, b"/tmp/else/two (deleted)"), "still without its name");
    must!(numbers.rename(c"/tmp/link", c"/tmp/else/two", EXCHANGE) == 0, "exchange");
    must!(numbers.is_told(linked, b"/tmp/else/two"), "one");
    must!(numbers.is_told(other, b"/tmp/link"), "and the other");
    // What is replaced has no name any more.
    must!(numbers.rename(c"/tmp/else/two", c"/tmp/link", 0) == 0, "replace");
    must!(numbers.is_told(other, b"/tmp/link (deleted)"), "what was replaced");
    must!(numbers.is_told(linked, b"/tmp/link"), "what took its place");
    // Mappings and the program tell the same.
    must!(numbers.call("ftruncate", [linked as usize, 0]) == -22, "not for writing");
    let wide = cfg!(target_pointer_width = "64");
    let map = if wide { "mmap" } else { "mmap2" };
    let mapped = numbers.call(map, [0, 4096, 1, 2, linked as usize, 0]);
    must!(!(-4095..=0).contains(&mapped), "mmap");
    must!(numbers.rename(c"/tmp/link", c"/tmp/mapped", 0) == 0, "rename of what is mapped");
    let mut maps = [0_u8; 8192];
    let mut is_in_maps = |text: &[u8]| {
        let read = read_file(c"/proc/self/maps", &mut maps).unwrap_or(0);
        maps[..read].windows(text.len()).any(|bytes| bytes == text)
    };
    must!(is_in_maps(b" /tmp/mapped\n"), "maps");
    must!(unlink(c"/tmp/mapped") == 0 && is_in_maps(b" /tmp/mapped (deleted)\n"), "without it");
    let is_running = |text: &[u8]| {
        let mut told = [0_u8; 96];
        let link = path(c"/proc/self/exe");
        let asked = [HERE, link, told.as_mut_ptr().addr(), told.len()];
        told.get(..numbers.call("readlinkat", asked) as usize) == Some(text)
    };
    must!(is_running(b"/kstack/bin/places"), "the program");
    must!(numbers.rename(c"/kstack/bin/places", c"/tmp/program", 0) == 0, "rename of it");
    let is_other = is_running(b"/tmp/program");
    must!(numbers.rename(c"/tmp/program", c"/kstack/bin/places", 0) == 0, "and back");
    must!(is_other && is_running(b"/kstack/bin/places"), "where it went");
    must!(call(nr::MUNMAP, [mapped as usize, 4096]) == 0, "munmap");
    let closed = [file, linked, other].iter().all(|&file| call(nr::CLOSE, [file as usize]) == 0);
    must!(closed && numbers.remove_directory(c"/tmp/else") == 0, "the end");
    0
}

fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 3 };
    let numbers = Numbers(calls);
    match user::only_argument() {
        Some(b"deep") => deep(&numbers),
        Some(b"removed") => removed(&numbers),
        Some(b"names") => names(&numbers),
        _ => 4,
    }
}
