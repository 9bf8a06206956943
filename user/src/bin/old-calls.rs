//! Calls of 32 bits that a program of 64 bits makes. Status 0 if all is as on Linux; 2 on machines
//! that have none.

#![no_std]
#![no_main]

use user::arch::{OLD_CALL, OldCall, nr};
use user::calls::{Calls, call, status_of};
use user::memory::child;
use user::must;

user::entry!(main);

const ENOSYS: isize = -38;
const EFAULT: isize = -14;
const EPERM: isize = -1;
const SIGKILL: i32 = 9;

/// Numbers of 32 bits.
const EXIT: usize = 1;
const FORK: usize = 2;
const WRITE: usize = 4;
const CHMOD: usize = 15;
const GETPID: usize = 20;
const GETTIMEOFDAY: usize = 78;

/// What no half of a register that such a call looks at has.
const ABOVE: usize = (0xabcd_0123_u64 << 32) as usize;

/// Allows what says that it is of the usual machine; all else is an error.
const FILTER: [[u32; 2]; 4] =
    [[0x20, 4], [0x15 | 1 << 24, 0xc000_003e], [6, 0x7fff_0000], [6, 0x0005_0001]];

fn calls(old: OldCall) -> i32 {
    let own = call::<0>(nr::GETPID, []);
    let text = b"written by a call of 32 bits\n";
    let at = text.as_ptr().addr();
    must!(old(GETPID, [0; 3]) == own, "the process's number");
    must!(old(GETPID | ABOVE, [ABOVE; 3]) == own, "upper halves are not looked at");
    must!(at as u64 >> 32 == 0, "what a program has lies low");
    must!(old(WRITE, [1, at, text.len()]) == text.len() as isize, "what is written");
    must!(old(WRITE, [1 | ABOVE, at | ABOVE, ABOVE]) == 0, "upper halves of arguments");
    must!(old(WRITE, [1, 0xffff_f000, 4]) == EFAULT, "from where nothing is");
    must!(old(GETTIMEOFDAY, [0; 3]) == ENOSYS, "a structure of 32 bits");
    must!(old(100_000, [0; 3]) == ENOSYS, "no call");
    let born = old(FORK, [0; 3]);
    if born == 0 {
        old(EXIT, [7, 0, 0]);
    }
    must!(born > 0 && status_of(born) == 7 << 8, "a child that is born and ends so");
    0
}

/// Filters see which machine's call it is; the strict mode knows it by its own number.
fn kept_away(old: OldCall, seccomp: usize) -> i32 {
    let filtered = child(|| {
        let program = [FILTER.len(), FILTER.as_ptr().addr()];
        let is_there = call(seccomp, [1, 0, program.as_ptr().addr()]) == 0;
        i32::from(!is_there)
            + 2 * i32::from(old(GETPID, [0; 3]) != EPERM)
            + 4 * i32::from(call::<0>(nr::GETPID, []) <= 0)
    });
    must!(filtered == 0, "a filter of the usual calls");
    // As usual calls, 15 is the end of a handler and 1 is `write`.
    let strict = child(|| {
        call(seccomp, [0, 0, 0]);
        old(CHMOD, [0; 3]);
        1
    });
    must!(strict & 0x7f == SIGKILL, "no other call in the strict mode");
    let ends = child(|| {
        call(seccomp, [0, 0, 0]);
        old(EXIT, [3, 0, 0]);
        1
    });
    must!(ends == 3 << 8, "the end in the strict mode");
    0
}

fn main() -> i32 {
    let Some(old) = OLD_CALL else { return 2 };
    let Ok(numbers) = Calls::read() else { return 3 };
    match calls(old) {
        0 => kept_away(old, numbers.number("seccomp")),
        status => status,
    }
}
