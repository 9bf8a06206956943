//! User and time namespaces, as on Linux (user_namespaces(7), time_namespaces(7)):
//! `user-namespaces NAME`. Status 0 if `maps`: users and groups stand for those that the maps say,
//! and the maps are written by who may; `rights`: capabilities hold in what belongs to the
//! namespace, and nowhere else; `clocks`: clocks are ahead as they were said to be.

#![no_std]
#![no_main]

use core::ffi::CStr;
use user::arch::nr;
use user::calls::{Calls, HERE, call, number, path, read_file, sleep_milliseconds, status_of};
use user::must;

user::entry!(main);

const NEW_TIME: usize = 0x80;
const FS: usize = 0x200;
const NEW_MOUNTS: usize = 0x2_0000;
const NEW_HOST: usize = 0x400_0000;
const NEW_USER: usize = 0x1000_0000;
const NEW_PID: usize = 0x2000_0000;
const CHILD_SIGNAL: usize = 17;
const WRITE_ONLY: usize = 1;
const CREATE: usize = 0o100;

const EPERM: isize = -1;
const EAGAIN: isize = -11;
const EACCES: isize = -13;
const EINVAL: isize = -22;
const ERANGE: isize = -34;

struct Test {
    calls: Calls,
}

impl Test {
    fn make<const N: usize>(&self, name: &str, arguments: [usize; N]) -> isize {
        // On machines of 32 bits, the one for numbers of 32 bits.
        const WIDE: [(&str, &str); 8] = [
            ("getuid", "getuid32"),
            ("geteuid", "geteuid32"),
            ("getgid", "getgid32"),
            ("setresuid", "setresuid32"),
            ("setresgid", "setresgid32"),
            ("setgroups", "setgroups32"),
            ("setuid", "setuid32"),
            ("fchownat", "fchownat"),
        ];
        let wide = WIDE.iter().find(|(narrow, _)| *narrow == name);
        let wide = wide.map_or(usize::MAX, |(_, wide)| self.calls.number(wide));
        let number = if wide == usize::MAX { self.calls.number(name) } else { wide };
        call(number, arguments)
    }

    fn write(&self, file: &CStr, text: &[u8]) -> isize {
        let opened = self.make("openat", [HERE, path(file), WRITE_ONLY, 0]);
        if opened < 0 {
            return opened;
        }
        let written = self.make("write", [opened as usize, text.as_ptr().addr(), text.len()]);
        call(nr::CLOSE, [opened as usize]);
        written
    }

    fn leave(&self, kinds: usize) -> isize {
        self.make("unshare", [kinds])
    }

    /// Becomes another user, and its group.
    fn become_user(&self, id: usize) -> bool {
        self.make("setgroups", [0, 0]) == 0
            && self.make("setresgid", [id, id, id]) == 0
            && self.make("setresuid", [id, id, id]) == 0
            && self.own_files_of_proc()
    }

    /// Has the process's own user own its files in /proc: a change of users leaves them root's
    /// until execve or this (proc(5)), and then the user writes no map of its own.
    fn own_files_of_proc(&self) -> bool {
        const SET_DUMPABLE: usize = 4;
        self.make("prctl", [SET_DUMPABLE, 1, 0, 0, 0]) == 0
    }

    fn pipe(&self) -> [u32; 2] {
        let mut ends = [0; 2];
        self.make("pipe2", [ends.as_mut_ptr().addr(), 0]);
        ends
    }

    fn tell(&self, end: u32) -> bool {
        self.make("write", [end as usize, c"x".as_ptr().addr(), 1]) == 1
    }

    fn hear(&self, end: u32) -> bool {
        let mut byte = [0_u8; 1];
        self.make("read", [end as usize, byte.as_mut_ptr().addr(), 1]) == 1
    }
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

/// The numbers in a file behind a key, whatever is between them.
fn figures<const N: usize>(file: &CStr, key: &[u8]) -> [usize; N] {
    let mut text = [0; 2048];
    let length = read_file(file, &mut text).unwrap_or(0);
    let mut all = [usize::MAX; N];
    let mut lines = text[..length].split(|&byte| byte == b'\n');
    let Some(line) = lines.find(|line| line.starts_with(key)) else { return all };
    let words = line[key.len()..].split(|byte| !byte.is_ascii_digit());
    let words = words.filter(|word| !word.is_empty());
    all.iter_mut().zip(words).for_each(|(to, word)| *to = number(word));
    all
}

const USERS: &CStr = c"/proc/self/uid_map";
const GROUPS: &CStr = c"/proc/self/gid_map";
const SET_GROUPS: &CStr = c"/proc/self/setgroups";

/// The owner of a file, as `stat` tells it.
fn owner(test: &Test, file: &CStr) -> [u32; 2] {
    let mut stat = [0_u32; 64];
    test.make("statx", [HERE, path(file), 0, 0x7ff, stat.as_mut_ptr().addr()]);
    [stat[5], stat[6]]
}

fn maps(test: &Test) -> i32 {
    must!(figures::<3>(USERS, b"") == [0, 0, 4_294_967_295], "the map of the first namespace");
    must!(test.write(USERS, b"0 0 1") == EPERM, "a map of the first namespace can be written");
    const FILE: &CStr = c"/tmp/user-namespaces";
    must!(test.make("openat", [HERE, path(FILE), CREATE | WRITE_ONLY, 0o666]) >= 0, "a file");
    must!(test.make("fchownat", [HERE, path(FILE), 1000, 1001, 0]) == 0, "its owner");
    // A user without rights: itself, as root inside.
    let child = user::fork();
    if child == 0 {
        must!(test.become_user(1000), "another user");
        must!(test.make("clone", [NEW_USER | FS | CHILD_SIGNAL, 0, 0, 0, 0]) == EINVAL, "shared");
        must!(test.leave(NEW_USER) == 0, "a namespace of a user");
        must!(test.make("getuid", []) == 65534 && test.make("getgid", []) == 65534, "no map yet");
        must!(test.make("setgroups", [0, 0]) == EPERM, "groups before there are any");
        must!(test.make("setresuid", [1000, 1000, 1000]) == EINVAL, "a user that is not there");
        for wrong in [&b""[..], b"0", b"0 1000", b"0 1000 0", b"0 1000 1 1", b"a 1000 1", b"\n"] {
            must!(test.write(USERS, wrong) == EINVAL || wrong.is_empty(), "no map");
        }
        must!(test.write(USERS, b"0 1000 1\n0 1001 1\n") == EINVAL, "lines that overlap");
        must!(test.write(USERS, b"0 1000 2") == EPERM, "another user");
        must!(test.write(USERS, b"0 999 1") == EPERM, "a user other than its maker");
        must!(test.write(USERS, b"5 1000 1\n") == 9, "itself");
        must!(test.write(USERS, b"5 1000 1\n") == EPERM, "a second map");
        must!(test.make("getuid", []) == 5 && test.make("getgid", []) == 65534, "itself inside");
        must!(test.write(GROUPS, b"6 1000 1") == EPERM, "groups that could be set");
        must!(test.write(SET_GROUPS, b"deny") == 4, "no groups");
        must!(test.write(GROUPS, b"6 1000 1") == 8, "its group");
        must!(test.write(SET_GROUPS, b"allow") == EPERM, "groups once more");
        must!(test.make("setgroups", [0, 0]) == EPERM, "groups that were denied");
        must!(test.make("getgid", []) == 6, "its group inside");
        must!(owner(test, FILE) == [5, 65534], "a file's owner as it is seen inside");
        must!(test.make("fchownat", [HERE, path(FILE), 1000, usize::MAX, 0]) == EINVAL, "none");
        must!(figures::<4>(c"/proc/self/status", b"Uid:") == [5; 4], "itself in /proc");
        must!(figures::<3>(USERS, b"") == [5, 1000, 1], "the map as it is seen inside");
        must!(test.make("kill", [user::getppid() as usize, 0]) == EPERM, "a process outside");
        return 0;
    }
    must!(child > 0 && status_of(child) == 0, "a user's namespace");
    must!(owner(test, FILE) == [1000, 1001], "a file's owner");

    // One who may: many lines, for another process; users of users.
    let (ready, go) = (test.pipe(), test.pipe());
    let child = test.make("clone", [NEW_USER | CHILD_SIGNAL, 0, 0, 0, 0]);
    if child == 0 {
        call(nr::CLOSE, [go[1] as usize]);
        must!(test.tell(ready[1]) && test.hear(go[0]), "words");
        must!(test.make("getuid", []) == 0 && test.make("setgroups", [0, 0]) == 0, "root inside");
        must!(test.make("setresuid", [7, 7, 7]) == 0, "a user that is there");
        must!(test.make("setresuid", [2000, 7, 7]) == EINVAL, "one that is not");
        must!(test.leave(NEW_USER) == 0, "one below");
        must!(test.write(USERS, b"0 7 1") == EACCES, "a map in a file that is root's");
        must!(test.own_files_of_proc() && test.write(USERS, b"0 7 1") == 5, "its map");
        must!(test.make("getuid", []) == 0, "root two levels down");
        must!(test.tell(ready[1]) && test.hear(go[0]), "words");
        return 0;
    }
    // Its ends of the pipes are its alone: when it has ended early, there is nothing to wait for.
    for end in [ready[1], go[0]] {
        call(nr::CLOSE, [end as usize]);
    }
    must!(child > 0 && test.hear(ready[0]), "a child in a namespace");
    let (mut room, mut other) = ([0; 64], [0; 64]);
    let map = b"0 0 5\n5 100 1000\n";
    must!(test.write(of_process(child, b"uid_map", &mut room), map) == 17, "its users");
    must!(test.write(of_process(child, b"gid_map", &mut other), map) == 17, "its groups");
    must!(test.tell(go[1]) && test.hear(ready[0]), "words");
    let status = of_process(child, b"status", &mut room);
    must!(figures::<4>(status, b"Uid:") == [102; 4], "a user of users, seen from outside");
    must!(test.tell(go[1]) && status_of(child) == 0, "its end");
    let removed = test.make("unlinkat", [HERE, path(FILE), 0]);
    if removed == 0 { 0 } else { 1 }
}

fn rights(test: &Test) -> i32 {
    const BOOT: usize = 0x0123_4567;
    let clock = [0_usize; 4];
    let child = user::fork();
    if child == 0 {
        must!(test.become_user(1000), "another user");
        must!(test.leave(NEW_HOST) == EPERM && test.leave(NEW_PID) == EPERM, "without rights");
        must!(test.leave(NEW_USER | NEW_HOST | NEW_MOUNTS | NEW_PID) == 0, "all at once");
        must!(test.write(USERS, b"0 1000 1") == 8, "itself as root");
        must!(figures::<1>(c"/proc/self/status", b"CapEff:\t000001") != [0], "capabilities");
        let name = path(c"inside");
        must!(test.make("sethostname", [name, 6]) == 0, "a name of its own");
        let tmpfs = path(c"tmpfs");
        must!(test.make("mount", [tmpfs, path(c"/tmp"), tmpfs, 0, 0]) == 0, "a mount of its own");
        must!(owner(test, c"/tmp") == [0, 65534], "whose it is");
        must!(test.make("chroot", [path(c"/tmp")]) == 0, "a root of its own");
        // What is not the namespace's.
        must!(test.make("clock_settime", [0, clock.as_ptr().addr()]) == EPERM, "the clock");
        must!(test.make("reboot", [0xfee1_dead, 0x2812_1969, BOOT, 0]) == EPERM, "the machine");
        must!(test.leave(NEW_USER) == EPERM, "a namespace of one in another root");
        let first = user::fork();
        if first == 0 {
            return if test.make("getpid", []) == 1 { 0 } else { 1 };
        }
        must!(first > 0 && status_of(first) == 0, "a process of its own namespace");
        // Another program has what root inside has.
        return 0;
    }
    must!(child > 0 && status_of(child) == 0, "rights inside");

    // /proc of a PID namespace that is not its own; a name that is all's.
    let child = user::fork();
    if child == 0 {
        must!(test.become_user(1000) && test.leave(NEW_USER | NEW_MOUNTS) == 0, "a namespace");
        let proc = path(c"proc");
        must!(test.make("mount", [proc, path(c"/proc"), proc, 0, 0]) == EPERM, "/proc of all");
        must!(test.make("sethostname", [path(c"inside"), 6]) == EPERM, "the name of all");
        return 0;
    }
    must!(child > 0 && status_of(child) == 0, "rights outside");

    // A limit of processes holds in and below the namespace that it was made in.
    const PROCESSES: usize = 6;
    let child = user::fork();
    if child == 0 {
        let limit = [2_usize, 2];
        must!(test.become_user(4242), "a user of no other process");
        must!(test.make("setrlimit", [PROCESSES, limit.as_ptr().addr()]) == 0, "two processes");
        must!(test.leave(NEW_USER) == 0 && test.write(USERS, b"0 4242 1") == 8, "a namespace");
        let (ready, go) = (test.pipe(), test.pipe());
        let one = user::fork();
        if one == 0 {
            call(nr::CLOSE, [go[1] as usize]);
            must!(test.tell(ready[1]) && test.hear(go[0]), "words");
            return 0;
        }
        for end in [ready[1], go[0]] {
            call(nr::CLOSE, [end as usize]);
        }
        must!(one > 0 && test.hear(ready[0]), "a second process");
        must!(user::fork() == EAGAIN, "a third one");
        must!(test.tell(go[1]) && status_of(one) == 0, "the end of the second");
        return 0;
    }
    must!(child > 0 && status_of(child) == 0, "a limit of processes");
    0
}

/// What a clock says, in milliseconds.
fn clock_now(test: &Test, clock: usize) -> usize {
    let mut time = [0_usize; 2];
    test.make("clock_gettime", [clock, time.as_mut_ptr().addr()]);
    time[0] * 1000 + time[1] / 1_000_000
}

fn clocks(test: &Test) -> i32 {
    const MONOTONIC: usize = 1;
    const SINCE_BOOT: usize = 7;
    const OFFSETS: &CStr = c"/proc/self/timens_offsets";
    const AHEAD: usize = 100_000;
    must!(test.write(OFFSETS, b"monotonic 1 0\n") == EACCES, "the first namespace's clocks");
    let before = [MONOTONIC, SINCE_BOOT].map(|clock| clock_now(test, clock));
    let parent = user::fork();
    if parent == 0 {
        must!(test.leave(NEW_TIME) == 0, "unshare");
        must!(test.write(OFFSETS, b"real 1 0\n") == EINVAL, "a clock that has none");
        must!(test.write(OFFSETS, b"monotonic 1 1000000000\n") == EINVAL, "too many nanoseconds");
        must!(test.write(OFFSETS, b"monotonic -1000000 0\n") == ERANGE, "before its beginning");
        let offsets = b"monotonic 100 0\nboottime 200 500000000\n";
        must!(test.write(OFFSETS, offsets) == offsets.len() as isize, "offsets");
        must!(figures::<2>(OFFSETS, b"monotonic") == [100, 0], "they are told");
        must!(clock_now(test, MONOTONIC) < before[0] + AHEAD, "unshare moves its own clock");
        let child = user::fork();
        if child == 0 {
            let now = [MONOTONIC, SINCE_BOOT].map(|clock| clock_now(test, clock));
            must!(now[0] >= before[0] + AHEAD, "the clock is not ahead");
            must!(now[1] >= before[1] + 2 * AHEAD + 500, "the other clock is not ahead");
            must!(now[0] < before[0] + 2 * AHEAD, "the clock is too far ahead");
            must!(test.write(OFFSETS, b"monotonic 1 0\n") == EACCES, "offsets that are in use");
            // In whole seconds.
            let uptime = (figures::<1>(c"/proc/uptime", b"")[0] + 1) * 1000;
            must!(uptime >= before[1] + 2 * AHEAD, "uptime");
            // A time by this clock: soon, and not in 100 seconds; what is past is at once.
            let when = [now[0] / 1000, now[0] % 1000 * 1_000_000 + 20_000_000];
            let when = [when[0] + when[1] / 1_000_000_000, when[1] % 1_000_000_000];
            let slept = test.make("clock_nanosleep", [MONOTONIC, 1, when.as_ptr().addr(), 0]);
            must!(slept == 0, "sleep");
            let after = clock_now(test, MONOTONIC);
            must!(after >= now[0] + 20 && after < now[0] + AHEAD / 2, "a sleep until a time");
            let timer = test.make("timerfd_create", [MONOTONIC, 0]);
            let setting = [0, 0, (after + 20) / 1000, (after + 20) % 1000 * 1_000_000];
            let set = [timer as usize, 1, setting.as_ptr().addr(), 0];
            must!(timer >= 0 && test.make("timerfd_settime", set) == 0, "a timer");
            let mut count = 0_u64;
            let read = test.make("read", [timer as usize, (&raw mut count).addr(), 8]);
            must!(read == 8 && count == 1, "a timer by this clock");
            must!(clock_now(test, MONOTONIC) < now[0] + AHEAD / 2, "a timer is late");
            return 0;
        }
        must!(child > 0 && status_of(child) == 0, "a child ahead");
        // And one that enters it by its file.
        let times = test.make("openat", [HERE, path(c"/proc/self/ns/time_for_children"), 0, 0]);
        must!(times >= 0 && test.make("setns", [times as usize, NEW_TIME]) == 0, "setns");
        must!(clock_now(test, MONOTONIC) >= before[0] + AHEAD, "the clock after setns");
        sleep_milliseconds(5);
        return 0;
    }
    must!(parent > 0 && status_of(parent) == 0, "one with clocks of its own");
    must!(clock_now(test, MONOTONIC) < before[0] + AHEAD, "another one's clock moved this one's");
    0
}

fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 3 };
    let test = Test { calls };
    match user::only_argument() {
        Some(b"maps") => maps(&test),
        Some(b"rights") => rights(&test),
        Some(b"clocks") => clocks(&test),
        _ => 2,
    }
}
