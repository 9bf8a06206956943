//! fork with a known value in every register that a system call keeps: ends with 0 if parent and
//! child find all of them, otherwise with 1.

#![no_std]
#![no_main]

use user::arch;
use user::must;

user::entry!(main);

/// Values of few bits, of many, and some that look like addresses.
const SEEDS: [usize; 3] = [0x40, usize::MAX / 3, usize::MAX / 2 - 0x1000];

fn main() -> i32 {
    for seed in SEEDS {
        let mut child = -1;
        let wrong = arch::fork_keeping(seed, &raw mut child);
        if child == 0 {
            user::exit(wrong as i32);
        }
        must!(child > 0, "fork failed");
        must!(wrong == 0, "fork changed a register of the parent");
        must!(user::wait() == Ok(0), "the child does not have its parent's registers");
    }
    0
}
