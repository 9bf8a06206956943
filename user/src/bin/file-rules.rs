//! Rules that programs give files, beside what Linux does: `file-rules NAME`. Status 0 if leases,
//! flags of files and what is told of file systems are as on Linux.

#![no_std]
#![no_main]

use user::arch::nr;
use user::calls::{Calls, HERE, call, path, sleep_milliseconds, status_of};
use user::must;

user::entry!(main);

const EPERM: isize = -1;
const EBADF: isize = -9;
const EAGAIN: isize = -11;
const EACCES: isize = -13;
const EFAULT: isize = -14;
const EINVAL: isize = -22;
const ENOTTY: isize = -25;
const EOPNOTSUPP: isize = -95;
const WRITE_ONLY: usize = 1;
const READ_WRITE: usize = 2;
const CREATE: usize = 0o100;
const TRUNCATE: usize = 0o1000;
const APPEND: usize = 0o2000;
const NONBLOCK: usize = 0o4000;
const NOBODY: usize = 65534;

fn open(name: &core::ffi::CStr, flags: usize) -> isize {
    call(nr::OPENAT, [HERE, path(name), flags, 0o666])
}

fn close(file: isize) {
    call(nr::CLOSE, [file as usize]);
}

fn fcntl(calls: &Calls, file: isize, command: usize, argument: usize) -> isize {
    let number = match calls.number("fcntl") {
        usize::MAX => calls.number("fcntl64"),
        number => number,
    };
    call(number, [file as usize, command, argument])
}

fn truncate(calls: &Calls, name: &core::ffi::CStr) -> isize {
    call(calls.number("truncate"), [path(name), 0])
}

/// A time of so many milliseconds, for a call that takes one of words.
const fn time(milliseconds: usize) -> [usize; 2] {
    [milliseconds / 1000, milliseconds % 1000 * 1_000_000]
}

/// Waits for one of these signals, which are blocked, for two seconds at most.
fn wait_for(calls: &Calls, signals: u64) -> isize {
    let limit = time(2000);
    let arguments = [(&raw const signals).addr(), 0, limit.as_ptr().addr(), 8];
    call(calls.number("rt_sigtimedwait"), arguments)
}

fn leases(calls: &Calls) -> i32 {
    const SET_SIGNAL: usize = 10;
    const SET: usize = 1024;
    const GET: usize = 1025;
    const READ: usize = 0;
    const WRITE: usize = 1;
    const NONE: usize = 2;
    const IO: usize = 29;
    const OWN: usize = 40;
    let name = c"/tmp/leased";
    let set = |file: isize, kind: usize| fcntl(calls, file, SET, kind);
    let of = |file: isize| fcntl(calls, file, GET, 0);
    let waited = 1_u64 << (IO - 1) | 1_u64 << (OWN - 1);
    must!(
        call(calls.number("rt_sigprocmask"), [0, (&raw const waited).addr(), 0, 8]) == 0,
        "a mask"
    );

    close(open(name, CREATE | READ_WRITE | TRUNCATE));
    let file = open(name, 0);
    must!(of(file) == NONE as isize, "a lease of nobody");
    must!(set(file, NONE) == EAGAIN && set(file, 9) == EINVAL, "what is no lease");
    must!(set(file, READ) == 0 && of(file) == READ as isize, "a lease to read");
    must!(set(file, WRITE) == 0 && of(file) == WRITE as isize, "one to write, alone");
    must!(set(file, NONE) == 0 && of(file) == NONE as isize, "one that is given up");
    let writer = open(name, READ_WRITE);
    must!(set(file, READ) == EAGAIN, "a lease to read while another writes");
    must!(set(writer, WRITE) == EAGAIN, "one to write while another reads");
    close(file);
    must!(set(writer, READ) == EAGAIN && set(writer, WRITE) == 0, "that of who writes alone");
    close(writer);
    let directory = open(c"/tmp", 0);
    must!(set(directory, READ) == EINVAL, "a lease of a directory");
    close(directory);

    // Who does not wait is refused, and the holder is told all the same.
    let file = open(name, 0);
    must!(set(file, READ) == 0, "a lease once more");
    let other = open(name, 0);
    must!(other >= 0 && of(file) == READ as isize, "another that reads");
    close(other);
    must!(open(name, WRITE_ONLY | NONBLOCK) == EAGAIN, "one that would write and does not wait");
    must!(wait_for(calls, waited) == IO as isize, "SIGIO of a lease");
    must!(of(file) == NONE as isize, "what a lease is to become");
    must!(set(file, NONE) == 0, "a lease that was asked for");

    // By a signal of its own; who waits continues when it is given up.
    must!(fcntl(calls, file, SET_SIGNAL, OWN) == 0 && set(file, WRITE) == 0, "one to write");
    let child = user::fork();
    if child == 0 {
        let read = open(name, 0);
        return i32::from(read < 0 || truncate(calls, name) != 0);
    }
    must!(wait_for(calls, waited) == OWN as isize, "the signal that was named");
    must!(of(file) == READ as isize, "one that becomes less");
    sleep_milliseconds(50);
    must!(set(file, READ) == 0, "one that is made less");
    must!(wait_for(calls, waited) == OWN as isize, "the signal for who cuts the file");
    must!(set(file, READ) == EAGAIN && set(file, NONE) == 0, "one that another waits to write");
    must!(status_of(child) == 0, "who waited");

    // The end of the holder is the lease's, here the only one; its time is.
    let setting = open(c"/proc/sys/fs/lease-break-time", WRITE_ONLY);
    must!(call(nr::WRITE, [setting as usize, path(c"0"), 1]) == 1, "leases without end");
    must!(set(file, READ) == 0, "the last one");
    let child = user::fork();
    if child == 0 {
        close(file);
        return i32::from(open(name, READ_WRITE) < 0);
    }
    must!(wait_for(calls, waited) == OWN as isize, "its signal");
    close(file);
    must!(status_of(child) == 0, "who waited for the end");
    must!(call(nr::WRITE, [setting as usize, path(c"1"), 1]) == 1, "the time of a lease");
    let file = open(name, 0);
    must!(set(file, READ) == 0, "one whose time is short");
    let writer = open(name, READ_WRITE);
    must!(writer >= 0 && of(file) == NONE as isize, "one whose time is over");
    must!(call(nr::WRITE, [setting as usize, path(c"45"), 2]) == 2, "the time as it was");
    close(writer);
    close(setting);

    // Another's file.
    let child = user::fork();
    if child == 0 {
        call(calls.number("setresuid"), [NOBODY, NOBODY, NOBODY]);
        let file = open(name, 0);
        return i32::from(set(file, READ) != EACCES);
    }
    must!(status_of(child) == 0, "a lease of another's file");
    must!(call(calls.number("unlinkat"), [HERE, path(name), 0]) == 0, "the file's end");
    0
}

fn flags(calls: &Calls) -> i32 {
    const IMMUTABLE: u32 = 0x10;
    const ONLY_APPEND: u32 = 0x20;
    const NO_DUMP: u32 = 0x40;
    const COMPRESSED: u32 = 4;
    const NOW: usize = 0x3fff_ffff;
    const OMIT: usize = 0x3fff_fffe;
    const GET: usize = 0x8000_6601 | size_of::<usize>() << 16;
    const SET: usize = 0x4000_6602 | size_of::<usize>() << 16;
    let set = |file: isize, flags: u32| {
        call(calls.number("ioctl"), [file as usize, SET, (&raw const flags).addr()])
    };
    let get = |file: isize| {
        let mut flags = u32::MAX;
        let got = call(calls.number("ioctl"), [file as usize, GET, (&raw mut flags).addr()]);
        // SAFETY: (1) the number, which the kernel has written to.
        if got < 0 { None } else { Some(unsafe { core::ptr::read_volatile(&raw const flags) }) }
    };
    let times = |name: &core::ffi::CStr, times: Option<[usize; 2]>| {
        let both = times.map(|[read, written]| [0, read, 0, written]);
        let at = both.as_ref().map_or(0, |both| both.as_ptr().addr());
        call(calls.number("utimensat"), [HERE, path(name), at, 0])
    };
    let chmod = |name| call(calls.number("fchmodat"), [HERE, path(name), 0o600]);
    let unlink = |name| call(calls.number("unlinkat"), [HERE, path(name), 0]);
    let link = |name, to| call(calls.number("linkat"), [HERE, path(name), HERE, path(to), 0]);
    let rename = |name, to| call(calls.number("renameat2"), [HERE, path(name), HERE, path(to), 0]);
    let keep =
        |name| call(calls.number("setxattr"), [path(name), path(c"user.k"), path(c"v"), 1, 0]);

    let (kept, adds) = (c"/tmp/kept", c"/tmp/adds");
    let (writer, other) = (open(kept, CREATE | READ_WRITE), open(adds, CREATE | READ_WRITE));
    must!(get(writer) == Some(0), "flags of a new file");
    must!(set(writer, COMPRESSED) == EOPNOTSUPP, "a flag that is not kept");
    must!(set(writer, IMMUTABLE) == 0 && get(writer) == Some(IMMUTABLE), "a file for good");
    must!(set(other, ONLY_APPEND) == 0, "a file that only grows");
    must!(call(nr::WRITE, [writer as usize, path(c"x"), 1]) == 1, "one that was open before");
    must!(open(kept, WRITE_ONLY) == EPERM && open(kept, 0) >= 0, "one for good is only read");
    must!(chmod(kept) == EPERM && keep(kept) == EPERM, "its attributes");
    must!(link(kept, c"/tmp/k2") == EPERM && rename(kept, c"/tmp/k2") == EPERM, "its names");
    must!(unlink(kept) == EPERM && truncate(calls, kept) == EPERM, "its end, and its length");
    must!(times(kept, None) == EPERM && times(kept, Some([NOW, OMIT])) == EPERM, "its times");
    must!(times(kept, Some([OMIT, OMIT])) == 0, "no times at all");

    must!(open(adds, WRITE_ONLY) == EPERM, "one that only grows is not written anywhere");
    must!(open(adds, WRITE_ONLY | APPEND | TRUNCATE) == EPERM, "nor cut when it is opened");
    let appender = open(adds, WRITE_ONLY | APPEND);
    must!(call(nr::WRITE, [appender as usize, path(c"abc"), 3]) == 3, "but it grows");
    must!(truncate(calls, adds) == EPERM && unlink(adds) == EPERM, "and stays");
    must!(keep(adds) == EPERM && chmod(adds) == EPERM, "with its attributes");
    must!(times(adds, None) == 0 && times(adds, Some([NOW, NOW])) == 0, "times of now");
    must!(times(adds, Some([NOW, OMIT])) == EPERM && times(adds, Some([1, 1])) == EPERM, "others");

    // Who may: the owner, and of what is kept, who has the right to.
    must!(set(other, 0) == 0, "flags that go again");
    let own = call(calls.number("fchownat"), [HERE, path(adds), NOBODY, NOBODY, 0]);
    must!(own == 0, "an owner");
    let child = user::fork();
    if child == 0 {
        call(calls.number("setresuid"), [NOBODY, NOBODY, NOBODY]);
        let is_own = set(other, IMMUTABLE) == EPERM && set(other, NO_DUMP) == 0;
        return i32::from(!is_own || set(writer, 0) != EPERM);
    }
    must!(status_of(child) == 0, "flags without privileges");
    must!(get(other) == Some(NO_DUMP), "the owner's");

    let folder = c"/tmp/for-good";
    must!(call(calls.number("mkdirat"), [HERE, path(folder), 0o777]) == 0, "a directory");
    let directory = open(folder, 0);
    must!(set(directory, IMMUTABLE) == 0, "one for good");
    must!(open(c"/tmp/for-good/x", CREATE | READ_WRITE) == EPERM, "a name in it");
    must!(set(directory, 0) == 0 && set(writer, 0) == 0, "what can be changed again");
    must!(unlink(kept) == 0 && unlink(adds) == 0, "and removed");
    must!(call(calls.number("unlinkat"), [HERE, path(folder), 0x200]) == 0, "the directory's end");
    let null = open(c"/dev/null", 0);
    must!(get(null).is_none() && set(null, 0) == ENOTTY, "flags of a device");
    0
}

fn systems(calls: &Calls) -> i32 {
    // Only the older machines have them.
    let sysfs = calls.number("sysfs");
    if sysfs != usize::MAX {
        let mut name = [0_u8; 32];
        let count = call(sysfs, [3]);
        must!(count > 1, "how many file systems there are");
        let place = call(sysfs, [1, path(c"proc")]);
        must!(place >= 0 && place < count, "the number of one");
        must!(call(sysfs, [2, place as usize, name.as_mut_ptr().addr()]) == 0, "its name");
        // SAFETY: (1) the array, which the kernel has written to.
        let name = unsafe { core::ptr::read_volatile(&raw const name) };
        must!(name.starts_with(b"proc\0"), "the same name");
        must!(call(sysfs, [1, path(c"none")]) == EINVAL, "the number of none");
        must!(call(sysfs, [1, usize::MAX]) == EFAULT, "a name that is nowhere");
        must!(call(sysfs, [2, 1000, 0]) == EINVAL && call(sysfs, [5]) == EINVAL, "no such thing");
    }
    let ustat = calls.number("ustat");
    if ustat != usize::MAX {
        let mut told = [0_u32; 8];
        let to = told.as_mut_ptr().addr();
        must!(call(ustat, [1, to]) == 0 && call(ustat, [0x12345, to]) == EINVAL, "a device");
        must!(call(ustat, [1, usize::MAX]) == EFAULT, "room that is none");
    }
    let getdents = calls.number("getdents");
    if calls.all().iter().any(|known| known.name() == b"getdents") {
        let word = size_of::<usize>();
        let directory = open(c"/dev", 0);
        let mut bytes = [0_u8; 2048];
        let read = call(getdents, [directory as usize, bytes.as_mut_ptr().addr(), bytes.len()]);
        must!(read > 0, "names in the older form");
        // SAFETY: (1) the array, which the kernel has written to.
        let bytes = unsafe { core::ptr::read_volatile(&raw const bytes) };
        let (mut at, mut is_found) = (0, false);
        while at < read as usize {
            let length =
                usize::from(u16::from_le_bytes([bytes[at + 2 * word], bytes[at + 2 * word + 1]]));
            let name = &bytes[at + 2 * word + 2..at + length];
            is_found |= name.starts_with(b"null\0") && bytes[at + length - 1] == 2;
            at += length;
        }
        must!(is_found, "a device among them");
        must!(call(getdents, [directory as usize, to_nowhere(), 8]) == 0, "the end");
        close(directory);
    }
    let child = user::fork();
    if child == 0 {
        must!(call(calls.number("setsid"), []) > 0, "a session");
        must!(call(calls.number("vhangup"), []) == 0, "a session without a terminal");
        call(calls.number("setresuid"), [NOBODY, NOBODY, NOBODY]);
        return i32::from(call(calls.number("vhangup"), []) != EPERM);
    }
    must!(status_of(child) == 0, "vhangup");
    let null = open(c"/dev/null", 0);
    must!(call(calls.number("flock"), [null as usize, 33]) == 0, "a lock that is none");
    must!(call(calls.number("flock"), [999, 1]) == EBADF, "a lock of nothing");
    0
}

/// Room that is never written to.
const fn to_nowhere() -> usize {
    16
}

fn main() -> i32 {
    let Some(name) = user::only_argument() else { return 2 };
    let Ok(calls) = Calls::read() else { return 3 };
    match name {
        b"leases" => leases(&calls),
        b"flags" => flags(&calls),
        b"systems" => systems(&calls),
        _ => 2,
    }
}
