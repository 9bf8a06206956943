//! Where terminals of programs have their names, for the kernel's own tests: in /dev/pts, and in
//! what was mounted to have terminals of its own. Status 0 if all is as on Linux.

#![no_std]
#![no_main]

use core::ffi::CStr;
use user::arch::nr;
use user::calls::{Calls, HERE, call, path};
use user::must;

user::entry!(main);

const ENOENT: isize = -2;
const EINVAL: isize = -22;
const ENOSPC: isize = -28;
const ENODEV: isize = -19;
const BOTH: usize = 2;
const NO_CONTROL: usize = 0o400;
const REMOVE_DIRECTORY: usize = 0x200;
const TIOCGPTN: usize = 0x8004_5430;
const TIOCSPTLCK: usize = 0x4004_5431;
const TIOCGPTPEER: usize = 0x5441;

struct Numbers(Calls);

impl Numbers {
    fn call<const N: usize>(&self, name: &str, arguments: [usize; N]) -> isize {
        call(self.0.number(name), arguments)
    }

    fn open(&self, name: &CStr) -> isize {
        self.call("openat", [HERE, path(name), BOTH | NO_CONTROL, 0])
    }

    fn mount(&self, at: &CStr, options: &CStr) -> isize {
        self.call("mount", [path(c"x"), path(at), path(c"devpts"), 0, path(options)])
    }

    fn remove(&self, name: &CStr, flags: usize) -> bool {
        self.call("unlinkat", [HERE, path(name), flags]) == 0
    }

    /// Mode and group of what a path leads to.
    fn facts(&self, name: &CStr) -> Result<(u16, u32), isize> {
        let mut told = [0_u8; 256];
        let asked = [HERE, path(name), 0, 0x7ff, told.as_mut_ptr().addr()];
        match self.call("statx", asked) {
            0 => {
                let mode = told[28..].first_chunk().map_or(0, |bytes| u16::from_le_bytes(*bytes));
                let group = told[24..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
                Ok((mode, group))
            }
            error => Err(error),
        }
    }

    /// The number of a master's slave, which is open to all from now on.
    fn unlocked(&self, master: isize) -> Option<u32> {
        let (mut number, locked) = (u32::MAX, 0_u32);
        let asked = [master as usize, TIOCGPTN, (&raw mut number).addr()];
        let told = self.call("ioctl", asked);
        let unlock = [master as usize, TIOCSPTLCK, (&raw const locked).addr()];
        (told == 0 && self.call("ioctl", unlock) == 0).then_some(number)
    }

    /// Whether the link of an open file in /proc reads as a text.
    fn is_told(&self, file: isize, text: &[u8]) -> bool {
        let mut name = *b"/proc/self/fd/0\0";
        name[14] = b'0' + file as u8;
        let mut told = [0_u8; 64];
        let asked = [HERE, name.as_ptr().addr(), told.as_mut_ptr().addr(), told.len()];
        told.get(..self.call("readlinkat", asked) as usize) == Some(text)
    }
}

fn main() -> i32 {
    let Ok(calls) = Calls::read() else { return 3 };
    let numbers = Numbers(calls);
    let numbers = &numbers;
    let close = |file: isize| call(nr::CLOSE, [file as usize]) == 0;
    let make = |name: &CStr| numbers.call("mkdirat", [HERE, path(name), 0o755]) == 0;
    must!(make(c"/tmp/pts"), "mkdir");
    must!(numbers.mount(c"/tmp/pts", c"what=1") == EINVAL, "an option that there is not");
    must!(numbers.mount(c"/tmp/pts", c"ptmxmode=0666,mode=0640,gid=5,max=2") == 0, "mount");
    must!(numbers.facts(c"/tmp/pts/ptmx") == Ok((0o20666, 0)), "its ptmx");
    must!(numbers.facts(c"/dev/pts/ptmx") == Ok((0o20000, 0)), "that of /dev/pts");
    // Numbers are its own, and so are the names.
    let usual = numbers.open(c"/dev/ptmx");
    must!(usual >= 0 && numbers.unlocked(usual) == Some(0), "one of /dev/pts");
    let first = numbers.open(c"/tmp/pts/ptmx");
    must!(first >= 0 && numbers.unlocked(first) == Some(0), "the first one");
    must!(numbers.facts(c"/tmp/pts/0") == Ok((0o20640, 5)), "its mode and group");
    must!(numbers.facts(c"/dev/pts/0").is_ok_and(|(_, group)| group == 0), "not the other one's");
    let second = numbers.open(c"/tmp/pts/ptmx");
    must!(second >= 0 && numbers.unlocked(second) == Some(1), "the second one");
    must!(numbers.open(c"/tmp/pts/ptmx") == ENOSPC, "as many as there may be");
    must!(close(first) && numbers.facts(c"/tmp/pts/0") == Err(ENOENT), "the end of one");
    let again = numbers.open(c"/tmp/pts/ptmx");
    must!(again >= 0 && numbers.unlocked(again) == Some(0), "its number again");
    // A slave by its master alone; it is told by its path.
    let slave = numbers.call("ioctl", [again as usize, TIOCGPTPEER, BOTH | NO_CONTROL]);
    must!(slave >= 0 && numbers.is_told(slave, b"/tmp/pts/0"), "its slave");
    let by_name = numbers.open(c"/tmp/pts/0");
    must!(by_name >= 0 && numbers.is_told(by_name, b"/tmp/pts/0"), "by its name");
    must!(numbers.call("write", [slave as usize, path(c"abc"), 3]) == 3, "write");
    let mut read = [0_u8; 8];
    let asked = [again as usize, read.as_mut_ptr().addr(), read.len()];
    must!(numbers.call("read", asked) == 3 && read.starts_with(b"abc"), "the same terminal");
    let none = numbers.call("ioctl", [slave as usize, TIOCGPTPEER, BOTH]);
    must!(none < 0, "a slave has none");
    // A ptmx elsewhere: with `pts` beside it that has terminals, or none.
    must!(make(c"/tmp/dev"), "mkdir");
    let device = [HERE, path(c"/tmp/dev/ptmx"), 0o20666, 5 << 8 | 2];
    must!(numbers.call("mknodat", device) == 0, "mknod");
    must!(numbers.open(c"/tmp/dev/ptmx") == ENODEV, "without pts");
    must!(make(c"/tmp/dev/pts") && numbers.open(c"/tmp/dev/ptmx") == ENODEV, "with another one");
    must!(numbers.mount(c"/tmp/dev/pts", c"newinstance") == 0, "mount");
    let beside = numbers.open(c"/tmp/dev/ptmx");
    must!(beside >= 0 && numbers.unlocked(beside) == Some(0), "beside it");
    must!(numbers.facts(c"/tmp/dev/pts/0").is_ok_and(|(mode, _)| mode == 0o20600), "its mode");
    let all = [usual, second, again, slave, by_name, beside];
    must!(all.iter().all(|&file| close(file)), "close");
    let unmount = |at: &CStr| numbers.call("umount2", [path(at), 0]) == 0;
    must!(unmount(c"/tmp/pts") && unmount(c"/tmp/dev/pts"), "umount");
    must!(numbers.remove(c"/tmp/dev/ptmx", 0), "the device");
    let folders = [c"/tmp/dev/pts", c"/tmp/dev", c"/tmp/pts"];
    must!(folders.iter().all(|name| numbers.remove(name, REMOVE_DIRECTORY)), "what was made");
    0
}
