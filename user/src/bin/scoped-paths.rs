//! Paths that may not lead everywhere (openat2). Status 0 if each leads where it does on Linux, or
//! is refused with the same error.

#![no_std]
#![no_main]

use core::ffi::CStr;
use user::arch::{OPEN_FLAGS, nr};
use user::calls::{Calls, HERE, call, path};
use user::must;

user::entry!(main);

const ENOENT: isize = -2;
const E2BIG: isize = -7;
const EAGAIN: isize = -11;
const EXDEV: isize = -18;
const EINVAL: isize = -22;
const ELOOP: isize = -40;
const CREATE: u64 = 0o100;
const READ_WRITE: u64 = 2;
/// `O_PATH`.
const PLACE: u64 = 0o10_000_000;
const DIRECTORY: u64 = OPEN_FLAGS[0] as u64;
const NOFOLLOW: u64 = OPEN_FLAGS[1] as u64;
const LARGE: u64 = OPEN_FLAGS[2] as u64;
const NO_XDEV: u64 = 1;
const NO_MAGICLINKS: u64 = 2;
const NO_SYMLINKS: u64 = 4;
const BENEATH: u64 = 8;
const IN_ROOT: u64 = 0x10;
const CACHED: u64 = 0x20;
const TOP: &CStr = c"/tmp/scoped";

struct Test {
    calls: Calls,
    directory: isize,
}

impl Test {
    fn call<const N: usize>(&self, name: &str, arguments: [usize; N]) -> isize {
        call(self.calls.number(name), arguments)
    }

    fn raw(&self, name: &CStr, how: &[u64], bytes: usize) -> isize {
        let arguments = [self.directory as usize, path(name), how.as_ptr().addr(), bytes];
        self.call("openat2", arguments)
    }

    /// The inode that a path leads to, or the error.
    fn leads(&self, name: &CStr, flags: u64, resolve: u64) -> isize {
        let mode = if flags & CREATE == 0 { 0 } else { 0o600 };
        let file = self.raw(name, &[flags, mode, resolve], 24);
        if file < 0 {
            return file;
        }
        let inode = self.inode(file as usize, c"");
        call(nr::CLOSE, [file as usize]);
        inode
    }

    fn inode(&self, from: usize, name: &CStr) -> isize {
        let mut told = [0_u8; 256];
        let asked = [from, path(name), 0x1000, 0x100, told.as_mut_ptr().addr()];
        if self.call("statx", asked) != 0 {
            return 0;
        }
        // As a word of any machine, and no error: two that differ are the same once in 2³¹.
        let fold = |number: u64| (number % 0x7fff_fff1) as isize + 1;
        told[32..].first_chunk().map_or(0, |bytes| fold(u64::from_le_bytes(*bytes)))
    }

    fn is(&self, name: &CStr, resolve: u64, meant: &CStr) -> bool {
        self.leads(name, PLACE, resolve) == self.inode(HERE, meant)
    }

    fn link(&self, target: &CStr, name: &CStr) -> bool {
        self.call("symlinkat", [path(target), HERE, path(name)]) == 0
    }

    fn remove(&self, name: &CStr, flags: usize) -> bool {
        self.call("unlinkat", [HERE, path(name), flags]) == 0
    }
}

fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 3 };
    let mut test = Test { calls, directory: HERE as isize };
    for name in [TOP, c"/tmp/scoped/in", c"/tmp/scoped/in/sub"] {
        must!(test.call("mkdirat", [HERE, path(name), 0o755]) == 0, "a directory");
    }
    let made = test.call("openat", [HERE, path(c"/tmp/scoped/in/file"), 0o102, 0o600]);
    must!(made >= 0 && call(nr::CLOSE, [made as usize]) == 0, "a file");
    must!(test.link(c"file", c"/tmp/scoped/in/near"), "a link");
    must!(test.link(c"/file", c"/tmp/scoped/in/far"), "a link to what the root has");
    must!(test.link(c"../../in/../../file", c"/tmp/scoped/in/sub/out"), "a link out");
    must!(test.link(c"/proc/self/fd", c"/tmp/scoped/in/proc"), "a link to /proc");
    test.directory = test.call("openat", [HERE, path(c"/tmp/scoped/in"), PLACE as usize, 0]);
    must!(test.directory >= 0, "the directory");
    const FILE: &CStr = c"/tmp/scoped/in/file";
    const IN: &CStr = c"/tmp/scoped/in";

    must!(test.is(c"near", BENEATH, FILE) && test.is(c"sub/../file", BENEATH, FILE), "beneath");
    for out in [c"/", c"..", c"../in/file", c"far", c"sub/out", c"sub/../../in/file"] {
        must!(test.leads(out, PLACE, BENEATH) == EXDEV, "out of the directory");
    }
    for (name, meant) in [(c"/", IN), (c"..", IN), (c"../in/../file", FILE), (c"far", FILE)] {
        let is_absent = name == c"../in/../file";
        let found = test.leads(name, PLACE, IN_ROOT);
        must!(is_absent && found == ENOENT || test.is(name, IN_ROOT, meant), "the root");
    }
    must!(test.leads(c"sub/out", PLACE, IN_ROOT) == ENOENT, "a link that leads to no name");
    must!(test.leads(c"/new", CREATE | READ_WRITE, IN_ROOT) > 0, "a new file");
    must!(test.remove(c"/tmp/scoped/in/new", 0), "it is elsewhere");

    must!(test.leads(c"near", PLACE, NO_SYMLINKS) == ELOOP, "a link");
    must!(test.is(c"file", NO_SYMLINKS, FILE), "no link");
    must!(test.is(c"near", NO_MAGICLINKS, FILE), "a link that is a path");
    must!(test.leads(c"/proc/self/exe", PLACE, NO_MAGICLINKS) == ELOOP, "a link that is none");
    must!(test.leads(c"proc/0", PLACE, NO_MAGICLINKS) == ELOOP, "behind a link");
    must!(test.leads(c"/proc/self/status", 0, NO_MAGICLINKS) > 0, "a file of /proc");
    must!(test.leads(c"/proc/self/cwd", PLACE, IN_ROOT) == ELOOP, "a link to itself");
    must!(test.leads(c"/proc/self/status", 0, NO_XDEV) == EXDEV, "another file system");
    must!(test.is(c"sub/../near", NO_XDEV, FILE), "the same one");

    // The structure and its bits.
    must!(test.raw(c"file", &[0; 3], 23) == EINVAL, "too short");
    must!(test.raw(c"file", &[0, 0, 0, 1], 32) == E2BIG, "more than is known");
    let longer = test.raw(c"file", &[0; 4], 32);
    must!(longer >= 0 && call(nr::CLOSE, [longer as usize]) == 0, "longer, with nothing in it");
    must!(test.leads(c"file", 1 << 40, 0) == EINVAL, "a flag that is none");
    must!(test.leads(c"file", 0, 0x40) == EINVAL, "a bit that is none");
    must!(test.leads(c"file", 0, BENEATH | IN_ROOT) == EINVAL, "two roots");
    must!(test.raw(c"file", &[0, 0o600, 0], 24) == EINVAL, "a mode of nothing new");
    must!(test.raw(c"new", &[CREATE, 0o10600, 0], 24) == EINVAL, "a mode that is none");
    must!(test.leads(c"file", PLACE | READ_WRITE, 0) == EINVAL, "a place to write to");
    must!(test.is(c"file", CACHED, FILE), "what is in memory");
    must!(test.leads(c"new", CREATE | READ_WRITE, CACHED) == EAGAIN, "what is not");
    let told = |flags: u64, name: &CStr| {
        let file = test.raw(name, &[flags, 0, 0], 24);
        let told = test.call("fcntl", [file as usize, 3, 0]);
        must!(file >= 0 && call(nr::CLOSE, [file as usize]) == 0, "a file to be asked");
        // What has words of 64 bits has no small files.
        i32::from(told as u64 & !LARGE == flags)
    };
    must!(told(PLACE | NOFOLLOW, c"near") == 1, "O_NOFOLLOW is not told");
    must!(told(DIRECTORY, c"sub") == 1 && told(0, c"sub/") == 1, "O_DIRECTORY is not told");

    must!(call(nr::CLOSE, [test.directory as usize]) == 0, "close");
    for name in [
        FILE,
        c"/tmp/scoped/in/near",
        c"/tmp/scoped/in/far",
        c"/tmp/scoped/in/proc",
        c"/tmp/scoped/in/sub/out",
    ] {
        must!(test.remove(name, 0), "unlink");
    }
    for name in [c"/tmp/scoped/in/sub", IN, TOP] {
        must!(test.remove(name, 0x200), "rmdir");
    }
    0
}
