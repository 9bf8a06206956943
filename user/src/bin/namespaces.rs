//! What a process sees of the tree, as on Linux: `namespaces NAME`. Status 0 if `mounts`: what a
//! process mounts in a namespace of its own is seen there and nowhere else, and the ways into it
//! are right; `roots`: no path leads out of a root that a process was given.

#![no_std]
#![no_main]

use core::ffi::CStr;
use user::arch::nr;
use user::calls::{Calls, HERE, call, path, read_file, status_of};
use user::must;

user::entry!(main);

const PLACE: &CStr = c"/tmp/namespaces";
const FILE: &CStr = c"/tmp/namespaces/file";
const MOUNTS: &CStr = c"/proc/self/mounts";
const LINK: &CStr = c"/proc/self/ns/mnt";

const EPERM: isize = -1;
const ENOENT: isize = -2;
const EINVAL: isize = -22;
const NEW_MOUNTS: usize = 0x2_0000;
const NEW_HOST: usize = 0x400_0000;
const FS: usize = 0x200;
const CHILD_SIGNAL: usize = 17;
const CREATE: usize = 0o100;
const WRITE_ONLY: usize = 1;
const REMOVE_DIRECTORY: usize = 0x200;
const KILL: usize = 9;

struct Test {
    calls: Calls,
}

impl Test {
    fn make<const N: usize>(&self, name: &str, arguments: [usize; N]) -> isize {
        call(self.calls.number(name), arguments)
    }

    fn open(&self, file: &CStr, flags: usize) -> isize {
        self.make("openat", [HERE, path(file), flags, 0o600])
    }

    fn mount(&self) -> isize {
        let kind = path(c"tmpfs");
        self.make("mount", [kind, path(PLACE), kind, 0, 0])
    }

    fn leave(&self, kinds: usize) -> isize {
        self.make("unshare", [kinds])
    }

    fn enter(&self, file: isize, kinds: usize) -> isize {
        self.make("setns", [file as usize, kinds])
    }

    /// What a link of /proc/self/ns reads as.
    fn name(&self, link: &CStr) -> [u8; 32] {
        let mut name = [0; 32];
        let to = name.as_mut_ptr().addr();
        self.make("readlinkat", [HERE, path(link), to, name.len()]);
        name
    }
}

/// Whether the mounts of a process have one at the place.
fn shows(mounts: &CStr) -> bool {
    let mut text = [0; 2048];
    let length = read_file(mounts, &mut text).unwrap_or(0);
    text[..length].windows(16).any(|part| part == b" /tmp/namespaces")
}

/// Writes the path of a process's file in /proc.
fn of_process<'p>(process: isize, name: &[u8], to: &'p mut [u8; 64]) -> &'p CStr {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = process as usize;
    while left > 0 {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    let whole = b"/proc/".iter().chain(&digits[at..]).chain(b"/").chain(name);
    to.fill(0);
    to.iter_mut().zip(whole).for_each(|(to, &byte)| *to = byte);
    CStr::from_bytes_until_nul(to).unwrap_or(c"")
}

fn one_byte(test: &Test, name: &str, end: u32) -> isize {
    let mut byte = [b'x'];
    test.make(name, [end as usize, byte.as_mut_ptr().addr(), 1])
}

/// What getcwd gives, up to the byte that ends it.
fn here(test: &Test, to: &mut [u8; 128]) -> usize {
    let length = test.make("getcwd", [to.as_mut_ptr().addr(), to.len()]);
    usize::try_from(length).unwrap_or(1) - 1
}

fn roots(test: &Test) -> i32 {
    const ENOTDIR: isize = -20;
    const ROOT: &CStr = c"/tmp/roots";
    let root = |place: &CStr| test.make("chroot", [path(place)]);
    must!(test.make("mkdirat", [HERE, path(ROOT), 0o755]) == 0, "a directory");
    must!(test.make("mkdirat", [HERE, path(c"/tmp/roots/d"), 0o755]) == 0, "one in it");
    must!(test.open(c"/tmp/roots/file", CREATE | WRITE_ONLY) >= 0, "a file in it");
    let linked = test.make("symlinkat", [path(c"/file"), HERE, path(c"/tmp/roots/d/link")]);
    must!(linked == 0, "a link that begins at the root");
    let up = test.make("symlinkat", [path(c"../../../../file"), HERE, path(c"/tmp/roots/d/up")]);
    must!(up == 0, "a link that leads up");
    must!(root(c"/tmp/roots/no") == ENOENT && root(c"/tmp/roots/file") == ENOTDIR, "no directory");
    must!(root(c"/proc/self") == EPERM, "a root that is made when it is read");
    let outside = test.open(c"/tmp", 0);
    let child = user::fork();
    if child == 0 {
        must!(test.make("chdir", [path(c"/tmp/roots/d")]) == 0 && root(ROOT) == 0, "chroot");
        let mut name = [0; 128];
        must!(
            here(test, &mut name) == 2 && name.starts_with(b"/d"),
            "the directory below the root"
        );
        for inside in [c"/file", c"../file", c"/../../file", c"/d/link", c"link", c"/d/up"] {
            must!(test.open(inside, 0) >= 0, "a path below the root");
        }
        must!(test.open(c"/tmp", 0) == ENOENT && test.open(c"/proc/self", 0) == ENOENT, "outside");
        must!(test.make("chdir", [path(c"..")]) == 0 && here(test, &mut name) == 1, "the root");
        must!(test.make("chdir", [path(c"..")]) == 0 && here(test, &mut name) == 1, "above it");
        // A descriptor leads where it always did.
        must!(test.make("fchdir", [outside as usize]) == 0, "a directory from before");
        let length = here(test, &mut name);
        must!(&name[..length] == b"(unreachable)/tmp", "what is not below the root says so");
        must!(test.open(c"roots/file", 0) >= 0, "a path from there");
        // A child has its parent's; a root below a root is below both.
        let grandchild = user::fork();
        if grandchild == 0 {
            must!(root(c"/d") == 0 && test.open(c"/link", 0) == ENOENT, "a root below a root");
            must!(test.open(c"/up", 0) == ENOENT && test.open(c"/file", 0) == ENOENT, "above it");
            must!(test.make("setuid", [65534]) == 0 && root(c"/") == EPERM, "a user's root");
            return 0;
        }
        must!(status_of(grandchild) == 0, "a child in the root");
        return 0;
    }
    must!(status_of(child) == 0, "one with a root of its own");
    must!(test.open(c"/tmp/roots/file", 0) >= 0, "another one's root moved this process");
    0
}

fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 3 };
    let test = Test { calls };
    match user::only_argument() {
        Some(b"mounts") => mounts(&test),
        Some(b"roots") => roots(&test),
        _ => 2,
    }
}

fn mounts(test: &Test) -> i32 {
    must!(test.make("mkdirat", [HERE, path(PLACE), 0o700]) == 0, "a directory");
    let first = test.name(LINK);
    must!(
        first.starts_with(b"mnt:[") && test.name(c"/proc/self/ns/uts").starts_with(b"uts:["),
        "names"
    );

    // A process of its own namespace, which stays until it is told to end.
    let (mut ready, mut stop) = ([0_u32; 2], [0_u32; 2]);
    must!(test.make("pipe2", [ready.as_mut_ptr().addr(), 0]) == 0, "a pipe");
    must!(test.make("pipe2", [stop.as_mut_ptr().addr(), 0]) == 0, "a pipe");
    let child = user::fork();
    if child == 0 {
        must!(test.leave(NEW_MOUNTS) == 0, "unshare");
        must!(test.name(LINK) != first, "a namespace is the one before");
        must!(test.mount() == 0 && shows(MOUNTS), "a mount");
        must!(test.open(FILE, CREATE | WRITE_ONLY) >= 0, "a file in it");
        must!(one_byte(test, "write", ready[1]) == 1, "a word to the parent");
        must!(one_byte(test, "read", stop[0]) == 1, "a word of the parent");
        // What is mounted elsewhere meanwhile is not here.
        must!(test.open(FILE, 0) >= 0, "the file is there no more");
        return 0;
    }
    must!(one_byte(test, "read", ready[0]) == 1, "a word of the child");
    must!(test.name(LINK) == first, "another one's unshare moved this process");
    must!(test.open(FILE, 0) == ENOENT && !shows(MOUNTS), "a mount of another namespace is here");
    let mut room = [0; 64];
    must!(shows(of_process(child, b"mounts", &mut room)), "the child's mounts in /proc");
    // Mounted over here: the child does not see it.
    must!(test.mount() == 0 && shows(MOUNTS), "a mount");

    // In by its file, and in by its process.
    let namespace = test.open(of_process(child, b"ns/mnt", &mut room), 0);
    let process = test.make("pidfd_open", [child as usize, 0]);
    must!(namespace >= 0 && process >= 0, "a namespace and a process as files");
    for (file, kinds) in [(namespace, 0), (namespace, NEW_MOUNTS), (process, NEW_MOUNTS)] {
        let visitor = user::fork();
        if visitor == 0 {
            must!(test.enter(namespace, NEW_HOST) == EINVAL, "a namespace of another kind");
            must!(test.enter(process, 0) == EINVAL, "none of a process");
            must!(test.enter(0, 0) == EINVAL, "the console is no namespace");
            must!(
                test.make("chdir", [path(c"/tmp")]) == 0 && test.enter(file, kinds) == 0,
                "setns"
            );
            must!(test.open(FILE, 0) >= 0, "the other one's file");
            // At the root of the new one.
            must!(test.open(c"tmp/namespaces/file", 0) >= 0, "the current directory");
            return 0;
        }
        must!(status_of(visitor) == 0, "a visitor of the namespace");
    }
    must!(one_byte(test, "write", stop[1]) == 1 && status_of(child) == 0, "the child's end");
    // It lives as long as a file holds it.
    let visitor = user::fork();
    if visitor == 0 {
        must!(test.enter(namespace, 0) == 0 && test.open(FILE, 0) >= 0, "a namespace that is held");
        return 0;
    }
    must!(status_of(visitor) == 0, "a visitor of what is held");
    call(nr::CLOSE, [namespace as usize]);

    // By clone: with a place in the tree that is shared, it cannot be.
    let both = test.make("clone", [NEW_MOUNTS | FS | CHILD_SIGNAL, 0, 0, 0, 0]);
    must!(both == EINVAL, "mounts of one's own in a place that is shared");
    let child = test.make("clone", [NEW_MOUNTS | CHILD_SIGNAL, 0, 0, 0, 0]);
    if child == 0 {
        must!(test.name(LINK) != first && shows(MOUNTS), "a child begins with its parent's mounts");
        must!(test.make("umount2", [path(PLACE), 0]) == 0 && !shows(MOUNTS), "umount");
        return 0;
    }
    must!(child > 0 && status_of(child) == 0, "a child with mounts of its own");
    must!(shows(MOUNTS) && test.make("umount2", [path(PLACE), 0]) == 0, "the parent's mount");
    let removed = test.make("unlinkat", [HERE, path(PLACE), REMOVE_DIRECTORY]);
    must!(removed == 0, "what nothing is mounted on can go");

    // Who may not, cannot.
    let child = user::fork();
    if child == 0 {
        must!(test.make("setuid", [65534]) == 0, "another user");
        must!(test.leave(NEW_MOUNTS) == EPERM, "mounts of a user's own");
        let own = test.open(LINK, 0);
        must!(own >= 0 && test.enter(own, 0) == EPERM, "setns of a user");
        must!(test.make("kill", [test.make("getpid", []) as usize, KILL]) == 0, "its end");
    }
    must!(status_of(child) == KILL as i32, "one who may not");
    0
}
