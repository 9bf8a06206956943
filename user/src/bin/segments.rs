//! Segments of shared memory by number and key (shmget and its kin). Status 0 if all is as on
//! Linux.

#![no_std]
#![no_main]

use user::arch::nr;
use user::calls::{Calls, call, read_file};
use user::memory::{PAGE, SIGSEGV, child, is_error, read, write};
use user::must;

user::entry!(main);

const ENOENT: isize = -2;
const EACCES: isize = -13;
const EEXIST: isize = -17;
const EINVAL: isize = -22;
const EPERM: isize = -1;

const PRIVATE: usize = 0;
const KEY: usize = 0x1234_5678;
const CREATE: usize = 0o1000;
const EXCLUSIVE: usize = 0o2000;
const REMOVE: usize = 0;
const STAT: usize = 0x102;
const READ_ONLY: usize = 0o10000;
const ROUND: usize = 0o20000;

struct Numbers(Calls);

impl Numbers {
    fn call<const N: usize>(&self, name: &str, arguments: [usize; N]) -> isize {
        call(self.0.number(name), arguments)
    }

    fn get(&self, key: usize, bytes: usize, flags: usize) -> isize {
        self.call("shmget", [key, bytes, flags])
    }

    fn attach(&self, segment: isize, at: usize, flags: usize) -> isize {
        self.call("shmat", [segment as usize, at, flags])
    }

    fn detach(&self, at: isize) -> isize {
        self.call("shmdt", [at as usize])
    }

    fn remove(&self, segment: isize) -> isize {
        self.call("shmctl", [segment as usize, REMOVE, 0])
    }

    /// How large a segment is, and how often it is attached.
    fn stat(&self, segment: isize) -> Result<(usize, usize), isize> {
        const WORD: usize = size_of::<usize>();
        /// Bytes of what comes before the size, and before the count.
        const SIZE: usize = if WORD == 8 { 48 } else { 36 };
        const COUNT: usize = SIZE + WORD + 3 * 8 + 2 * 4;
        let mut words = [0_usize; 32];
        let done = self.call("shmctl", [segment as usize, STAT, words.as_mut_ptr().addr()]);
        if done < 0 { Err(done) } else { Ok((words[SIZE / WORD], words[COUNT / WORD])) }
    }
}

/// Whether the program's own map has these bytes in it.
fn is_in_maps(bytes: &[u8]) -> bool {
    let mut text = [0; 8192];
    let length = read_file(c"/proc/self/maps", &mut text).unwrap_or(0);
    text[..length].windows(bytes.len()).any(|there| there == bytes)
}

fn keys(n: &Numbers) -> i32 {
    must!(n.get(KEY, 100, 0o600) == ENOENT, "no segment has this key");
    must!(n.get(KEY, 0, CREATE | 0o600) == EINVAL, "a segment of nothing");
    let one = n.get(KEY, 100, CREATE | EXCLUSIVE | 0o600);
    must!(one >= 0, "a segment");
    must!(n.get(KEY, 100, CREATE | EXCLUSIVE | 0o600) == EEXIST, "there is one");
    must!(n.get(KEY, 50, 0) == one, "the same one, of less");
    must!(n.get(KEY, 101, 0) == EINVAL, "of more than it has");
    must!(n.stat(one) == Ok((100, 0)), "its size");
    let other = n.get(PRIVATE, PAGE, 0o600);
    must!(other >= 0 && other != one, "without a key");
    let third = n.get(PRIVATE, PAGE, 0o600);
    must!(third != other && n.remove(third) == 0, "each time another one");
    let stranger = child(|| {
        n.call("setresgid", [1000, 1000, 1000]);
        n.call("setresuid", [1000, 1000, 1000]);
        i32::from(n.get(KEY, 1, 0o600) != EACCES)
            + 2 * i32::from(n.attach(one, 0, 0) != EACCES)
            + 4 * i32::from(n.remove(one) != EPERM)
            + 8 * i32::from(n.stat(one) != Err(EACCES))
    });
    must!(stranger == 0, "another user may not");
    must!(n.remove(one) == 0 && n.remove(other) == 0, "they are removed");
    must!(n.get(KEY, 1, 0) == ENOENT && n.stat(one) == Err(EINVAL), "and gone");
    must!(n.attach(one, 0, 0) == EINVAL, "nothing is attached of it");
    0
}

fn attachments(n: &Numbers) -> i32 {
    let one = n.get(KEY, 2 * PAGE, CREATE | 0o600);
    let at = n.attach(one, 0, 0);
    must!(!is_error(at) && read(at as usize) == 0, "memory of zeros");
    must!(is_in_maps(b"/SYSV12345678 (deleted)"), "its name among the areas");
    let again = n.attach(one, 0, READ_ONLY);
    write(at as usize, 7);
    must!(again != at && read(again as usize) == 7, "the same memory once more");
    let dies = child(|| {
        write(again as usize, 1);
        0
    });
    must!(dies & 0x7f == SIGSEGV, "which may only be read there");
    must!(n.stat(one) == Ok((2 * PAGE, 2)), "it is attached twice");
    let inherits = child(|| {
        let count = n.stat(one) == Ok((2 * PAGE, 4));
        write(at as usize, 8);
        i32::from(!count) + 2 * i32::from(n.detach(again) != 0)
    });
    must!(inherits == 0 && read(at as usize) == 8, "a child has what its parent has");
    must!(n.stat(one) == Ok((2 * PAGE, 2)), "until it ends");
    must!(n.attach(one, at as usize + PAGE, 0) == EINVAL, "where something is");
    must!(n.attach(one, 0x3000_0001, 0) == EINVAL, "in the middle of a page");
    let there = n.attach(one, 0x3000_0001, ROUND);
    must!(there == 0x3000_0000 && read(there as usize) == 8, "where it was asked for");
    call(nr::MUNMAP, [there as usize, PAGE]);
    must!(n.detach(there) == 0, "what is left of an attachment");
    must!(n.detach(there) == EINVAL, "nothing is left");
    must!(n.remove(one) == 0 && n.stat(one) == Ok((2 * PAGE, 2)), "removed, and still attached");
    must!(n.get(KEY, 1, 0) == ENOENT, "its key is free");
    must!(n.detach(again) == 0 && read(at as usize) == 8, "detached once");
    must!(n.detach(at + 1) == EINVAL && n.detach(at) == 0, "and twice");
    must!(n.stat(one) == Err(EINVAL), "with the last one it goes");
    0
}

fn main() -> i32 {
    let Some(named) = user::only_argument() else { return 2 };
    let Ok(calls_there) = Calls::read() else { return 2 };
    let n = Numbers(calls_there);
    match named {
        b"keys" => keys(&n),
        b"attachments" => attachments(&n),
        _ => 2,
    }
}
