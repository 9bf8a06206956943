//! Keeps values of its own in every floating-point register, across system calls and time slices; ends with 0 if none of them
//! ever changed, otherwise with 1. Run several at a time: each draws its own values.

#![no_std]
#![no_main]

use user::arch;

const ROUNDS: u64 = 60;

user::entry!(main);

fn main() -> i32 {
    for round in 0..ROUNDS {
        let seed = (arch::counter() & 0x7fff) << 16 | round << 8;
        // A long spin meets the timer; a short one ends in a system call that gives the processor away.
        let spins = if round % 2 == 0 { 300_000 } else { 1 };
        if arch::keep_floats(seed, spins) != 0 {
            return 1;
        }
    }
    0
}
