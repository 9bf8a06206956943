//! The system calls that our programs use.

use crate::arch::{self, FORK_FLAGS, nr};

/// The negative error number that a system call gave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Errno(pub isize);

/// Three arguments, as most calls have.
const fn three([a, b, c]: [usize; 3]) -> [usize; 6] {
    [a, b, c, 0, 0, 0]
}

/// Writes all of the bytes, however many calls that takes.
pub fn write_all(descriptor: i32, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let arguments = [descriptor as usize, bytes.as_ptr().addr(), bytes.len()];
        // SAFETY: (1) the address and the length are those of a live slice, which write only reads.
        let written = unsafe { arch::syscall(nr::WRITE, three(arguments)) };
        match usize::try_from(written) {
            Ok(written @ 1..) => bytes = &bytes[written.min(bytes.len())..],
            _ => return Err(Errno(written)),
        }
    }
    Ok(())
}

/// The parent's process id: the cheapest call there is, since it takes nothing and changes nothing.
pub fn getppid() -> isize {
    // SAFETY: (1) the call takes no argument and touches no memory.
    unsafe { arch::syscall(nr::GETPPID, [0; 6]) }
}

/// Makes a copy of the process; 0 in the copy, its number in the original.
pub fn fork() -> isize {
    // SAFETY: (1) the copy has memory of its own; (2) neither has other threads.
    unsafe { arch::syscall(nr::CLONE, three([FORK_FLAGS, 0, 0])) }
}

/// Waits for a child; its wait status.
pub fn wait() -> Result<i32, Errno> {
    let mut status = 0_i32;
    // SAFETY: (1) the address is that of a live integer.
    let child =
        unsafe { arch::syscall(nr::WAIT4, three([usize::MAX, (&raw mut status).addr(), 0])) };
    if child < 0 { Err(Errno(child)) } else { Ok(status) }
}

/// Lets others run.
pub fn yield_now() {
    // SAFETY: (1) the call takes no argument and touches no memory.
    unsafe { arch::syscall(nr::SCHED_YIELD, [0; 6]) };
}

/// Ends the process.
pub fn exit(status: i32) -> ! {
    loop {
        // SAFETY: (1) the call takes a number and touches no memory of ours.
        unsafe { arch::syscall(nr::EXIT_GROUP, three([status as usize, 0, 0])) };
    }
}
