//! What a process sees of the tree, as on Linux: `namespaces NAME`. Status 0 if `mounts`: what a
//! process mounts in a namespace of its own is seen there and nowhere else, and the ways into it
//! are right; `ipc`: what has a key, a number or a name is of the namespace in which it was made,
//! and goes with that; `roots`: no path leads out of a root that a process was given.

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
const NEW_IPC: usize = 0x800_0000;
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

/// What programs share by keys, numbers and names.
struct Shared {
    segment: isize,
    set: isize,
    queue: isize,
}

const KEY: usize = 0x4b53;
const MADE: usize = 0o1000 | 0o600;
const REMOVE: usize = 0;
const STAT: usize = 2;
const SYSTEM_V: [&CStr; 3] = [c"/proc/sysvipc/shm", c"/proc/sysvipc/sem", c"/proc/sysvipc/msg"];

impl Test {
    /// Finds, or makes, each kind of thing with the key.
    fn obtain(&self, flags: usize) -> Shared {
        Shared {
            segment: self.make("shmget", [KEY, 4096, flags]),
            set: self.make("semget", [KEY, 1, flags]),
            queue: self.make("msgget", [KEY, flags]),
        }
    }

    fn open_queue(&self, flags: usize) -> isize {
        self.make("mq_open", [path(c"of-a-namespace"), flags, 0o600, 0])
    }

    /// How many lines of things there are, in all three lists.
    fn listed(&self) -> usize {
        let mut text = [0; 2048];
        let lines = SYSTEM_V.iter().map(|list| {
            let length = read_file(list, &mut text).unwrap_or(0);
            text[..length].iter().filter(|&&byte| byte == b'\n').count().saturating_sub(1)
        });
        lines.sum()
    }

    fn remove(&self, of: &Shared) -> bool {
        self.make("shmctl", [of.segment as usize, REMOVE, 0]) == 0
            && self.make("semctl", [of.set as usize, 0, REMOVE, 0]) == 0
            && self.make("msgctl", [of.queue as usize, REMOVE, 0]) == 0
    }
}

fn ipc(test: &Test) -> i32 {
    const LINK: &CStr = c"/proc/self/ns/ipc";
    let first = test.open(LINK, 0);
    let name = test.name(LINK);
    must!(first >= 0 && name.starts_with(b"ipc:["), "the namespace as a file");
    let before = test.listed();
    let ours = test.obtain(MADE);
    must!(ours.segment >= 0 && ours.set >= 0 && ours.queue >= 0, "each kind of thing");
    let named = test.open_queue(CREATE | 2);
    must!(named >= 0 && test.listed() == before + 3, "a queue with a name");

    let mut ends = [0_u32; 4];
    let at = ends.as_mut_ptr().addr();
    must!(call(nr::PIPE2, [at, 0]) == 0 && call(nr::PIPE2, [at + 8, 0]) == 0, "pipes");
    let [from, to, silent, _] = core::hint::black_box(ends).map(|end| end as usize);
    let child = user::fork();
    if child == 0 {
        must!(test.leave(NEW_IPC) == 0 && test.name(LINK) != name, "unshare");
        must!(test.listed() == 0, "it is empty");
        let none = test.obtain(0);
        must!([none.segment, none.set, none.queue] == [ENOENT; 3], "no key of another namespace");
        must!(test.open_queue(0) == ENOENT, "no name");
        must!(test.make("shmat", [ours.segment as usize, 0, 0]) == EINVAL, "no number");
        let mut told = [0_u64; 32];
        let to_it = told.as_mut_ptr().addr();
        must!(test.make("semctl", [ours.set as usize, 0, STAT, to_it]) == EINVAL, "no set");
        must!(test.make("msgctl", [ours.queue as usize, STAT, to_it]) == EINVAL, "no queue");
        let theirs = test.obtain(MADE);
        must!(theirs.segment >= 0 && theirs.segment != ours.segment, "a segment of its own");
        must!(theirs.set >= 0 && theirs.set != ours.set && test.listed() == 3, "and the others");
        must!(test.open_queue(CREATE | 2) >= 0, "the same name");
        // Its child is where it is.
        let heir = user::fork();
        if heir == 0 {
            return i32::from(test.obtain(0).segment != theirs.segment);
        }
        must!(status_of(heir) == 0, "an heir");
        must!(call(nr::WRITE, [to, path(c"x"), 1]) == 1, "a word");
        // Until it is killed: nothing more comes.
        return call(nr::READ, [silent, told.as_mut_ptr().addr(), 1]) as i32 + 1;
    }
    let mut byte = [0_u8];
    must!(call(nr::READ, [from, byte.as_mut_ptr().addr(), 1]) == 1, "the child's word");
    let found = test.obtain(0);
    must!(found.segment == ours.segment && test.listed() == before + 3, "what is ours");
    let held = test.open(of_process(child, b"ns/ipc", &mut [0; 64]), 0);
    must!(held >= 0 && test.make("kill", [child as usize, KILL]) == 0, "held by a file");
    must!(status_of(child) == KILL as i32, "its last process ends");
    must!(test.enter(held, NEW_HOST) == EINVAL && test.enter(held, NEW_IPC) == 0, "setns");
    let left = test.obtain(0);
    must!(left.segment >= 0 && left.segment != ours.segment && test.listed() == 3, "it is there");
    must!(test.open_queue(0) >= 0, "and its queue");
    must!(test.enter(first, 0) == 0 && test.name(LINK) == name, "back");
    must!(test.obtain(0).segment == ours.segment, "among ours");
    // With the last that holds it, it goes, and its numbers with it.
    call(nr::CLOSE, [held as usize]);
    let fresh = test.make("clone", [NEW_IPC | CHILD_SIGNAL, 0, 0, 0, 0]);
    if fresh == 0 {
        must!(test.listed() == 0 && test.obtain(0).queue == ENOENT, "another one");
        return 0;
    }
    must!(status_of(fresh) == 0, "a child with one of its own");
    must!(test.remove(&ours) && test.listed() == before, "what was ours is gone");
    must!(test.make("mq_unlink", [path(c"of-a-namespace")]) == 0, "and its name");
    must!(call(nr::CLOSE, [named as usize]) == 0, "the queue");
    0
}

fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 3 };
    let test = Test { calls };
    match user::only_argument() {
        Some(b"mounts") => mounts(&test),
        Some(b"ipc") => ipc(&test),
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
