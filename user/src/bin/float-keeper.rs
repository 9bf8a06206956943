//! Keeps values of its own in every register that only a switch saves, floating point above all,
//! across system calls and time slices; ends with 0 if none of them ever changed, otherwise with 1.
//! Then it becomes itself again, by execve, and finds them as a program starts with them. Run
//! several at a time: each draws its own values.

#![no_std]
#![no_main]

use user::arch::{self, nr};
use user::must;

/// Few of them with a long spin, which meets the timer; the others are a system call that gives the
/// processor away.
const ROUNDS: u64 = 240;
const LONG_SPINS: u64 = 300_000;

const PATH: &core::ffi::CStr = c"/kstack/bin/float-keeper";

user::entry!(main);

fn main() -> i32 {
    must!(arch::used_registers() == 0, "a register is not as a program starts with it");
    // SAFETY: (1) the argument count is where the kernel put it.
    let arguments = unsafe { user::first_stack().read() };
    if arguments > 1 {
        return 0;
    }
    for round in 0..ROUNDS {
        let seed = (arch::counter() & 0x7fff) << 16 | round << 8;
        let spins = if round % 8 == 0 { LONG_SPINS } else { 1 };
        must!(arch::keep_floats(seed, spins) == 0, "a register changed");
    }
    // Two rounds leave every bit of the rounding mode set, whatever was drawn.
    arch::keep_floats(0x301, 1);
    must!(arch::used_registers() > 3, "the registers are not in use");
    let arguments = [PATH.as_ptr().addr(), PATH.as_ptr().addr(), 0];
    let call = [PATH.as_ptr().addr(), arguments.as_ptr().addr(), 0, 0, 0, 0];
    // SAFETY: (1) a path and a list of strings that live as long as the call.
    let _refused = unsafe { arch::syscall(nr::EXECVE, call) };
    must!(false, "execve failed");
    0
}
