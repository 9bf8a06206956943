//! What Linux tells of files, and where paths lead: `file-facts NAME`. `paths` (`..`, names of any
//! bytes), `standing` (directories that move under one), `times` (the time of day, before 1970,
//! what changes in a directory, holes), `archive` (files that came with it can be written),
//! `attributes` (extended ones), `sockets` (local ones with names). Status 0 if all is as on Linux.

#![no_std]
#![no_main]

use core::ffi::CStr;
use user::arch::nr;
use user::calls::{Calls, HERE, call, path, read_file, sleep_milliseconds, status_of};
use user::must;

user::entry!(main);

const ENOENT: isize = -2;
const ENXIO: isize = -6;
const EAGAIN: isize = -11;
const EEXIST: isize = -17;
const ENOTDIR: isize = -20;
const EINVAL: isize = -22;
const EPROTOTYPE: isize = -91;
const EADDRINUSE: isize = -98;
const EISCONN: isize = -106;
const ENOTCONN: isize = -107;
const ECONNREFUSED: isize = -111;
const WRITE: usize = 1;
const CREATE: usize = 0o100;
const DIRECTORY: usize = 0o200000;
const REMOVE_DIRECTORY: usize = 0x200;

struct Numbers(Calls);

/// What statx tells.
struct Facts {
    mode: u16,
    inode: u64,
    bytes: u64,
    blocks: u64,
    /// Last read, changed, written: seconds, nanoseconds.
    read: (i64, u32),
    changed: (i64, u32),
    written: (i64, u32),
}

impl Numbers {
    fn call<const N: usize>(&self, name: &str, arguments: [usize; N]) -> isize {
        call(self.0.number(name), arguments)
    }

    fn facts(&self, name: &CStr) -> Result<Facts, isize> {
        let mut told = [0_u8; 256];
        let asked = [HERE, path(name), 0x100, 0x7ff, told.as_mut_ptr().addr()];
        let result = self.call("statx", asked);
        if result != 0 {
            return Err(result);
        }
        let long = |at: usize| {
            told[at..].first_chunk().map_or(0, |bytes: &[u8; 8]| u64::from_le_bytes(*bytes))
        };
        let time = |at: usize| (long(at) as i64, long(at + 8) as u32);
        Ok(Facts {
            mode: long(28) as u16,
            inode: long(32),
            bytes: long(40),
            blocks: long(48),
            read: time(64),
            changed: time(96),
            written: time(112),
        })
    }

    fn open(&self, name: &CStr, flags: usize) -> isize {
        self.call("openat", [HERE, path(name), flags, 0o644])
    }

    fn make(&self, name: &CStr) -> bool {
        let file = self.open(name, WRITE | CREATE);
        file >= 0 && call(nr::CLOSE, [file as usize]) == 0
    }

    fn remove(&self, name: &CStr) -> isize {
        self.call("unlinkat", [HERE, path(name), 0])
    }

    /// Seconds and nanoseconds since 1970. Of the same clock as the files'.
    fn now(&self) -> (i64, u32) {
        let mut time = [0_u64; 2];
        let wide = cfg!(target_pointer_width = "64");
        let name = if wide { "clock_gettime" } else { "clock_gettime64" };
        let asked = self.call(name, [0, time.as_mut_ptr().addr()]);
        if asked == 0 { (time[0] as i64, time[1] as u32) } else { (0, 0) }
    }
}

fn paths(numbers: &Numbers) -> i32 {
    let make_directory = |name: &CStr| numbers.call("mkdirat", [HERE, path(name), 0o755]);
    let inode = |name: &CStr| numbers.facts(name).map_or(0, |facts| facts.inode);
    for name in [c"/tmp/here", c"/tmp/there", c"/tmp/there/deep"] {
        must!(make_directory(name) == 0, "mkdir");
    }
    let target = path(c"/tmp/there/deep");
    must!(numbers.call("symlinkat", [target, HERE, path(c"/tmp/here/link")]) == 0, "symlink");
    must!(numbers.make(c"/tmp/here/file"), "a file");
    // A link's `..` is that of where it leads.
    must!(inode(c"/tmp/here/link/..") == inode(c"/tmp/there"), "`..` behind a link");
    must!(inode(c"/tmp/here/link/../..") == inode(c"/tmp"), "twice");
    must!(inode(c"/tmp/here/link/../deep") == inode(c"/tmp/there/deep"), "and down again");
    must!(inode(c"/../../tmp") == inode(c"/tmp"), "`..` of the root");
    must!(inode(c"/proc/../tmp") == inode(c"/tmp"), "out of /proc");
    must!(inode(c"/tmp/../proc/self/fd/../status") == inode(c"/proc/self/status"), "in /proc");
    // What is not there has none, and neither has a file.
    let error = |name: &CStr| numbers.facts(name).err().unwrap_or(0);
    must!(error(c"/tmp/nothing/..") == ENOENT, "`..` of nothing");
    must!(error(c"/tmp/nothing/../here") == ENOENT, "through nothing");
    must!(error(c"/tmp/here/file/..") == ENOTDIR, "`..` of a file");
    must!(error(c"/tmp/here/file/.") == ENOTDIR, "`.` of a file");
    must!(make_directory(c"/tmp/here/..") == EEXIST, "mkdir of `..`");
    must!(make_directory(c"/tmp/nothing/..") == ENOENT, "mkdir of `..` of nothing");
    // What is made behind a link lies there, and is known by that path.
    must!(numbers.make(c"/tmp/here/link/../made"), "made behind a link");
    must!(inode(c"/tmp/there/made") != 0, "it is not there");

    // Names are bytes.
    const NAMES: [&CStr; 3] = [c"/tmp/here/\xff\xfe", c"/tmp/here/\u{10ff80}", c"/tmp/here/\xc3"];
    for name in NAMES {
        must!(numbers.make(name), "a name that is no text");
    }
    must!(inode(NAMES[0]) != inode(NAMES[1]) && inode(NAMES[1]) != 0, "two names are one");
    let directory = numbers.open(c"/tmp/here", DIRECTORY);
    let mut entries = [0_u8; 1024];
    let read = numbers
        .call("getdents64", [directory as usize, entries.as_mut_ptr().addr(), entries.len()]);
    must!(read > 0, "getdents64");
    for name in NAMES {
        let name = &name.to_bytes_with_nul()["/tmp/here/".len()..];
        let all = &entries[..read as usize];
        must!(all.windows(name.len()).any(|bytes| bytes == name), "another name is told");
    }
    must!(call(nr::CLOSE, [directory as usize]) == 0, "close");
    let mut name = [0xff_u8; 10 + 256 + 1];
    name[..10].copy_from_slice(b"/tmp/here/");
    name[10 + 256] = 0;
    let file =
        |name: &[u8]| numbers.call("openat", [HERE, name.as_ptr().addr(), WRITE | CREATE, 0o644]);
    must!(file(&name) == -36, "a name of 256 bytes");
    name[10 + 255] = 0;
    let made = file(&name);
    must!(made >= 0 && call(nr::CLOSE, [made as usize]) == 0, "a name of 255 bytes");
    must!(numbers.call("unlinkat", [HERE, name.as_ptr().addr(), 0]) == 0, "its end");
    // Links, and the current directory.
    let link = c"/tmp/here/other";
    must!(numbers.call("symlinkat", [path(NAMES[0]), HERE, path(link)]) == 0, "symlink");
    let mut told = [0_u8; 32];
    let read = numbers.call("readlinkat", [HERE, path(link), told.as_mut_ptr().addr(), 32]);
    let target = NAMES[0].to_bytes();
    must!(read == target.len() as isize && told.starts_with(target), "where a link leads");
    must!(numbers.facts(link).is_ok_and(|link| link.bytes == target.len() as u64), "its length");
    must!(numbers.remove(NAMES[2]) == 0 && make_directory(NAMES[2]) == 0, "a directory");
    must!(numbers.call("chdir", [path(NAMES[2])]) == 0, "chdir");
    let read = numbers.call("getcwd", [told.as_mut_ptr().addr(), told.len()]);
    let here = NAMES[2].to_bytes_with_nul();
    must!(read == here.len() as isize && told.starts_with(here), "where it is");
    must!(numbers.call("chdir", [path(c"/")]) == 0, "chdir");

    let files =
        [c"/tmp/here/link", link, c"/tmp/here/file", c"/tmp/there/made", NAMES[0], NAMES[1]];
    let gone = files.iter().all(|name| numbers.remove(name) == 0);
    let folders = [NAMES[2], c"/tmp/there/deep", c"/tmp/there", c"/tmp/here"];
    let remove = |name: &&CStr| numbers.call("unlinkat", [HERE, path(name), REMOVE_DIRECTORY]) == 0;
    must!(gone && folders.iter().all(remove), "what was made is not there");
    0
}

fn times(numbers: &Numbers) -> i32 {
    let facts = |name: &CStr| numbers.facts(name).ok();
    const FILE: &CStr = c"/tmp/timed";
    let before = numbers.now();
    must!(before.0 > 0, "no clock");
    let directory = facts(c"/tmp").map_or((0, 0), |facts| facts.written);
    sleep_milliseconds(2);
    let file = numbers.open(FILE, 2 | CREATE);
    must!(file >= 0, "open");
    let file = file as usize;
    let made = facts(FILE).map_or((0, 0), |facts| facts.written);
    must!(before <= made && made <= numbers.now(), "a new file's time");
    let after = facts(c"/tmp").map_or((0, 0), |facts| facts.written);
    must!(after > directory && after >= before, "a new name in a directory");
    // Before 1970, and where 32 bits of seconds end.
    let word = |seconds: i32| seconds as isize as usize;
    for seconds in [i32::MAX, i32::MIN, -2] {
        let times = [word(seconds), 5, word(seconds), 6];
        let asked = [HERE, path(FILE), times.as_ptr().addr(), 0];
        must!(numbers.call("utimensat", asked) == 0, "utimensat");
        let told = facts(FILE).map(|facts| (facts.read, facts.written));
        let seconds = i64::from(seconds);
        must!(told == Some(((seconds, 5), (seconds, 6))), "another time than was set");
    }
    // Read after it was written, once: as with `relatime`.
    must!(call(nr::WRITE, [file, path(c"abc"), 3]) == 3, "write");
    let mut byte = [0_u8; 1];
    let mut read = || {
        sleep_milliseconds(2);
        numbers.call("lseek", [file, 0, 0]);
        call(nr::READ, [file, byte.as_mut_ptr().addr(), 1]);
        facts(FILE).map_or((0, 0), |facts| facts.read)
    };
    let first = read();
    must!(first.0 > -2, "not read");
    must!(first >= before, "read before");
    must!(first <= numbers.now(), "read later");
    must!(read() == first, "it was read twice");
    // Cutting it off and giving it another name change it.
    let cut = facts(FILE).map_or((0, 0), |facts| facts.written);
    sleep_milliseconds(2);
    must!(numbers.call("ftruncate", [file, 1, 0, 0]) == 0, "ftruncate");
    let shorter = facts(FILE).map_or((0, 0), |facts| facts.written);
    must!(shorter > cut, "a shorter file");
    sleep_milliseconds(2);
    let to = [HERE, path(FILE), HERE, path(c"/tmp/renamed"), 0];
    must!(numbers.call("renameat2", to) == 0, "rename");
    let renamed = facts(c"/tmp/renamed");
    must!(renamed.as_ref().is_some_and(|facts| facts.changed > shorter), "a renamed file");
    must!(renamed.is_some_and(|facts| facts.written == shorter), "it was not written");

    // A hole takes nothing.
    const MEGABYTE: usize = 1 << 20;
    must!(numbers.call("lseek", [file, MEGABYTE, 0]) == MEGABYTE as isize, "lseek");
    must!(call(nr::WRITE, [file, path(c"x"), 1]) == 1, "write");
    let holed = facts(c"/tmp/renamed");
    must!(holed.is_some_and(|f| f.bytes == MEGABYTE as u64 + 1 && f.blocks == 16), "a hole");
    must!(call(nr::CLOSE, [file]) == 0, "close");
    must!(numbers.remove(c"/tmp/renamed") == 0, "unlink");

    0
}

/// What came with the archive can be written: here, there, at its end, and cut off.
fn archive(numbers: &Numbers) -> i32 {
    const USERS: &CStr = c"/etc/passwd";
    let mut was = [0_u8; 4096];
    let Ok(length) = read_file(USERS, &mut was) else { return 2 };
    must!(length > 8 && length < 4000, "no users");
    let file = numbers.open(USERS, 2);
    must!(file >= 0, "a file of the archive");
    let file = file as usize;
    must!(call(nr::WRITE, [file, path(c"Xy"), 2]) == 2, "its beginning");
    must!(numbers.call("lseek", [file, length, 0]) == length as isize, "lseek");
    must!(call(nr::WRITE, [file, path(c"end"), 3]) == 3, "its end");
    let mut now = [0_u8; 4096];
    must!(read_file(USERS, &mut now) == Ok(length + 3), "its length");
    must!(now.starts_with(b"Xy") && now[2..length] == was[2..length], "what was not written");
    must!(&now[length..length + 3] == b"end", "what was written");
    must!(numbers.call("ftruncate", [file, length, 0, 0]) == 0, "ftruncate");
    must!(numbers.call("lseek", [file, 0, 0]) == 0, "lseek");
    must!(call(nr::WRITE, [file, was.as_ptr().addr(), 2]) == 2, "as before");
    must!(call(nr::CLOSE, [file]) == 0, "close");
    must!(read_file(USERS, &mut now) == Ok(length) && now[..length] == was[..length], "as before");
    0
}

/// `struct sockaddr_un` of a name, and its length.
fn address(name: &[u8]) -> ([u8; 110], usize) {
    let mut bytes = [0; 110];
    bytes[0] = 1;
    bytes[2..2 + name.len()].copy_from_slice(name);
    (bytes, 2 + name.len())
}

fn sockets(numbers: &Numbers) -> i32 {
    const STREAM: usize = 1;
    const DATAGRAM: usize = 2;
    const NONBLOCK: usize = 0o4000;
    let socket = |kind: usize| numbers.call("socket", [1, kind, 0]) as usize;
    let named = |call: &str, file: usize, name: &[u8]| {
        let (bytes, length) = address(name);
        numbers.call(call, [file, bytes.as_ptr().addr(), length])
    };
    let close = |file: usize| call(nr::CLOSE, [file]) == 0;
    let listen = |file: usize, backlog: usize| numbers.call("listen", [file, backlog]);
    let accept = |file: usize| numbers.call("accept4", [file, 0, 0, 0]);
    const NAME: &[u8] = b"/tmp/heard";
    must!(numbers.call("socket", [2, STREAM, 0]) == -97, "a family that is not there");
    let server = socket(STREAM | NONBLOCK);
    must!(listen(server, 1) == EINVAL, "a listener without a name");
    must!(named("bind", server, NAME) == 0, "bind");
    must!(named("bind", server, b"/tmp/other") == EINVAL, "a second name");
    let mode = numbers.facts(c"/tmp/heard").map_or(0, |facts| facts.mode);
    must!(mode & 0o170000 == 0o140000, "its kind");
    must!(numbers.open(c"/tmp/heard", 0) == ENXIO, "it was opened");
    let (client, second, third) = (socket(STREAM), socket(STREAM), socket(STREAM | NONBLOCK));
    must!(named("bind", client, NAME) == EADDRINUSE, "a name that is there");
    must!(named("connect", client, NAME) == ECONNREFUSED, "nothing listens");
    let mut bytes = [0_u8; 16];
    let room = bytes.as_mut_ptr().addr();
    must!(call(nr::READ, [client, room, 1]) == EINVAL, "read of what is not connected");
    must!(call(nr::WRITE, [client, room, 1]) == ENOTCONN, "write of it");
    must!(listen(server, 1) == 0, "listen");
    must!(accept(server) == EAGAIN, "nothing has connected");
    let wrong = socket(DATAGRAM);
    must!(named("connect", wrong, NAME) == EPROTOTYPE, "another kind");
    must!(named("connect", client, NAME) == 0, "connect");
    must!(named("connect", client, NAME) == EISCONN, "twice");
    must!(named("connect", second, NAME) == 0, "a second one");
    must!(named("connect", third, NAME) == EAGAIN, "more than may wait");
    let accepted = accept(server);
    must!(accepted >= 0, "accept");
    let accepted = accepted as usize;
    must!(named("connect", third, NAME) == 0, "there is room again");
    must!(call(nr::WRITE, [client, path(c"to"), 2]) == 2, "write");
    must!(call(nr::READ, [accepted, room, 16]) == 2 && bytes.starts_with(b"to"), "what came");
    let room = bytes.as_mut_ptr().addr();
    must!(call(nr::WRITE, [accepted, path(c"fro"), 3]) == 3, "write");
    must!(call(nr::READ, [client, room, 16]) == 3 && bytes.starts_with(b"fro"), "and back");
    // Names of both ends, and who the other one is.
    let told = |call: &str, file: usize| {
        let mut address = [0_u8; 110];
        let mut length = 110_u32;
        let to = [file, address.as_mut_ptr().addr(), (&raw mut length).addr()];
        let result = numbers.call(call, to);
        // SAFETY: (1) a variable of this function, which the kernel has written.
        let length = unsafe { (&raw const length).read_volatile() };
        let is_it = length as usize == 3 + NAME.len() && address[2..].starts_with(NAME);
        (result, length, is_it)
    };
    must!(told("getpeername", client).2 && told("getsockname", accepted).2, "its name");
    must!(told("getsockname", client).1 == 2, "a name of what has none");
    must!(told("getpeername", server).0 == ENOTCONN, "the other end of a listener");
    let mut who = [0_u32; 3];
    let mut length = 12_u32;
    let asked = [accepted, 1, 17, who.as_mut_ptr().addr(), (&raw mut length).addr()];
    must!(numbers.call("getsockopt", asked) == 0, "SO_PEERCRED");
    must!(who[0] as isize == numbers.call("getpid", []), "who it is");
    // A thread that waits for one to connect; ends that go.
    must!(numbers.call("fcntl", [server, 4, 2]) == 0, "it may sleep");
    let waiting = [accept(server), accept(server)];
    must!(waiting.iter().all(|&file| file >= 0), "those that waited");
    let child = user::fork();
    if child == 0 {
        let file = accept(server);
        return if call(nr::READ, [file as usize, room, 16]) == 1 { 7 } else { 1 };
    }
    sleep_milliseconds(5);
    let fourth = socket(STREAM);
    must!(named("connect", fourth, NAME) == 0, "connect");
    must!(call(nr::WRITE, [fourth, path(c"x"), 1]) == 1, "write");
    must!(status_of(child) == 7 << 8, "what a child accepted");
    must!(close(client) && call(nr::READ, [accepted, room, 16]) == 0, "the end of one");
    let last = socket(STREAM);
    must!(named("connect", last, NAME) == 0, "connect");
    must!(close(server), "close");
    must!(call(nr::READ, [last, room, 16]) == 0, "the end of what was not accepted");
    let late = socket(STREAM);
    must!(named("connect", late, NAME) == ECONNREFUSED, "nothing listens any more");
    must!(numbers.remove(c"/tmp/heard") == 0, "unlink");
    must!(named("connect", late, NAME) == ENOENT, "no name any more");

    // Datagrams, to names that are in no tree.
    let (one, other) = (socket(DATAGRAM | NONBLOCK), socket(DATAGRAM));
    must!(
        named("bind", one, b"\0one") == 0 && named("bind", other, b"\0one") == EADDRINUSE,
        "bind"
    );
    must!(named("bind", other, b"") == 0, "a name that is chosen");
    let (to, to_length) = address(b"\0one");
    let send = |file: usize, to: usize, length: usize| {
        numbers.call("sendto", [file, path(c"word"), 4, 0, to, length])
    };
    must!(send(other, 0, 0) == ENOTCONN, "to nothing");
    must!(send(other, to.as_ptr().addr(), to_length) == 4, "sendto");
    let mut from = [0_u8; 110];
    let mut length = 110_u32;
    let room = bytes.as_mut_ptr().addr();
    let asked = [one, room, 16, 0, from.as_mut_ptr().addr(), (&raw mut length).addr()];
    must!(numbers.call("recvfrom", asked) == 4 && bytes.starts_with(b"word"), "recvfrom");
    // SAFETY: (1) a variable of this function, which the kernel has written.
    let length = unsafe { (&raw const length).read_volatile() };
    must!(length == 8 && from[2] == 0, "who sent it");
    must!(named("connect", other, b"\0one") == 0 && send(other, 0, 0) == 4, "to one for good");
    must!(call(nr::READ, [one, room, 16]) == 4 && close(one), "read");
    must!(send(other, 0, 0) == ECONNREFUSED, "to what has gone");
    for file in [second, third, accepted, wrong, fourth, last, late, other] {
        must!(close(file), "close");
    }
    must!(waiting.iter().all(|&file| close(file as usize)), "close");
    0
}

fn attributes(numbers: &Numbers) -> i32 {
    const EPERM: isize = -1;
    const ENODATA: isize = -61;
    const ERANGE: isize = -34;
    const EOPNOTSUPP: isize = -95;
    const FILE: &CStr = c"/tmp/marked";
    must!(numbers.make(FILE), "a file");
    let set = |file: &CStr, name: &CStr, value: &CStr, flags: usize| {
        let length = value.to_bytes().len();
        numbers.call("setxattr", [path(file), path(name), path(value), length, flags])
    };
    let mut told = [0_u8; 64];
    let room = told.as_mut_ptr().addr();
    let get = |file: &CStr, name: &CStr, length: usize| {
        numbers.call("getxattr", [path(file), path(name), room, length])
    };
    let changed = numbers.facts(FILE).map_or((0, 0), |facts| facts.changed);
    sleep_milliseconds(2);
    must!(get(FILE, c"user.one", 64) == ENODATA, "one that is not there");
    must!(set(FILE, c"user.one", c"first", 2) == ENODATA, "nothing to replace");
    must!(set(FILE, c"user.one", c"first", 1) == 0, "setxattr");
    must!(set(FILE, c"user.one", c"again", 1) == EEXIST, "one that is there");
    must!(set(FILE, c"user.one", c"second", 2) == 0, "another value");
    must!(numbers.facts(FILE).is_ok_and(|facts| facts.changed > changed), "the time of it");
    must!(get(FILE, c"user.one", 0) == 6 && get(FILE, c"user.one", 5) == ERANGE, "room for it");
    must!(get(FILE, c"user.one", 64) == 6, "getxattr");
    // SAFETY: (1) the array, which the kernel has written to.
    let value = unsafe { core::ptr::read_volatile(room as *const [u8; 6]) };
    must!(&value == b"second", "its value");
    must!(set(FILE, c"trusted.two", c"", 0) == 0, "of the trusted");
    must!(set(FILE, c"other.three", c"x", 0) == EOPNOTSUPP, "a class that is none");
    must!(set(FILE, c"user.", c"x", 0) == EINVAL, "no name");
    must!(set(FILE, c"user.one", c"x", 4) == EINVAL, "a flag that is none");
    must!(set(c"/dev/null", c"user.one", c"x", 0) == EPERM, "of a device");
    must!(get(c"/dev/null", c"user.one", 64) == ENODATA, "what a device has");
    must!(get(c"/proc/self/status", c"user.one", 64) == EOPNOTSUPP, "of /proc");
    let list = |length: usize| numbers.call("listxattr", [path(FILE), room, length]);
    must!(list(0) == 21 && list(20) == ERANGE && list(64) == 21, "their names");
    // SAFETY: (1) the array, which the kernel has written to.
    let names = unsafe { core::ptr::read_volatile(room as *const [u8; 21]) };
    must!(&names == b"user.one\0trusted.two\0", "the names");
    let child = user::fork();
    if child == 0 {
        // A user who may do nothing else sees none of the trusted.
        numbers.call("setresuid", [1000, 1000, 1000]);
        let is_hidden = list(64) == 9 && get(FILE, c"trusted.two", 64) == ENODATA;
        let is_refused = set(FILE, c"trusted.two", c"x", 0) == EPERM
            && set(FILE, c"user.one", c"x", 0) == -13
            && set(FILE, c"security.x", c"x", 0) == EPERM;
        return if is_hidden && is_refused { 7 } else { 1 };
    }
    must!(status_of(child) == 7 << 8, "another user's");
    let remove = |name: &CStr| numbers.call("removexattr", [path(FILE), path(name)]);
    must!(remove(c"user.one") == 0 && remove(c"user.one") == ENODATA, "removexattr");
    must!(list(64) == 12 && numbers.remove(FILE) == 0, "what is left");
    0
}

/// Directories that are moved, exchanged and removed while one stands in them or has them open.
fn standing(numbers: &Numbers) -> i32 {
    const EXCHANGE: usize = 2;
    let make_directory = |name: &CStr| numbers.call("mkdirat", [HERE, path(name), 0o755]);
    let remove = |name: &CStr| numbers.call("unlinkat", [HERE, path(name), REMOVE_DIRECTORY]) == 0;
    let rename = |from: &CStr, to: &CStr, flags: usize| {
        numbers.call("renameat2", [HERE, path(from), HERE, path(to), flags]) == 0
    };
    let is_here = |name: &CStr| {
        let mut told = [0_u8; 64];
        let bytes = numbers.call("getcwd", [told.as_mut_ptr().addr(), told.len()]);
        bytes == name.count_bytes() as isize + 1 && told.starts_with(name.to_bytes_with_nul())
    };
    let is_there = |name: &CStr| numbers.facts(name).is_ok();
    for name in [c"/tmp/a", c"/tmp/a/in", c"/tmp/a/in/deep", c"/tmp/b"] {
        must!(make_directory(name) == 0, "mkdir");
    }
    let open = numbers.open(c"/tmp/a/in", DIRECTORY);
    must!(open >= 0 && numbers.call("chdir", [path(c"/tmp/a/in/deep")]) == 0, "chdir");
    must!(rename(c"/tmp/a", c"/tmp/moved", 0), "rename of what lies above");
    must!(is_here(c"/tmp/moved/in/deep"), "where one is then");
    must!(numbers.make(c"one") && is_there(c"/tmp/moved/in/deep/one"), "a file there");
    must!(is_there(c"../deep/one") && !is_there(c"/tmp/a/in/deep/one"), "by `..`");
    let two = [open as usize, path(c"two"), 0o755];
    must!(numbers.call("mkdirat", two) == 0, "in an open directory");
    must!(is_there(c"/tmp/moved/in/two") && is_there(c"../two"), "it is elsewhere");
    // Another one of the same name is another one.
    must!(make_directory(c"/tmp/a") == 0 && make_directory(c"/tmp/a/in") == 0, "the old name");
    must!(numbers.call("fchdir", [open as usize]) == 0 && is_here(c"/tmp/moved/in"), "fchdir");
    must!(rename(c"/tmp/b", c"/tmp/moved", EXCHANGE), "exchange");
    must!(is_here(c"/tmp/b/in") && is_there(c"two"), "after the exchange");
    // Removed, there is nothing, whatever has its name.
    must!(make_directory(c"/tmp/gone") == 0, "another directory");
    must!(numbers.call("chdir", [path(c"/tmp/gone")]) == 0, "into it");
    must!(remove(c"/tmp/gone"), "removing where one is");
    let mut told = [0_u8; 64];
    let getcwd = || numbers.call("getcwd", [told.as_ptr().addr(), told.len()]);
    must!(getcwd() == ENOENT && numbers.open(c"file", WRITE | CREATE) == ENOENT, "nowhere");
    must!(make_directory(c"/tmp/gone") == 0 && !numbers.make(c"file"), "in one of its name");
    must!(getcwd() == ENOENT && is_there(c"/tmp/gone"), "the other one is there");
    let link = path(c"/proc/self/cwd");
    let read = numbers.call("readlinkat", [HERE, link, told.as_mut_ptr().addr(), told.len()]);
    must!(told.get(..read as usize) == Some(b"/tmp/gone (deleted)"), "what /proc tells");
    must!(numbers.call("chdir", [path(c"/")]) == 0, "back");
    must!(numbers.remove(c"/tmp/b/in/deep/one") == 0, "the file");
    for name in [c"/tmp/b/in/deep", c"/tmp/b/in/two", c"/tmp/b/in", c"/tmp/b", c"/tmp/moved"] {
        must!(remove(name), "the directories");
    }
    must!(remove(c"/tmp/a/in") && remove(c"/tmp/a") && remove(c"/tmp/gone"), "the others");
    0
}

fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 3 };
    let numbers = Numbers(calls);
    match user::only_argument() {
        Some(b"paths") => paths(&numbers),
        Some(b"standing") => standing(&numbers),
        Some(b"times") => times(&numbers),
        Some(b"archive") => archive(&numbers),
        Some(b"attributes") => attributes(&numbers),
        Some(b"sockets") => sockets(&numbers),
        _ => 4,
    }
}
