//! Programs that run as their file says and not as who starts them (set-user-ID), for the kernel's
//! own tests. `all`: copies of this program are started by another user, and each says as whom it
//! runs by its status; `told`, `plain` and `root` are what the copies are called with. Status 0 if
//! all is as on Linux.

#![no_std]
#![no_main]

use core::ffi::CStr;
use user::arch::nr;
use user::calls::{Calls, HERE, call, path, status_of};
use user::must;

user::entry!(main);

const CALLER: usize = 1000;
const OWNER: usize = 1234;
const GROUP: usize = 1235;
const CREATE: usize = 0o100;
const APPEND: usize = 0o2000;
const WRITE: usize = 1;
const SELF: &CStr = c"/kstack/bin/set-ids";

struct Numbers(Calls);

impl Numbers {
    fn call<const N: usize>(&self, name: &str, arguments: [usize; N]) -> isize {
        call(self.0.number(name), arguments)
    }

    /// The number of a call about users: the one with 32 bits, where there are two.
    fn users<const N: usize>(&self, name: &str, wide: &str, arguments: [usize; N]) -> isize {
        let number = if cfg!(target_pointer_width = "32") { wide } else { name };
        self.call(number, arguments)
    }

    /// Copies this program, and gives the copy an owner and a mode.
    fn copy(&self, to: &CStr, owner: [usize; 2], mode: usize) -> bool {
        let from = self.call("openat", [HERE, path(SELF), 0, 0]);
        let into = self.call("openat", [HERE, path(to), WRITE | CREATE, 0o755]);
        let mut piece = [0_u8; 4096];
        loop {
            let read = self.call("read", [from as usize, piece.as_mut_ptr().addr(), piece.len()]);
            if read <= 0 {
                break;
            }
            let wrote = self.call("write", [into as usize, piece.as_ptr().addr(), read as usize]);
            if wrote != read {
                return false;
            }
        }
        let are_closed = [from, into].iter().all(|&file| call(nr::CLOSE, [file as usize]) == 0);
        let owned = self.call("fchownat", [HERE, path(to), owner[0], owner[1], 0]);
        let changed = self.call("fchmodat", [HERE, path(to), mode]);
        are_closed && owned == 0 && changed == 0
    }

    /// The mode of a file.
    fn mode(&self, name: &CStr) -> u16 {
        let mut told = [0_u8; 256];
        let asked = [HERE, path(name), 0, 0x7ff, told.as_mut_ptr().addr()];
        let result = self.call("statx", asked);
        let mode = told[28..].first_chunk().map_or(0, |bytes| u16::from_le_bytes(*bytes));
        if result == 0 { mode & 0o7777 } else { 0 }
    }

    /// What a child of another user does: its status.
    fn as_other(&self, body: impl FnOnce() -> i32) -> i32 {
        let child = user::fork();
        if child == 0 {
            let three = [CALLER; 3];
            let changed = [
                self.users("setgroups", "setgroups32", [0, 0]),
                self.users("setresgid", "setresgid32", three),
                self.users("setresuid", "setresuid32", three),
            ];
            user::exit(if changed == [0; 3] { body() } else { 90 });
        }
        status_of(child) >> 8
    }

    /// Becomes a copy; a status if that fails.
    fn run(&self, program: &CStr, argument: &CStr) -> i32 {
        let argv = [path(program), path(argument), 0];
        let envp = [0_usize];
        call(nr::EXECVE, [path(program), argv.as_ptr().addr(), envp.as_ptr().addr()]);
        91
    }

    /// Whether the process runs as these, and is told so by its auxiliary vector.
    fn runs_as(&self, users: [usize; 2], groups: [usize; 2], is_secure: usize) -> i32 {
        let (mut user, mut group) = ([0_u32; 3], [0_u32; 3]);
        let asked = [0, 1, 2].map(|index| (&raw mut user[index]).addr());
        must!(self.users("getresuid", "getresuid32", asked) == 0, "getresuid");
        let asked = [0, 1, 2].map(|index| (&raw mut group[index]).addr());
        must!(self.users("getresgid", "getresgid32", asked) == 0, "getresgid");
        let is = |ids: [u32; 3], wanted: [usize; 2]| {
            ids.map(|id| id as usize) == [wanted[0], wanted[1], wanted[1]]
        };
        must!(is(user, users) && is(group, groups), "as whom it runs");
        let keys = [(11, users[0]), (12, users[1]), (13, groups[0]), (14, groups[1])];
        must!(keys.iter().all(|&(key, value)| auxiliary(key) == Some(value)), "what it is told");
        must!(auxiliary(23) == Some(is_secure), "AT_SECURE");
        const GET_DUMPABLE: usize = 3;
        let is_dumpable = self.call("prctl", [GET_DUMPABLE, 0, 0, 0, 0]);
        must!(is_dumpable == isize::from(is_secure == 0), "whether it may be looked into");
        0
    }
}

/// The value of a key of the auxiliary vector.
fn auxiliary(key: usize) -> Option<usize> {
    let stack = user::first_stack();
    // SAFETY: (1) the kernel laid argc, two lists that end with zero and the vector out there, and
    // they stay.
    unsafe {
        let mut at = stack.add(*stack + 2);
        while *at != 0 {
            at = at.add(1);
        }
        at = at.add(1);
        while *at != 0 {
            if *at == key {
                return Some(*at.add(1));
            }
            at = at.add(2);
        }
    }
    None
}

fn all(numbers: &Numbers) -> i32 {
    must!(auxiliary(12) == Some(0) && auxiliary(23) == Some(0), "as root");
    let (set, plain, root) = (c"/tmp/set", c"/tmp/plain", c"/tmp/root");
    must!(numbers.copy(set, [OWNER, GROUP], 0o6755), "a copy");
    must!(numbers.copy(plain, [OWNER, GROUP], 0o755), "one without the bits");
    must!(numbers.copy(root, [0, 0], 0o4755), "one of root");
    must!(numbers.as_other(|| numbers.run(set, c"told")) == 0, "as its owner");
    must!(numbers.as_other(|| numbers.run(plain, c"plain")) == 0, "as its caller");
    must!(numbers.as_other(|| numbers.run(root, c"root")) == 0, "as root");
    // Without the group's right to run it, its bit is another one.
    must!(numbers.call("fchmodat", [HERE, path(set), 0o2745]) == 0, "chmod");
    must!(numbers.as_other(|| numbers.run(set, c"plain")) == 0, "a bit for locks");
    must!(numbers.call("fchmodat", [HERE, path(set), 0o6755]) == 0, "chmod");
    let without = || {
        const NO_NEW_PRIVILEGES: usize = 38;
        must!(numbers.call("prctl", [NO_NEW_PRIVILEGES, 1, 0, 0, 0]) == 0, "no new privileges");
        numbers.run(set, c"plain")
    };
    must!(numbers.as_other(without) == 0, "without new privileges");
    // Nor from a mount that says so.
    const NO_SET_IDS: usize = 2;
    must!(numbers.call("mkdirat", [HERE, path(c"/tmp/m"), 0o755]) == 0, "mkdir");
    let mounted = [path(c"x"), path(c"/tmp/m"), path(c"tmpfs"), NO_SET_IDS, 0];
    must!(numbers.call("mount", mounted) == 0, "mount");
    must!(numbers.copy(c"/tmp/m/set", [OWNER, GROUP], 0o6755), "a copy there");
    must!(numbers.as_other(|| numbers.run(c"/tmp/m/set", c"plain")) == 0, "of such a mount");
    must!(numbers.call("umount2", [path(c"/tmp/m"), 0]) == 0, "umount");
    // Nor with a directory that another process shares.
    let shared = || {
        const FILES_AND_PLACE: usize = 0x200;
        let child = numbers.call("clone", [FILES_AND_PLACE | 17, 0, 0, 0, 0]);
        if child == 0 {
            user::exit(numbers.run(set, c"plain"));
        }
        status_of(child) >> 8
    };
    must!(numbers.as_other(shared) == 0, "with a shared directory");
    // What another one writes to it is not its owner's program.
    must!(numbers.call("fchmodat", [HERE, path(set), 0o6777]) == 0, "chmod");
    let append = || {
        let file = numbers.call("openat", [HERE, path(set), WRITE | APPEND, 0]);
        let wrote = numbers.call("write", [file as usize, path(c"x"), 1]);
        i32::from(wrote != 1)
    };
    must!(append() == 0 && numbers.mode(set) == 0o6777, "written by root");
    must!(numbers.as_other(append) == 0 && numbers.mode(set) == 0o777, "written by another");
    let remove = |name: &CStr, flags| numbers.call("unlinkat", [HERE, path(name), flags]) == 0;
    let are_gone = [set, plain, root].iter().all(|name| remove(name, 0));
    must!(are_gone && remove(c"/tmp/m", 0x200), "what was made");
    0
}

fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 3 };
    let numbers = Numbers(calls);
    match user::only_argument() {
        Some(b"all") => all(&numbers),
        Some(b"told") => numbers.runs_as([CALLER, OWNER], [CALLER, GROUP], 1),
        Some(b"plain") => numbers.runs_as([CALLER; 2], [CALLER; 2], 0),
        Some(b"root") => numbers.runs_as([CALLER, 0], [CALLER; 2], 1),
        _ => 4,
    }
}
